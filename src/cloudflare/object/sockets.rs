//! The `Sockets` port over hibernatable WebSockets. A socket that is gone is no failure: its reader catches up on its own.

use std::cell::Cell;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::{State, WebSocket, WebSocketPair};

use crate::cloudflare::telemetry;
use crate::object::live::{Park, Sockets};
use crate::protocol::bridge::{Attachment, Channel, Place};

#[wasm_bindgen]
extern "C" {
    /// The object's `ctx`. The worker crate's own binding would wrap each socket just to count them.
    type DurableState;

    #[wasm_bindgen(method, js_name = getWebSockets)]
    fn web_sockets(this: &DurableState) -> Array;
}

pub(super) struct ObjectSockets<'s> {
    state: &'s State,
    /// False if the last count was zero and no socket has been accepted since. Each append needs the count, so this saves a call.
    may_be_any: &'s Cell<bool>,
}

impl<'s> ObjectSockets<'s> {
    pub(super) fn new(state: &'s State, may_be_any: &'s Cell<bool>) -> ObjectSockets<'s> {
        ObjectSockets { state, may_be_any }
    }

    /// Registers a live reader and returns the Worker's end of its socket. Nothing here suspends, so no append can fall between
    /// the reader's snapshot and its registration.
    pub(super) fn accept(&self, park: &Park) -> worker::Result<web_sys::WebSocket> {
        let WebSocketPair { client, server } = WebSocketPair::new()?;
        self.may_be_any.set(true);
        self.state.accept_websocket_with_tags(&server, &[&park.channel.tag()]);
        telemetry::count(|counts| counts.sockets_opened += 1);
        server.serialize_attachment(serde_json::to_string(&park.attachment)?)?;
        if let Some(frame) = &park.first_frame {
            self.send(&server, &self.frame(frame));
        }
        Ok(client.as_ref().clone())
    }
}

impl Sockets for ObjectSockets<'_> {
    type Socket = WebSocket;
    type Frame = Uint8Array;

    fn count(&self) -> usize {
        if !self.may_be_any.get() {
            return 0;
        }
        let state: &DurableState = self.state.as_raw().unchecked_ref();
        let count = state.web_sockets().length() as usize;
        self.may_be_any.set(count > 0);
        count
    }

    fn connected(&self, channel: Channel) -> Vec<WebSocket> {
        let mut sockets = self.state.get_websockets_with_tag(&channel.tag());
        // A socket that this side closed stays in the list until the other side has answered.
        sockets.retain(|socket| socket.as_ref().ready_state() == web_sys::WebSocket::OPEN);
        sockets
    }

    fn attachment(&self, socket: &WebSocket) -> Attachment {
        let text: Option<String> = socket.deserialize_attachment().ok().flatten();
        let unreadable = Attachment { cursor: None, place: Place::Now, keyed: false, renews: false };
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(unreadable)
    }

    fn frame(&self, bytes: &[u8]) -> Uint8Array {
        Uint8Array::from(bytes)
    }

    fn send(&self, socket: &WebSocket, frame: &Uint8Array) {
        telemetry::count(|counts| counts.socket_messages_sent += 1);
        let _gone = socket.as_ref().send_with_js_u8_array(frame);
    }

    fn close(&self, socket: &WebSocket, code: u16) {
        let _gone = socket.as_ref().close_with_code(code);
    }
}
