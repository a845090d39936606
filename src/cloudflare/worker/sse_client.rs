//! The client's end of an SSE response: writes the frames that the state machine admits, and notifies it of reads and of
//! the disconnect.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{Either, select};
use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, WritableStreamDefaultWriter};

use super::edge_socket::SocketEvent;
use crate::cloudflare::budget::{Holding, Payer};
use crate::cloudflare::clock::{self, Timer};
use crate::edge::live::Room;
use crate::edge::live::sse::SseResponse;
use crate::protocol::Millis;
use crate::protocol::bridge::FRAME_HEAD_BYTES;

/// The `Room` port over the isolate's memory budget.
pub(super) struct BudgetRoom {
    payer: Payer,
    holding: Option<Holding>,
}

impl BudgetRoom {
    pub(super) fn new(payer: Payer) -> BudgetRoom {
        BudgetRoom { payer, holding: None }
    }
}

impl Room for BudgetRoom {
    fn resize(&mut self, bytes: usize) -> bool {
        if let Some(holding) = &self.holding {
            return holding.resize(bytes);
        }
        self.holding = self.payer.hold(bytes as u64);
        self.holding.is_some()
    }

    fn renew(&mut self) {
        if let Some(holding) = &self.holding {
            holding.renew();
        }
    }

    fn release(&mut self) {
        self.holding = None;
    }
}

/// The state machine of a response, and the task that waits for its next step.
pub(super) struct Running {
    response: RefCell<SseResponse<BudgetRoom>>,
    wake: Cell<Option<Function>>,
}

impl Running {
    pub(super) fn new(response: SseResponse<BudgetRoom>) -> Rc<Running> {
        Rc::new(Running { response: RefCell::new(response), wake: Cell::new(None) })
    }

    /// Passes an event to the state machine, and ends the wait if there is a step to carry out.
    pub(super) fn update<T>(&self, update: impl FnOnce(&mut SseResponse<BudgetRoom>) -> T) -> T {
        let (updated, is_waiting) = {
            let mut response = self.response.borrow_mut();
            (update(&mut response), response.is_waiting())
        };
        if !is_waiting {
            self.wake();
        }
        updated
    }

    /// Waits until there is a step to carry out, or until `until`, in milliseconds since 1970.
    pub(super) async fn wait(&self, until: Millis) {
        let mut resolve = None;
        let woken = Promise::new(&mut |resolve_woken, _| resolve = Some(resolve_woken));
        self.wake.set(resolve);
        let timer = Timer::new(until.saturating_sub(clock::now()));
        select(JsFuture::from(woken), timer.over()).await;
        // A promise that never settles leaks the task that awaits it.
        self.wake();
    }

    fn wake(&self) {
        if let Some(wake) = self.wake.take() {
            let _resolved = wake.call0(&JsValue::UNDEFINED);
        }
    }
}

/// The client's end of the response. It has two closures for all of its writes, and outlives them: a closure per write would
/// leak, and a closure that is freed too early throws.
pub(super) struct SseClient {
    pub(super) writer: WritableStreamDefaultWriter,
    signal: AbortSignal,
    running: Rc<Running>,
    on_written: OnSettled,
    on_gone: OnSettled,
}

type OnSettled = Closure<dyn FnMut(JsValue) -> Result<JsValue, JsError>>;

impl SseClient {
    pub(super) fn new(
        writer: WritableStreamDefaultWriter,
        signal: AbortSignal,
        running: Rc<Running>,
    ) -> SseClient {
        let machine = Rc::clone(&running);
        let on_written: OnSettled = Closure::new(move |_| {
            machine.update(|response| response.read());
            Ok(JsValue::UNDEFINED)
        });
        let machine = Rc::clone(&running);
        let on_gone: OnSettled = Closure::new(move |_| {
            machine.update(|response| response.left());
            Ok(JsValue::UNDEFINED)
        });
        // These two notice a client that disconnects while nothing is being written.
        let _settled = writer.closed().then_with_reject(&on_gone, &on_gone);
        signal.set_onabort(Some(on_gone.as_ref().unchecked_ref()));
        if signal.aborted() {
            running.update(|response| response.left());
        }
        SseClient { writer, signal, running, on_written, on_gone }
    }

    /// Handles an event of the socket. The bytes of a frame's events are written unchanged.
    pub(super) fn take(&self, event: SocketEvent) {
        match event {
            SocketEvent::Frame(frame) => {
                let head = frame.subarray(0, FRAME_HEAD_BYTES as u32).to_vec();
                let bytes = (frame.length() as usize).saturating_sub(FRAME_HEAD_BYTES);
                if self.running.update(|response| response.frame(&head, bytes)) {
                    self.write(&frame.subarray(FRAME_HEAD_BYTES as u32, frame.length()));
                }
            }
            SocketEvent::Closed(code) => self.running.update(|response| response.closed(code)),
        }
    }

    /// Writes without waiting for the client.
    pub(super) fn write(&self, events: &Uint8Array) {
        let _settled = self.writer.write_with_chunk(events).then_with_reject(&self.on_written, &self.on_gone);
    }

    /// Ends the response when the client has read everything, or aborts it at `until`, in milliseconds since 1970.
    pub(super) async fn end(&self, until: Millis) {
        let grace = Timer::new(until.saturating_sub(clock::now()));
        let closed = JsFuture::from(self.writer.close());
        if let Either::Right(_) = select(closed, grace.over()).await {
            let _aborted = JsFuture::from(self.writer.abort()).await;
        }
    }
}

impl Drop for SseClient {
    fn drop(&mut self) {
        self.signal.set_onabort(None);
    }
}
