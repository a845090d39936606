//! Answers with what a stream says about itself.

use worker::Env;

use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::telemetry;
use crate::edge::inspecting::Inspecting;
use crate::protocol::call::{Answered, Call};
use crate::protocol::details::Inspected;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// Answers a request for the description of a stream that the requester's token covers.
pub(super) async fn answer(env: &Env, inspecting: &Inspecting) -> Reply {
    match inspected(env, inspecting.path.as_str()).await {
        Ok(Inspected::Found(details)) => Reply::page(&inspecting.shown(*details)),
        Ok(Inspected::NotFound) => Reply::refused(&Refusal::NotFound),
        Ok(Inspected::Gone) => Reply::refused(&Refusal::Gone),
        Err(failure) => {
            telemetry::failure(inspecting.path.as_str(), &failure);
            Reply::unavailable()
        }
    }
}

async fn inspected(env: &Env, path: &str) -> Result<Inspected, Failure> {
    let namespace = js_sys::Reflect::get(env, &STREAMS.into()).map_err(|error| unreached(&error))?;
    let Answered::Inspected(inspected) = calls::call(&namespace, path, &Call::Inspect).await? else {
        return Err(Failure::new("describe stream", "the stream's answer is not a description"));
    };
    Ok(inspected)
}
