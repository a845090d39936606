//! The Worker: routes each request, and answers it or has the stream's object answer it.

use http::Method;
use worker::{Context, Env, Result, event};

use super::config::Config;
use super::upstream::Upstream;
use super::{body, log, long_poll, reply, sse};
use crate::edge::route::{Route, route};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    #[cfg(feature = "counters")]
    if let Some(answer) = super::counters::arrived(&request) {
        return Ok(answer?);
    }
    let url = request.url();
    // A method that is not even a token does not reach the Worker.
    let method = request.method().parse::<Method>().unwrap_or_default();
    match route(&method, &url) {
        Route::Reply(answer) => {
            body::drain(&request).await;
            let answer =
                if method == Method::HEAD { reply::without_body(&answer) } else { reply::response(answer) };
            Ok(answer?.into())
        }
        Route::Forward(path) => {
            let upstream = Upstream::new(env, path);
            let asked = if method.is_safe() {
                upstream.ask_again(&request).await
            } else {
                upstream.ask(&request).await
            };
            asked.or_else(|failure| unavailable(upstream.path(), &failure))
        }
        Route::LongPoll(path) => {
            body::drain(&request).await;
            let timeout = Config::of(&env).long_poll_timeout;
            let upstream = Upstream::new(env, path);
            let answered = long_poll::answer(&upstream, &request, timeout).await;
            answered.or_else(|failure| unavailable(upstream.path(), &failure))
        }
        Route::Sse(path) => {
            body::drain(&request).await;
            let lifetime = Config::of(&env).sse_lifetime;
            sse::answer(Upstream::new(env, path), &request, lifetime, &context).await
        }
    }
}

/// The object could not be asked, so nobody knows what it did.
pub(super) fn unavailable(stream: &str, failure: &Failure) -> Result<web_sys::Response> {
    log::failure(stream, failure);
    Ok(reply::response(Reply::unavailable())?.into())
}
