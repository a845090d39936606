//! Appends. One function answers each append, whether it arrives in its own request or in one call with concurrent appends
//! (`group_commit.js`).

use std::rc::Rc;

use http::Method;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::host::ObjectHost;
use super::requester::REQUESTER_HEADERS;
use super::stream_object::{StreamObject, joined};
use crate::cloudflare::{clock, telemetry};
use crate::object::Error;
use crate::protocol::bridge;
use crate::protocol::command::{APPEND_HEADERS, Command, RequestHead};
use crate::protocol::names::header;
use crate::protocol::reply::Reply;

/// The names of the request headers of an append that the object reads.
#[wasm_bindgen(js_name = appendHeaders)]
pub fn append_headers() -> Vec<String> {
    APPEND_HEADERS.iter().chain(&REQUESTER_HEADERS).map(|name| (*name).to_owned()).collect()
}

#[wasm_bindgen]
impl StreamObject {
    /// Answers a POST with status, header lines ([`Reply::header_lines`]) and body.
    #[wasm_bindgen(unchecked_return_type = "[number, string, Uint8Array<ArrayBuffer> | undefined]")]
    pub fn append(&self, url: &str, header_lines: &str, body: &[u8]) -> Vec<JsValue> {
        let reply = self.inner.append(url, header_lines, body);
        let body = (!reply.body.is_empty()).then(|| Uint8Array::from(&*reply.body));
        vec![reply.status.as_u16().into(), reply.header_lines().into(), body.into()]
    }

    /// Answers a POST whose body was received in parts.
    #[wasm_bindgen(
        js_name = appendParts,
        unchecked_return_type = "[number, string, Uint8Array<ArrayBuffer> | undefined]"
    )]
    pub fn append_parts(&self, url: &str, header_lines: &str, parts: Vec<Uint8Array>) -> Vec<JsValue> {
        self.append(url, header_lines, &joined(&parts))
    }

    /// Counts one request, and logs it if it carried more than one append.
    #[wasm_bindgen(js_name = appendedTogether)]
    pub fn appended_together(&self, count: usize) {
        let _busy = telemetry::busy(|| self.inner.name(), |counts| counts.object_requests += 1);
        if count > 1 {
            self.inner.debug("appended_together");
        }
    }
}

impl ObjectHost {
    /// Parses a POST into its command, and answers it.
    fn append(self: &Rc<Self>, url: &str, header_lines: &str, body: &[u8]) -> Reply {
        let header = |name: &str| bridge::header_in(header_lines, name).map(str::to_owned);
        let ray = header(header::RAY);
        let requester = self.requester(url, ray, &|name| bridge::header_in(header_lines, name).is_some());
        let head = RequestHead { method: &Method::POST, url, header: &header, random: &clock::random };
        let answered = Command::parse(&head, body).map_err(Error::Refused);
        let answered = answered.and_then(|command| self.answer(&requester, &command));
        let reply = self.settled(&requester, answered).unwrap_or_else(|_park| Reply::failed());
        self.debug_served(&requester.path, Method::POST.as_str());
        self.measure(&requester.path, reply.status.is_success().then_some(body.len()));
        requester.addressed(reply)
    }
}
