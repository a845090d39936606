//! What a live response passes on of the frames that its sockets bring: each byte of the stream once, in order.

use crate::protocol::bridge::parse_frame_head;
use crate::protocol::offset::Offset;

/// What may wait in the edge for one slow SSE client. Beyond it the response ends; the client resumes.
pub const PENDING_MAX_BYTES: usize = 4 << 20;

/// What to do with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// It goes on where the response stands.
    Pass,
    /// The response has had it.
    Skip,
    /// It leaves something out: ask the object again.
    Gap,
}

/// Where one live response stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bridge {
    /// The offset after what was passed on; `None` until the first part has come.
    pub passed: Option<Offset>,
}

impl Bridge {
    /// Holds a frame against what was passed on.
    pub fn admit(&mut self, frame: &[u8]) -> Gate {
        let Some((start, next)) = parse_frame_head(frame) else { return Gate::Gap };
        match self.passed {
            // The first frame is the reader's own snapshot.
            None => {}
            Some(passed) if start == passed => {}
            Some(passed) if next <= passed => return Gate::Skip,
            Some(_) => return Gate::Gap,
        }
        self.passed = Some(next);
        Gate::Pass
    }
}
