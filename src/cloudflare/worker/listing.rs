//! Lists streams: the registry has their paths, and each stream describes itself. A stream that does not answer is listed
//! with its path only.

use worker::Env;

use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::telemetry;
use crate::edge::listing::Listing;
use crate::protocol::call::{Answered, Call};
use crate::protocol::listing::{Described, Page};
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// Answers a listing that the requester's token allows.
pub(super) async fn answer(env: &Env, listing: &Listing, request: &str) -> Reply {
    match page(env, listing, request).await {
        Ok(page) => Reply::page(&page),
        Err(failure) => {
            telemetry::failure(&listing.registry, Some(request), &failure);
            Reply::unavailable()
        }
    }
}

async fn page(env: &Env, Listing { registry, query }: &Listing, request: &str) -> Result<Page, Failure> {
    let namespace = js_sys::Reflect::get(env, &STREAMS.into()).map_err(|error| unreached(&error))?;
    let Answered::Listed(listed) = calls::call(&namespace, registry, &Call::List(query.clone())).await?
    else {
        return Err(Failure::new("list streams", "the registry's answer is not a list"));
    };
    let described: Vec<_> = listed.paths.into_iter().map(|path| (path, Call::Describe)).collect();
    let answers = calls::call_all(&namespace, &described).await?;
    let answered = described.into_iter().zip(answers);
    let streams = answered.filter_map(|((path, _), answer)| shown(path, answer, request));
    Ok(Page { streams: streams.collect(), next: listed.next })
}

/// A page's entry for a stream. `None` if the stream no longer exists.
fn shown(path: String, answer: Result<Answered, Failure>, request: &str) -> Option<Described> {
    let failure = match answer {
        Ok(Answered::Described(described)) => return described,
        Ok(_) => Failure::new("describe stream", "the stream's answer is not a description"),
        Err(failure) => failure,
    };
    telemetry::failure(&path, Some(request), &failure);
    Some(Described { path, ..Described::default() })
}
