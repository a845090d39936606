//! Live responses at the edge: what to do next with what the object, the client and the clock have done. Nothing here
//! waits or writes. The Worker (`cloudflare/worker/sse.rs`, `long_poll.rs`) and the simulations carry it out, and decide
//! nothing themselves.

mod backlog;
pub mod long_poll;
pub mod sse;

pub use backlog::{Room, UNCOUNTED_BYTES};

use crate::protocol::names::header;
use crate::protocol::offset::Offset;
use crate::protocol::reply::Reply;

/// What the object answered a live read with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// A socket: there is nothing more at the moment, or it comes as the first frame.
    Socket {
        /// Where the stream ends now.
        next: Option<Offset>,
    },
    /// 200: what there is.
    Found {
        /// Where to read on.
        next: Option<Offset>,
        /// Whether that is the end of a closed stream.
        closed: bool,
    },
    /// 503: there is no room at the moment for what it would answer.
    Later,
    /// Anything else, which ends a live response.
    Ended,
}

impl Answered {
    /// Reads the head of the object's response.
    pub fn of(status: u16, has_socket: bool, header: &dyn Fn(&str) -> Option<String>) -> Answered {
        let next = || Offset::parse(&header(header::STREAM_NEXT_OFFSET)?);
        if has_socket {
            Answered::Socket { next: next() }
        } else if status == Reply::EVENTS.as_u16() {
            Answered::Found { next: next(), closed: header(header::STREAM_CLOSED).is_some() }
        } else if status == Reply::LATER.as_u16() {
            Answered::Later
        } else {
            Answered::Ended
        }
    }
}
