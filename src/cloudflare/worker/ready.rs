//! Answers `GET /ready`: calls an object, and reads from the bucket and from KV. An isolate keeps the result for a while, so
//! that requests of strangers cost nothing.

use std::cell::{Cell, RefCell};
use std::future::Future;

use futures_util::join;
use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::key_lookup;
use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::clock::{self, Timer};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::{bucket, telemetry};
use crate::protocol::Millis;
use crate::protocol::call::Call;
use crate::protocol::readiness::ReadyCheck;
use crate::protocol::registry;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// How long an isolate repeats the result of its last check, in milliseconds.
const READY_KEPT: Millis = 10_000;
/// How long a binding may take to answer, in milliseconds.
const CHECK_MAX: Millis = 5_000;

/// How long a first check may take, in milliseconds. Another request then makes it, because the client of the one that
/// began it may have left.
const FIRST_MAX: Millis = CHECK_MAX + 1_000;
/// How often a request that waits for the first check looks for its result, in milliseconds.
const LOOK_EVERY: Millis = 100;

/// The results of this isolate. While a check is in progress, other requests get the result before it, or wait for the
/// first one.
#[derive(Default)]
pub(super) struct Readiness {
    /// The last result, and when its check began.
    last: RefCell<Option<(Millis, Reply)>>,
    first_began: Cell<Option<Millis>>,
}

impl Readiness {
    /// The last result, or that of a check now.
    pub(super) async fn reply(&self, env: &Env, request: &str) -> Reply {
        let mut now = clock::now();
        while self.last.borrow().is_none() {
            if self.first_began.get().is_none_or(|began| now.saturating_sub(began) > FIRST_MAX) {
                self.first_began.set(Some(now));
                break;
            }
            if Timer::new(LOOK_EVERY).over().await.is_err() {
                break;
            }
            now = clock::now();
        }
        if let Some((since, reply)) = &mut *self.last.borrow_mut() {
            if now.saturating_sub(*since) < READY_KEPT {
                return reply.clone();
            }
            *since = now;
        }
        let reply = Reply::readiness(&checks(env, request).await);
        *self.last.borrow_mut() = Some((now, reply.clone()));
        reply
    }
}

async fn checks(env: &Env, request: &str) -> [(&'static str, ReadyCheck); 3] {
    let segments = async {
        match bucket::of(env) {
            Some(bucket) => Some(bucket.answers().await),
            None => None,
        }
    };
    let streams = async { Some(stream(env).await) };
    let projects = key_lookup::answers(env);
    let (streams, segments, projects) = join!(
        check("check object", streams, request),
        check("check bucket", segments, request),
        check("check projects", projects, request),
    );
    [("streams", streams), ("segments", segments), ("projects", projects)]
}

/// Carries out one check, and logs why it fails.
async fn check(
    operation: &'static str,
    answers: impl Future<Output = Option<Result<(), Failure>>>,
    request: &str,
) -> ReadyCheck {
    let cause = match clock::within(CHECK_MAX, answers).await {
        Some(None) => return ReadyCheck::NotBound,
        Some(Some(Ok(()))) => return ReadyCheck::Answers,
        Some(Some(Err(failure))) => failure.to_string(),
        None => format!("no answer within {CHECK_MAX} ms"),
    };
    telemetry::failure("", Some(request), &Failure::new(operation, cause));
    ReadyCheck::Fails
}

/// Calls the object of the registry, which need not exist: a description reads a row and writes none.
async fn stream(env: &Env) -> Result<(), Failure> {
    let namespace: JsValue = Reflect::get(env, &STREAMS.into()).map_err(|error| unreached(&error))?;
    calls::call(&namespace, &registry::path_of(None), &Call::Describe).await.map(drop)
}
