//! The Worker's end of a bridge: notifies a listener of each frame and of the end. After it is dropped, it notifies no more.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use worker::worker_sys::ext::WebSocketExt;

use crate::protocol::bridge::CLOSE_CATCH_UP;
use crate::storage::Failure;

/// An event of a socket.
pub(super) enum SocketEvent {
    Frame(Uint8Array),
    /// The socket has closed, with a close code of `protocol::bridge`.
    Closed(u16),
}

/// An open socket to an object, which is closed on drop.
pub(super) struct EdgeSocket {
    socket: WebSocket,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl EdgeSocket {
    pub(super) fn open(
        socket: WebSocket,
        listener: impl Fn(SocketEvent) + Clone + 'static,
    ) -> Result<EdgeSocket, Failure> {
        let on_close = {
            let listener = listener.clone();
            Closure::new(move |event: CloseEvent| listener(SocketEvent::Closed(event.code())))
        };
        let on_message =
            Closure::new(move |event: MessageEvent| match event.data().dyn_into::<ArrayBuffer>() {
                Ok(frame) => listener(SocketEvent::Frame(Uint8Array::new(&frame))),
                // Not a frame of this server: catch up from the object instead.
                Err(_) => listener(SocketEvent::Closed(CLOSE_CATCH_UP)),
            });
        socket.set_binary_type(BinaryType::Arraybuffer);
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        socket.accept().map_err(|error| Failure::new("accept socket", format_args!("{error:?}")))?;
        Ok(EdgeSocket { socket, _on_message: on_message, _on_close: on_close })
    }
}

impl Drop for EdgeSocket {
    fn drop(&mut self) {
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _closed_already = self.socket.close();
    }
}
