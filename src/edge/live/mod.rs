//! Live responses in the Worker, as state machines: events of the object, the client and the clock go in, and
//! the next step comes out. Nothing here waits or writes. The Worker (`cloudflare/worker/sse.rs`,
//! `long_poll.rs`) and the simulations carry out the steps, and decide nothing themselves.

mod backlog;
pub mod long_poll;
pub mod sse;

pub use backlog::{Room, UNCOUNTED_BYTES};

use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;

/// The object's answer to a live read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveAnswer {
    /// A socket: there is no more data now, or it arrives as the first frame.
    Socket {
        /// The tail, if the object sent it.
        next: Option<Offset>,
    },
    /// 200: the available data.
    Found {
        /// The offset at which to continue.
        next: Option<Offset>,
        /// Whether that is the end of a closed stream.
        closed: bool,
    },
    /// 503: the object has no memory for its answer at the moment.
    Later,
    /// Any other answer, which ends a live response.
    Ended,
}

impl LiveAnswer {
    /// Classifies the head of the object's response.
    pub fn of(status: u16, has_socket: bool, header: &dyn Fn(&str) -> Option<String>) -> LiveAnswer {
        let next = || Offset::parse(&header(header::STREAM_NEXT_OFFSET)?);
        if has_socket {
            LiveAnswer::Socket { next: next() }
        } else if status == Reply::EVENTS.as_u16() {
            LiveAnswer::Found { next: next(), closed: header(header::STREAM_CLOSED).is_some() }
        } else if status == Reply::LATER.as_u16() {
            LiveAnswer::Later
        } else {
            LiveAnswer::Ended
        }
    }
}
