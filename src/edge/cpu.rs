//! The CPU allowance of one SSE response. The platform kills a request that exceeds the CPU time of its plan,
//! so the response ends before that, after a whole event, and its client resumes.
//!
//! The Worker counts its work instead of measuring it, because a Worker's clock stands still while it runs.

use crate::protocol::Millis;

/// The default of `CPU_LIMIT_MS`, in milliseconds: the paid plan's limit if `limits.cpu_ms` is not set.
pub const CPU_LIMIT_MS: Millis = 30_000;

/// The divisor of the limit: the platform's machines may be slower than the one on which the costs were
/// measured.
const MARGIN: u64 = 2;

// The most CPU time of each step, in microseconds of the whole process, so including the object's and the
// system's part (workerd, 2026-11-29; docs/decisions/sse-cpu-allowance.md has the measurements).

/// A request until its response begins: token, routing, and the first request to the object.
const START_MICROS: u64 = 1_500;

/// Each further request to the object.
const ASK_MICROS: u64 = 1_100;

/// Each write to the client: a received frame, or a heartbeat.
const WRITE_MICROS: u64 = 150;

/// Each wait for memory.
const WAIT_MICROS: u64 = 100;

/// Each MiB of frames or of catch-up parts.
const MIB_MICROS: u64 = 5_000;

/// A step of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Sends a request to the object.
    Ask,
    Write {
        /// The size of the write.
        bytes: usize,
    },
    /// Passes on a catch-up part.
    PassOn {
        /// The size of the part.
        bytes: usize,
    },
    /// Waits for memory that unread responses occupy.
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

/// The CPU time that a response has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuAllowance {
    micros: u64,
}

impl CpuAllowance {
    /// The allowance of a request with this CPU limit, in milliseconds.
    pub fn of(limit: Millis) -> CpuAllowance {
        CpuAllowance { micros: (limit.saturating_mul(1000) / MARGIN).saturating_sub(START_MICROS) }
    }

    /// Subtracts the cost of a step.
    pub fn spend(&mut self, work: Work) {
        self.micros = self.micros.saturating_sub(work.micros());
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.micros == 0
    }
}
