//! The edge's end of a bridge: listens until its owner has what it wants, the object ends it, or time is up.

use futures_util::future::{Either, select};
use js_sys::{ArrayBuffer, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, BinaryType, CloseEvent, MessageEvent, WebSocket};
use worker::worker_sys::ext::WebSocketExt;

use crate::cloudflare::clock::{self, Timer};
use crate::protocol::Millis;
use crate::protocol::bridge::{CLOSE_CATCH_UP, CLOSE_DONE};
use crate::storage::Failure;

/// An open socket to an object. Dropping it closes the socket.
pub(super) struct EdgeSocket {
    socket: WebSocket,
    client: AbortSignal,
    ended: JsFuture,
    finish: Finish,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
    _on_gone: Closure<dyn FnMut()>,
}

/// Ends the wait for a socket.
#[derive(Clone)]
pub(super) struct Finish(Function);

impl Finish {
    /// With a close code of `protocol::bridge`, as if the object had closed the socket.
    pub(super) fn with(&self, code: u16) {
        let _resolved = self.0.call1(&JsValue::UNDEFINED, &JsValue::from(code));
    }
}

impl EdgeSocket {
    /// Begins to listen for as long as the client is there; `listener` makes what takes the frames.
    pub(super) fn open<F: FnMut(Uint8Array) + 'static>(
        socket: WebSocket,
        client: AbortSignal,
        listener: impl FnOnce(Finish) -> F,
    ) -> Result<EdgeSocket, Failure> {
        let mut resolve = None;
        let ended = Promise::new(&mut |resolve_ended, _| resolve = Some(resolve_ended));
        let finish = Finish(resolve.expect("a promise runs its executor at once"));
        let on_close = {
            let finish = finish.clone();
            Closure::new(move |event: CloseEvent| finish.with(event.code()))
        };
        let on_gone = {
            let finish = finish.clone();
            Closure::new(move || finish.with(CLOSE_DONE))
        };
        let mut on_frame = listener(finish.clone());
        let on_message = {
            let finish = finish.clone();
            Closure::new(move |event: MessageEvent| match event.data().dyn_into::<ArrayBuffer>() {
                Ok(frame) => on_frame(Uint8Array::new(&frame)),
                Err(_) => finish.with(CLOSE_CATCH_UP),
            })
        };
        socket.set_binary_type(BinaryType::Arraybuffer);
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        client.set_onabort(Some(on_gone.as_ref().unchecked_ref()));
        if client.aborted() {
            finish.with(CLOSE_DONE);
        }
        socket.accept().map_err(|error| Failure::new("accept socket", format_args!("{error:?}")))?;
        Ok(EdgeSocket {
            socket,
            client,
            ended: JsFuture::from(ended),
            finish,
            _on_message: on_message,
            _on_close: on_close,
            _on_gone: on_gone,
        })
    }

    /// Waits for the end: its close code, or `None` when the deadline came first.
    pub(super) async fn ended(&mut self, deadline: Millis) -> Option<u16> {
        let timer = Timer::new(deadline.saturating_sub(clock::now()));
        match select(&mut self.ended, timer.over()).await {
            Either::Left((code, _)) => code.ok().and_then(|code| code.as_f64()).map(|code| code as u16),
            Either::Right(_) => None,
        }
    }
}

impl Drop for EdgeSocket {
    fn drop(&mut self) {
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.client.set_onabort(None);
        // Whatever still waits for the end is freed by it.
        self.finish.with(CLOSE_DONE);
        let _closed_already = self.socket.close();
    }
}
