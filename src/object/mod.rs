//! Serves one stream. Every method is synchronous: nothing runs between reading the state and committing a
//! change, so requests to one stream never interleave.

pub mod ahead;
mod alarm;
mod answer;
mod answering;
mod details;
pub mod driver;
pub mod effect;
mod ends;
mod enlisting;
pub mod fetch;
pub mod forks;
pub mod lag;
mod lanes;
pub mod links;
pub mod live;
pub mod orphans;
mod patterns;
pub mod pending;
pub mod plan;
mod ports;
pub mod producers;
pub mod read;
pub mod read_size;
pub mod registry;
pub mod reports;
mod response_head;
mod retention;
pub mod rotation;
pub mod said;
mod seek;
pub mod segment_index;
mod serve;
pub mod shapes;
mod state;
mod stream_state;
pub mod subscription;
pub mod watchers;
mod watching;
pub mod webhook_keys;
mod work;
pub mod write;

pub use answer::{Answer, Error};
pub use ports::{Ports, Settings};
pub use state::Object;
