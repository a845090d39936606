//! The requester of a request, as far as the object's answer depends on it.

use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};

use crate::cloudflare::budget::{Payer, address_of};
use crate::cloudflare::reply;
use crate::object::live::Sockets;
use crate::object::{Error, Object, Ports};
use crate::protocol::Millis;
use crate::protocol::command::Command;
use crate::protocol::names::header;
use crate::protocol::refusal::{Refusal, TOO_MUCH_IS_HELD};
use crate::protocol::reply::Reply;

#[wasm_bindgen]
extern "C" {
    /// A request's headers, read by interned names: the platform's own binding makes a new string for each read.
    pub(super) type RequestHeaders;

    #[wasm_bindgen(method)]
    pub(super) fn get(this: &RequestHeaders, name: &JsValue) -> Option<String>;

    #[wasm_bindgen(method)]
    pub(super) fn has(this: &RequestHeaders, name: &JsValue) -> bool;
}

impl RequestHeaders {
    pub(super) fn of(request: &Request) -> RequestHeaders {
        request.headers().unchecked_into()
    }
}

/// The headers that describe the requester and identify the request.
pub(super) const REQUESTER_HEADERS: [&str; 3] = [header::STREAM_STRANGER, header::ORIGIN, header::RAY];

#[derive(Clone)]
pub(super) struct Requester {
    pub(super) path: String,
    /// The id of the request.
    pub(super) id: String,
    /// Whether no token allows the request, so that the requester may read only public streams.
    is_stranger: bool,
    /// Whether the requester is a script of a site, on a server in open mode: every origin may then see the answer.
    is_script: bool,
    /// The request, if the answer may be large.
    request: Option<Request>,
}

impl Requester {
    pub(super) fn of(path: String, id: String, guarded: bool, has: &dyn Fn(&str) -> bool) -> Requester {
        Requester {
            path,
            id,
            is_stranger: guarded && has(header::STREAM_STRANGER),
            is_script: !guarded && has(header::ORIGIN),
            request: None,
        }
    }

    /// The same requester with its request, whose client pays for the answer's memory.
    pub(super) fn reading(self, request: &Request) -> Requester {
        Requester { request: Some(Clone::clone(request)), ..self }
    }

    /// The client whose share of the memory budget pays for the answer.
    pub(super) fn payer(&self) -> Payer {
        Payer::of(&self.path, self.request.as_ref().map(address_of).unwrap_or_default())
    }

    /// Adds the id of the request and, where the server is open, the CORS header that lets a script see the answer.
    pub(super) fn addressed(&self, answer: Reply) -> Reply {
        let answer = answer.identified(&self.id);
        if self.is_script { answer.with_any_origin() } else { answer }
    }

    /// Refuses a request that no token allows, unless it reads a public stream.
    pub(super) fn admit<S: Sockets>(
        &self,
        object: &mut Object,
        ports: &Ports<'_, S>,
        command: &Command<'_>,
        now: Millis,
    ) -> Result<(), Error> {
        if self.is_stranger { object.admit_stranger(ports, command, now) } else { Ok(()) }
    }

    pub(super) fn answer(&self, answer: Reply) -> Result<Response, JsValue> {
        match reply::response_for(&self.addressed(answer), || self.payer())? {
            Some(response) => Ok(response),
            None => self.refuse(&Refusal::Busy { why: TOO_MUCH_IS_HELD }),
        }
    }

    pub(super) fn refuse(&self, refusal: &Refusal) -> Result<Response, JsValue> {
        reply::response(&self.addressed(Reply::refused(refusal)))
    }
}
