//! Forwards an admitted request to its stream's object. The object does not receive a token that came in the URL or in a
//! cookie.

use wasm_bindgen::prelude::*;
use web_sys::{Headers, Request, Response};
use worker::{Context, Env};

use super::collapse;
use super::collapse::Client;
use super::long_poll;
use super::sse;
use super::upstream::{ObjectRequest, Upstream};
use crate::cloudflare::budget::{Payer, address_of};
use crate::cloudflare::calls::unreached;
use crate::cloudflare::config::{Config, stalls};
use crate::cloudflare::{clock, receiving, reply};
use crate::edge::auth::Source;
use crate::edge::collapse::collapse_key;
use crate::edge::forward::{Forward, ReadKind};
use crate::edge::live::sse::SseEnds;
use crate::edge::target::{LiveUrl, Target};
use crate::protocol::Millis;
use crate::protocol::names::{TRUE, header};
use crate::storage::Failure;

/// An admitted request on its way to its stream.
pub(super) struct Sending<'s> {
    pub(super) forward: &'s Forward,
    pub(super) target: &'s Target<'s>,
    pub(super) request: &'s Request,
    /// The id of the request.
    pub(super) id: &'s str,
    pub(super) env: &'s Env,
    pub(super) config: &'s Config,
    pub(super) context: &'s Context,
}

/// Makes a read other than SSE.
async fn read(
    kind: ReadKind,
    upstream: &Upstream,
    request: &ObjectRequest,
    deadline: Millis,
) -> Result<Response, JsValue> {
    let answered = match kind {
        ReadKind::LongPoll => long_poll::answer(upstream, request, deadline).await,
        ReadKind::Plain | ReadKind::Sse => match request.to_request("GET") {
            Ok(request) => upstream.fetch_repeatable(&request).await,
            Err(failure) => Err(failure),
        },
    };
    answered.or_else(|failure| upstream.unavailable(&failure))
}

impl Sending<'_> {
    /// Forwards the request and returns the object's response, without the headers that this requester must not have.
    pub(super) async fn run(&self) -> Result<Response, JsValue> {
        let Sending { forward, request, env, config, context, .. } = self;
        let upstream = Upstream::new((*env).clone(), forward.path.clone(), forward.reader, self.id);
        if !forward.goes_as_it_came() {
            receiving::drain(request).await;
        }
        let deadline = |longest| {
            let deadline = clock::now() + clock::jittered(longest);
            forward.until.map_or(deadline, |until| deadline.min(until))
        };
        if forward.kind == ReadKind::Sse {
            let deadline = deadline(config.sse_lifetime);
            let until = forward.until.unwrap_or(Millis::MAX);
            let ends = SseEnds { deadline, until, stall: stalls(env).reader, cpu_limit: config.cpu_limit };
            return self.restricted(sse::answer(upstream, self.object_request()?, ends, context).await?);
        }
        let deadline = deadline(config.settings.long_poll_timeout);
        if let Some(key) = self.collapse_key() {
            let object_request = self.object_request()?;
            let path = forward.path.as_str().to_owned();
            let id = self.id.to_owned();
            let client = Client { request: Clone::clone(request), path, until: forward.until, id };
            let kind = forward.kind;
            let leader = upstream.clone();
            let ask = move |client| {
                let (upstream, request) =
                    (leader.clone(), ObjectRequest { client, ..object_request.clone() });
                async move { read(kind, &upstream, &request, deadline).await }
            };
            let group = collapse::group(forward.reader);
            let answered = collapse::read(&key, group, context, &client, ask).await;
            // A shared response is read into memory, which fails if the object stops in the middle.
            return self.restricted(answered.or_else(|error| upstream.unavailable(&unreached(&error)))?);
        }
        if forward.kind == ReadKind::LongPoll {
            return self.restricted(read(forward.kind, &upstream, &self.object_request()?, deadline).await?);
        }
        let answered = self.fetch(&upstream).await;
        self.restricted(answered.or_else(|failure| upstream.unavailable(&failure))?)
    }

    /// The key under which clients share this read. `None` if they may not. A client with an `If-None-Match` needs a response
    /// of its own.
    fn collapse_key(&self) -> Option<String> {
        let is_plain = self.request.method() == "GET"
            && !self.request.headers().has(header::IF_NONE_MATCH).unwrap_or(true);
        let may_share = self.config.edge_cache && is_plain;
        if may_share { collapse_key(self.forward.reader, self.target) } else { None }
    }

    async fn fetch(&self, upstream: &Upstream) -> Result<Response, Failure> {
        if self.forward.goes_as_it_came() {
            return upstream.fetch(self.request).await;
        }
        let request = self.object_request().map_err(|error| unreached(&error))?;
        upstream.fetch_repeatable(&request.to_request(&self.request.method())?).await
    }

    fn object_request(&self) -> Result<ObjectRequest, JsValue> {
        let Sending { forward, target, request, .. } = self;
        let headers = Headers::new_with_headers(&request.headers())?;
        headers.delete(header::AUTHORIZATION)?;
        headers.delete(header::COOKIE)?;
        if !headers.has(header::RAY)? {
            // The object names the request in its response and its log by this header.
            headers.set(header::RAY, self.id)?;
        }
        if forward.stranger.is_some() {
            headers.set(header::STREAM_STRANGER, TRUE)?;
        }
        let url = match forward.source {
            Source::Query => target.url_without_token(),
            Source::None | Source::Header | Source::Cookie => target.url.to_owned(),
        };
        let payer = Payer::of(forward.path.as_str(), address_of(request));
        let (live_url, from) = (LiveUrl::of(target), target.read_from());
        Ok(ObjectRequest { url, headers, client: request.signal(), payer, live_url, from })
    }

    fn restricted(&self, answered: Response) -> Result<Response, JsValue> {
        let is_events = self.forward.kind == ReadKind::Sse;
        match self.forward.source {
            Source::None | Source::Header if self.forward.hides_key => reply::without_reader_key(&answered),
            Source::None | Source::Header => Ok(answered),
            Source::Query => reply::uncacheable(&answered, is_events),
            // The browser sends the cookie even if another site embeds the stream.
            Source::Cookie => reply::uncacheable_same_origin(&answered, is_events),
        }
    }
}
