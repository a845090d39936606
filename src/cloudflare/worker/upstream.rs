//! Requests from the Worker to one stream's object. The Worker repeats a failed request only if it changes nothing.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, Request, RequestInit, Response};
use worker::Env;
use worker::worker_sys::ext::ResponseExt;

use crate::cloudflare::budget::Payer;
use crate::cloudflare::calls::unreached;
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::{reply, telemetry};
use crate::edge::collapse::Reader;
use crate::edge::live::LiveAnswer;
use crate::edge::target::LiveUrl;
use crate::protocol::names::header;
use crate::protocol::offset::ReadFrom;
use crate::protocol::path::StreamPath;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[wasm_bindgen]
extern "C" {
    /// A Durable Object's stub. The worker crate's own binding would copy each response.
    type ObjectStub;

    #[wasm_bindgen(method, catch)]
    fn fetch(this: &ObjectStub, request: &Request) -> Result<Promise, JsValue>;
}

/// A request to the object.
#[derive(Clone)]
pub(super) struct ObjectRequest {
    pub(super) url: String,
    pub(super) headers: Headers,
    pub(super) client: AbortSignal,
    pub(super) payer: Payer,
    /// The URL from which a live read continues, and the offset from which it began.
    pub(super) live_url: LiveUrl,
    pub(super) from: Option<ReadFrom>,
}

impl ObjectRequest {
    pub(super) fn to_request(&self, method: &str) -> Result<Request, Failure> {
        let init = RequestInit::new();
        init.set_method(method);
        init.set_headers(&self.headers);
        Request::new_with_str_and_init(&self.url, &init).map_err(|error| unreached(&error))
    }
}

/// The object of one stream.
#[derive(Clone)]
pub(super) struct Upstream {
    env: Env,
    path: StreamPath,
    reader: Reader,
    /// The id of the client's request.
    request: String,
}

impl Upstream {
    pub(super) fn new(env: Env, path: StreamPath, reader: Reader, request: &str) -> Upstream {
        Upstream { env, path, reader, request: request.to_owned() }
    }

    /// The id of the client's request.
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    pub(super) fn path(&self) -> &str {
        self.path.as_str()
    }

    /// The response if the object could not be reached.
    pub(super) fn unavailable(&self, failure: &Failure) -> Result<Response, JsValue> {
        unavailable(self.path(), self.reader, &self.request, failure)
    }

    /// Sends a request to the object. Each request has its own stub, because a broken stub stays broken.
    pub(super) async fn fetch(&self, request: &Request) -> Result<Response, Failure> {
        let namespace =
            self.env.durable_object(STREAMS).map_err(|error| Failure::new("find object", error))?;
        let stub = namespace.get_by_name(self.path()).map_err(|error| Failure::new("find object", error))?;
        let stub: ObjectStub = stub.into_rpc();
        let response = stub.fetch(request).map_err(|error| unreached(&error))?;
        Ok(JsFuture::from(response).await.map_err(|error| unreached(&error))?.unchecked_into())
    }

    /// Requests a live read. The response may carry a socket.
    pub(super) async fn fetch_live(&self, url: &str, headers: &Headers) -> Result<Response, Failure> {
        let headers = Headers::new_with_headers(headers).map_err(|error| unreached(&error))?;
        headers.set(header::UPGRADE, "websocket").map_err(|error| unreached(&error))?;
        let init = RequestInit::new();
        init.set_headers(&headers);
        self.fetch_repeatable(&Request::new_with_str_and_init(url, &init).map_err(|error| unreached(&error))?)
            .await
    }

    /// Sends a request that changes nothing, and repeats it once if it fails: objects occasionally move or restart, and a browser
    /// gives up an `EventSource` after its first error.
    pub(super) async fn fetch_repeatable(&self, request: &Request) -> Result<Response, Failure> {
        match self.fetch(request).await {
            Err(failure) => {
                telemetry::failure(self.path(), Some(&self.request), &failure);
                self.fetch(request).await
            }
            answered => answered,
        }
    }
}

/// The object's answer to a live read.
pub(super) fn answered(response: &Response) -> LiveAnswer {
    let header = |name: &str| response.headers().get(name).ok().flatten();
    LiveAnswer::of(response.status(), response.websocket().is_some(), &header)
}

/// The response if the object could not be reached, so that the state of the stream is unknown. Scripts of every origin can
/// read it only in open mode.
pub(super) fn unavailable(
    path: &str,
    reader: Reader,
    request: &str,
    failure: &Failure,
) -> Result<Response, JsValue> {
    telemetry::failure(path, Some(request), failure);
    let answer = Reply::unavailable().identified(request);
    reply::response(&if reader == Reader::Anyone { answer.with_any_origin() } else { answer })
}
