//! The Worker: what `worker.js` calls for each request, to pass it on, or to answer it with or without the stream's
//! object.

use http::Method;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::config::Config;
use super::upstream::{self, Upstream};
use super::{body, log, long_poll, reply, sse};
use crate::edge::route::{Route, route};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// The path of the stream whose object answers this request alone; `None` if [`answer`] is to be asked.
#[wasm_bindgen(js_name = passedOnTo)]
pub fn passed_on_to(method: &str, url: &str) -> Option<String> {
    #[cfg(feature = "counters")]
    super::counters::arrived(url);
    match route(&parse(method), url) {
        Route::Forward(path) => Some(path.into()),
        Route::Reply(_) | Route::LongPoll(_) | Route::Sse(_) => None,
    }
}

/// Answers what is not passed on, and what was in vain.
#[wasm_bindgen]
pub async fn answer(
    request: Request,
    env: Env,
    context: worker::worker_sys::Context,
) -> Result<Response, JsValue> {
    let url = request.url();
    #[cfg(feature = "counters")]
    if let Some(answer) = super::counters::told_at(&url) {
        return answer;
    }
    let method = parse(&request.method());
    body::drain(&request).await;
    match route(&method, &url) {
        Route::Reply(answer) if method == Method::HEAD => reply::without_body(&answer),
        Route::Reply(answer) => reply::response(&answer),
        Route::Forward(path) => {
            let upstream = Upstream::new(env, path);
            let asked = upstream.ask(&request).await;
            asked.or_else(|failure| unavailable(upstream.path(), &failure))
        }
        Route::LongPoll(path) => {
            let timeout = Config::of(&env).limits.long_poll_timeout;
            let upstream = Upstream::new(env, path);
            let answered = long_poll::answer(&upstream, &request, timeout).await;
            answered.or_else(|failure| unavailable(upstream.path(), &failure))
        }
        Route::Sse(path) => {
            let lifetime = Config::of(&env).sse_lifetime;
            sse::answer(Upstream::new(env, path), &request, lifetime, &Context::new(context)).await
        }
    }
}

/// An object failed that a request was passed on to: the answer, or `None` if it can safely be asked again.
#[wasm_bindgen]
pub fn unreached(method: &str, path: &str, error: &JsValue) -> Result<Option<Response>, JsValue> {
    let failure = upstream::unreached(error);
    if parse(method).is_safe() {
        log::failure(path, &failure);
        return Ok(None);
    }
    unavailable(path, &failure).map(Some)
}

/// A method that is not even a token does not reach the Worker.
fn parse(method: &str) -> Method {
    method.parse().unwrap_or_default()
}

/// The object could not be asked, so nobody knows what it did.
pub(super) fn unavailable(stream: &str, failure: &Failure) -> Result<Response, JsValue> {
    log::failure(stream, failure);
    reply::response(&Reply::unavailable())
}
