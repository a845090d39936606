//! A request on its way to its stream's object, without what the object must not see, and its answer.

use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Headers, Request, RequestInit, Response};
use worker::{Context, Env};

use super::collapse;
use super::collapse::Client;
use super::long_poll;
use super::sse;
use super::sse::Ends;
use super::upstream::Upstream;
use crate::cloudflare::budget::{Payer, address_of};
use crate::cloudflare::calls::unreached;
use crate::cloudflare::config::{Config, stalls};
use crate::cloudflare::{clock, receiving, reply};
use crate::edge::auth::Source;
use crate::edge::collapse::{Reader, collapse_key};
use crate::edge::route::url_without_token;
use crate::protocol::Millis;
use crate::protocol::names::{TRUE, header};
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::storage::Failure;

/// What kind of answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    LongPoll,
    Sse,
}

/// A request that may go on.
pub(super) struct Forward {
    pub(super) kind: Kind,
    pub(super) path: StreamPath,
    pub(super) source: Source,
    /// As whom it reads.
    pub(super) reader: Reader,
    /// When what its token allows ends, and so whatever is live.
    pub(super) until: Option<Millis>,
    /// Who may read public streams only, and what they are told about others.
    pub(super) stranger: Option<Refusal>,
    /// Whether its token may not read the stream, so that it must not learn the reader key.
    pub(super) hides_key: bool,
}

/// What the object is asked.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) headers: Headers,
    pub(super) client: AbortSignal,
    pub(super) payer: Payer,
}

impl Asked {
    fn request(&self, method: &str) -> Result<Request, Failure> {
        let init = RequestInit::new();
        init.set_method(method);
        init.set_headers(&self.headers);
        Request::new_with_str_and_init(&self.url, &init).map_err(|error| unreached(&error))
    }
}

/// Asks for a read whose answer ends.
async fn read(kind: Kind, upstream: &Upstream, asked: &Asked, deadline: Millis) -> Result<Response, JsValue> {
    let answered = match kind {
        Kind::LongPoll => long_poll::answer(upstream, asked, deadline).await,
        Kind::Plain | Kind::Sse => match asked.request("GET") {
            Ok(request) => upstream.ask_again(&request).await,
            Err(failure) => Err(failure),
        },
    };
    answered.or_else(|failure| upstream.unavailable(&failure))
}

impl Forward {
    /// Takes the request to the object.
    pub(super) async fn run(
        &self,
        env: &Env,
        request: &Request,
        config: &Config,
        context: &Context,
    ) -> Result<Response, JsValue> {
        let upstream = Upstream::new(env.clone(), self.path.clone(), self.reader);
        if !self.goes_as_it_came() {
            receiving::drain(request).await;
        }
        let deadline = |longest| {
            let deadline = clock::now() + clock::jittered(longest);
            self.until.map_or(deadline, |until| deadline.min(until))
        };
        if self.kind == Kind::Sse {
            let deadline = deadline(config.sse_lifetime);
            let until = self.until.unwrap_or(Millis::MAX);
            let ends = Ends { deadline, until, stall: stalls(env).reader, cpu_limit: config.cpu_limit };
            return self.kept(sse::answer(upstream, self.asked(request)?, ends, context).await?);
        }
        let deadline = deadline(config.settings.long_poll_timeout);
        if let Some(key) = self.collapse_key(request, config) {
            let asked = self.asked(request)?;
            let path = self.path.as_str().to_owned();
            let client = Client { request: Clone::clone(request), path, until: self.until };
            let kind = self.kind;
            let leader = upstream.clone();
            let ask = move |client| {
                let (upstream, asked) = (leader.clone(), Asked { client, ..asked.clone() });
                async move { read(kind, &upstream, &asked, deadline).await }
            };
            let group = collapse::group(self.reader);
            let answered = collapse::read(&key, group, context, &client, ask).await;
            // An answer that is shared is read to its end, which may not come.
            return self.kept(answered.or_else(|error| upstream.unavailable(&unreached(&error)))?);
        }
        if self.kind == Kind::LongPoll {
            return self.kept(read(self.kind, &upstream, &self.asked(request)?, deadline).await?);
        }
        let answered = self.ask(&upstream, request).await;
        self.kept(answered.or_else(|failure| upstream.unavailable(&failure))?)
    }

    /// The key of what is read, where that can be shared. Whoever knows a tag wants to be told that it is the same.
    fn collapse_key(&self, request: &Request, config: &Config) -> Option<String> {
        let asks_plainly =
            request.method() == "GET" && !request.headers().has(header::IF_NONE_MATCH).unwrap_or(true);
        if config.edge_cache && asks_plainly { collapse_key(self.reader, &request.url()) } else { None }
    }

    async fn ask(&self, upstream: &Upstream, request: &Request) -> Result<Response, Failure> {
        if self.goes_as_it_came() {
            return upstream.ask(request).await;
        }
        let asked = self.asked(request).map_err(|error| unreached(&error))?;
        upstream.ask_again(&asked.request(&request.method())?).await
    }

    fn goes_as_it_came(&self) -> bool {
        let is_plain = self.kind == Kind::Plain && self.stranger.is_none();
        is_plain && matches!(self.source, Source::None | Source::Header)
    }

    fn asked(&self, request: &Request) -> Result<Asked, JsValue> {
        let headers = Headers::new_with_headers(&request.headers())?;
        headers.delete(header::AUTHORIZATION)?;
        headers.delete(header::COOKIE)?;
        if self.stranger.is_some() {
            headers.set(header::STREAM_STRANGER, TRUE)?;
        }
        let url = match self.source {
            Source::Query => url_without_token(&request.url()),
            Source::None | Source::Header | Source::Cookie => request.url(),
        };
        let payer = Payer::of(self.path.as_str(), address_of(request));
        Ok(Asked { url, headers, client: request.signal(), payer })
    }

    fn kept(&self, answered: Response) -> Result<Response, JsValue> {
        match self.source {
            Source::None | Source::Header if self.hides_key => reply::without_reader_key(&answered),
            Source::None | Source::Header => Ok(answered),
            Source::Query => reply::kept_by_nobody(&answered, self.kind == Kind::Sse),
            // A cookie comes along when another site embeds the stream.
            Source::Cookie => reply::embedded_by_nobody(&answered, self.kind == Kind::Sse),
        }
    }
}
