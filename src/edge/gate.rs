//! The gate of a live response: it passes each byte of the stream once and in order, whatever its sockets
//! deliver.

use crate::protocol::bridge::parse_frame_head;
use crate::protocol::offset::Offset;

/// The most unread bytes of one SSE client in the Worker. Beyond that the response ends, and the client
/// resumes.
pub const PENDING_MAX_BYTES: usize = 4 << 20;

/// The decision about a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// The frame continues the response.
    Pass,
    /// The response already has its data.
    Skip,
    /// Data before it is missing: request it from the object.
    Gap,
}

/// The progress of one live response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bridge {
    /// The offset after the passed data; `None` until the first part arrives.
    pub passed: Option<Offset>,
}

impl Bridge {
    /// Compares a frame with the passed data.
    pub fn admit(&mut self, frame: &[u8]) -> Gate {
        let Some((start, next)) = parse_frame_head(frame) else { return Gate::Gap };
        match self.passed {
            // The first frame is this reader's own snapshot.
            None => {}
            Some(passed) if start == passed => {}
            Some(passed) if next <= passed => return Gate::Skip,
            Some(_) => return Gate::Gap,
        }
        self.passed = Some(next);
        Gate::Pass
    }
}
