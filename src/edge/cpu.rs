//! How much CPU time one SSE response may use. The platform kills a request that uses more than its plan allows; so the
//! response ends before that, after an event, and its client resumes.
//!
//! The edge counts what it does: a Worker cannot measure its CPU time, because its clock stands still while it runs.

use crate::protocol::Millis;

/// The default of `CPU_LIMIT_MS`: what the paid plan gives a request that sets no `limits.cpu_ms`.
pub const CPU_LIMIT_MS: Millis = 30_000;

/// Which part of the limit is used. The platform's machines may be slower than the one the costs were measured on.
const MARGIN: u64 = 2;

// What each step costs at most: the CPU time of the whole process, so with the object's part and the system's (workerd,
// 2026-11-29; ARCHITECTURE.md has the measurements).

/// A request until its response begins: token, routing, the first request to the object.
const START_MICROS: u64 = 1_500;

/// Each further request to the object.
const ASK_MICROS: u64 = 1_100;

/// Each write to the client: a frame that comes, or a heartbeat.
const WRITE_MICROS: u64 = 150;

/// Each wait for room.
const WAIT_MICROS: u64 = 100;

/// Each MiB that comes in frames, or in parts of the catch-up.
const MIB_MICROS: u64 = 5_000;

/// Something that a response does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Asks the object for more.
    Ask,
    /// Writes a frame or a heartbeat.
    Write {
        /// How large it is.
        bytes: usize,
    },
    /// Passes a part of the catch-up on.
    PassOn {
        /// How large it was.
        bytes: usize,
    },
    /// The client has not read what was written before.
    Wait,
}

impl Work {
    fn micros(self) -> u64 {
        let of_bytes = |bytes: usize| (bytes as u64).saturating_mul(MIB_MICROS) >> 20;
        match self {
            Work::Ask => ASK_MICROS,
            Work::Write { bytes } => WRITE_MICROS + of_bytes(bytes),
            Work::PassOn { bytes } => of_bytes(bytes),
            Work::Wait => WAIT_MICROS,
        }
    }
}

/// What a response may still do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuAllowance {
    micros: u64,
}

impl CpuAllowance {
    /// Of a request that the platform gives so much CPU time.
    pub fn of(limit: Millis) -> CpuAllowance {
        CpuAllowance { micros: (limit.saturating_mul(1000) / MARGIN).saturating_sub(START_MICROS) }
    }

    /// Counts something that was done.
    pub fn spend(&mut self, work: Work) {
        self.micros = self.micros.saturating_sub(work.micros());
    }

    /// Whether the response has done all that it may.
    pub fn is_spent(&self) -> bool {
        self.micros == 0
    }
}
