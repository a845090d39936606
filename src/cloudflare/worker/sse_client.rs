//! The client's end of an SSE response: events that wait until it has read them, and what writing them has cost.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, WritableStreamDefaultWriter};

use super::edge_socket::Finish;
use crate::cloudflare::budget::{Holding, Payer};
use crate::cloudflare::clock::{self, Timer};
use crate::edge::cpu::{CpuAllowance, Work};
use crate::edge::gate::PENDING_MAX_BYTES;
use crate::protocol::Millis;
use crate::protocol::bridge::{CLOSE_CATCH_UP, CLOSE_DONE};

/// How much a client may be behind without being counted: the system's own buffer takes as much.
const UNCOUNTED_BYTES: usize = 16 << 10;

/// The client's end of the response. It has two closures for all of its writes and outlives them: a closure for
/// each write would not be freed, and one that is freed too early throws.
pub(super) struct Client {
    pub(super) signal: AbortSignal,
    pub(super) writer: WritableStreamDefaultWriter,
    pub(super) payer: Payer,
    /// What the response may still do.
    allowance: Cell<CpuAllowance>,
    /// Whether it makes no progress, or is behind by more than there is room for.
    pub(super) is_too_slow: Cell<bool>,
    /// How much room there was not, for what came when it had read all before.
    pub(super) lacked_bytes: Cell<Option<usize>>,
    pending: Rc<RefCell<Pending>>,
    finish: Rc<RefCell<Option<Finish>>>,
    on_written: OnSettled,
    on_gone: OnSettled,
}

type OnSettled = Closure<dyn FnMut(JsValue) -> Result<JsValue, JsError>>;

/// Events that the client has not read yet: at most [`PENDING_MAX_BYTES`].
#[derive(Default)]
struct Pending {
    sizes: VecDeque<usize>,
    bytes: usize,
    holding: Option<Holding>,
    /// Whether the client has read something since the last heartbeat, and the last heartbeat of which that was true.
    has_progressed: bool,
    progressed_at: Millis,
}

impl Pending {
    /// Takes in a write, if there is room for it.
    fn push(&mut self, size: usize, payer: &Payer) -> bool {
        let bytes = self.bytes + size;
        if self.bytes > 0 && bytes > PENDING_MAX_BYTES {
            return false;
        }
        let fits = match &self.holding {
            Some(holding) => holding.resize(bytes),
            None if bytes <= UNCOUNTED_BYTES => true,
            None => {
                self.holding = payer.hold(bytes as u64);
                self.holding.is_some()
            }
        };
        if fits {
            self.sizes.push_back(size);
            self.bytes = bytes;
        }
        fits
    }

    /// The oldest write has been read.
    fn pop(&mut self) {
        self.bytes -= self.sizes.pop_front().unwrap_or_default();
        self.has_progressed = true;
        if self.bytes == 0 {
            self.holding = None;
        }
    }

    /// Whether the client has not read anything for so long of what was written.
    fn has_stalled(&mut self, stall: Millis) -> bool {
        if let Some(holding) = &self.holding {
            holding.renew();
        }
        let now = clock::now();
        if self.bytes == 0 || std::mem::take(&mut self.has_progressed) {
            self.progressed_at = now;
        }
        now >= self.progressed_at + stall
    }
}

impl Client {
    pub(super) fn new(
        writer: WritableStreamDefaultWriter,
        (signal, payer): (AbortSignal, Payer),
        allowance: CpuAllowance,
    ) -> Client {
        let pending: Rc<RefCell<Pending>> = Rc::default();
        let finish: Rc<RefCell<Option<Finish>>> = Rc::default();
        let written = Rc::clone(&pending);
        let on_written: OnSettled = Closure::new(move |_| {
            written.borrow_mut().pop();
            Ok(JsValue::UNDEFINED)
        });
        let gone = Rc::clone(&finish);
        let on_gone: OnSettled = Closure::new(move |_| {
            finish_with(&gone, CLOSE_DONE);
            Ok(JsValue::UNDEFINED)
        });
        // A client that goes away while nothing is written is seen here.
        let _settled = writer.closed().then_with_reject(&on_gone, &on_gone);
        let is_too_slow = Cell::new(false);
        let lacked_bytes = Cell::default();
        let allowance = Cell::new(allowance);
        Client {
            signal,
            writer,
            payer,
            allowance,
            is_too_slow,
            lacked_bytes,
            pending,
            finish,
            on_written,
            on_gone,
        }
    }

    /// What to end when the client is gone.
    pub(super) fn on_gone_finish(&self, finish: Finish) {
        *self.finish.borrow_mut() = Some(finish);
    }

    /// Counts work. `false`: the response has done as much as its CPU limit allows, and ends after the event it is at.
    pub(super) fn may_go_on_after(&self, work: Work) -> bool {
        let mut allowance = self.allowance.get();
        allowance.spend(work);
        self.allowance.set(allowance);
        !allowance.is_spent()
    }

    /// Whether the client has not read anything for so long of what was written.
    pub(super) fn has_stalled(&self, stall: Millis) -> bool {
        let stalled = self.pending.borrow_mut().has_stalled(stall);
        self.is_too_slow.set(stalled);
        stalled
    }

    /// Writes without waiting. What does not fit is not written: a client that is behind resumes later, and for one that has
    /// read all before it is asked again when there is room.
    pub(super) fn write(&self, events: &Uint8Array) -> bool {
        let bytes = events.length() as usize;
        let (fits, is_behind) = {
            let mut pending = self.pending.borrow_mut();
            (pending.push(bytes, &self.payer), pending.bytes > 0)
        };
        if !fits && is_behind {
            self.is_too_slow.set(true);
            finish_with(&self.finish, CLOSE_DONE);
        } else if !fits {
            self.lacked_bytes.set(Some(bytes));
            finish_with(&self.finish, CLOSE_CATCH_UP);
        }
        if !fits {
            return false;
        }
        let _settled = self.writer.write_with_chunk(events).then_with_reject(&self.on_written, &self.on_gone);
        if !self.may_go_on_after(Work::Write { bytes }) {
            finish_with(&self.finish, CLOSE_DONE);
        }
        true
    }

    /// Ends the response when what was written has been read, or else then; at once where there is no room for it. The
    /// client resumes where it was.
    pub(super) async fn end(&self, until: Millis) {
        let until = if self.is_too_slow.get() { 0 } else { until };
        let grace = Timer::new(until.saturating_sub(clock::now()));
        let closed = JsFuture::from(self.writer.close());
        if let Either::Right(_) = select(closed, grace.over()).await {
            let _aborted = JsFuture::from(self.writer.abort()).await;
        }
    }
}

fn finish_with(finish: &RefCell<Option<Finish>>, code: u16) {
    if let Some(finish) = finish.borrow().as_ref() {
        finish.with(code);
    }
}
