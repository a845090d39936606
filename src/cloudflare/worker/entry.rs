//! The Worker: what `worker.js` calls for each request, to pass it on, or to answer it with or without the stream's
//! object.

use std::cell::RefCell;
use std::rc::Rc;

use http::Method;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::caller::{Caller, is_host};
use super::collapse;
use super::forward::{Forward, Kind};
use super::key_lookup::Lookups;
use super::listing;
use super::orphans;
use super::rate_limit;
use super::upstream;
use crate::cloudflare::calls::unreached;
use crate::cloudflare::config::{self, Config, settings};
use crate::cloudflare::{clock, receiving, reply, telemetry};
use crate::edge::access::Access;
use crate::edge::admin::Admin;
use crate::edge::auth::{Credential, Weighed, weigh};
use crate::edge::collapse::{Reader, collapse_key};
use crate::edge::cors::Cors;
use crate::edge::grant::Grant;
use crate::edge::host;
use crate::edge::keyring::Keyring;
use crate::edge::listing::Listing;
use crate::edge::passed_on::passed_on_to;
use crate::edge::route::{Route, in_first_form, project_named, route};
use crate::edge::strangers::Strangers;
use crate::protocol::fork::source_path;
use crate::protocol::names::header;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;

/// How many things may have to be learnt of one token: its project, its keys, its signature.
const LEARNT_MAX: usize = 3;

/// The edge: what is configured, read once, and what it has learnt of projects.
#[wasm_bindgen]
pub struct Edge {
    inner: Rc<EdgeState>,
}

struct EdgeState {
    env: Env,
    config: Config,
    access: Access,
    admin: Admin,
    cors: Cors,
    lookups: Rc<Lookups>,
    strangers: RefCell<Strangers>,
    is_limited: bool,
}

#[wasm_bindgen]
impl Edge {
    /// Reads the configuration.
    #[wasm_bindgen(constructor)]
    pub fn new(env: Env) -> Edge {
        for (old, new) in config::renamed(&env) {
            telemetry::renamed(old, new);
        }
        let settings = settings(&env);
        receiving::configure(&env);
        collapse::configure();
        let inner = EdgeState {
            config: Config::of(&env),
            access: Access::of(&settings),
            admin: Admin::of(&settings),
            cors: Cors::of(&settings).unwrap_or_default(),
            lookups: Lookups::new(env.clone(), Keyring::new(settings.has_registry)),
            strangers: RefCell::default(),
            is_limited: rate_limit::are_bound(&env),
            env,
        };
        telemetry::configured(&inner.access, &inner.cors, inner.is_limited, inner.config.debug);
        Edge { inner: Rc::new(inner) }
    }

    /// The one request header that decides whether a request is passed on.
    #[wasm_bindgen(js_name = decisiveHeader)]
    pub fn decisive_header(&self) -> Option<String> {
        self.inner.access.is_guarded().then(|| header::AUTHORIZATION.to_owned())
    }

    /// Whether scripts see answers only where their site may: [`Edge::origin_lines`] then says what to add.
    #[wasm_bindgen(js_name = choosesOrigins)]
    pub fn chooses_origins(&self) -> bool {
        !self.inner.access.is_open()
    }

    /// Whether the URL of a request can be made of its `Host`: else [`Edge::answer`] refuses it.
    #[wasm_bindgen(js_name = isAuthority)]
    pub fn is_authority(&self, host: &str) -> bool {
        is_host(host)
    }

    /// The path of the stream whose object answers this request alone; `None` if [`Edge::answer`] is to be asked.
    #[wasm_bindgen(js_name = passedOnTo)]
    pub fn passed_on_to(&self, method: &str, url: &str, decisive: Option<String>) -> Option<String> {
        telemetry::arrived(url);
        let inner = &self.inner;
        if inner.is_limited {
            return None;
        }
        let keyring = inner.lookups.keyring.borrow();
        passed_on_to((&inner.access, &keyring), (&parse(method), url), decisive.as_deref(), clock::now())
    }

    /// The URL with which a request goes on that names its stream in another form.
    #[wasm_bindgen(js_name = inFirstForm)]
    pub fn in_first_form(&self, url: &str) -> Option<String> {
        in_first_form(url)
    }

    /// The key under which the answer of a GET that is passed on is shared, and with whom.
    #[wasm_bindgen(js_name = collapseKey)]
    pub fn collapse_key(&self, url: &str) -> Option<String> {
        collapse_key(self.inner.reader(), url)
    }

    /// The answer to an append whose body was not received at the edge.
    #[wasm_bindgen(js_name = refusedBody)]
    pub fn refused_body(&self, why: u8) -> Result<Response, JsValue> {
        reply::response(&self.inner.seen(Reply::refused(&receiving::refusal(why))))
    }

    /// Whether reads are shared within a data centre.
    #[wasm_bindgen(js_name = hasEdgeCache)]
    pub fn has_edge_cache(&self) -> bool {
        self.inner.config.edge_cache
    }

    /// Answers what is not passed on, and what was in vain.
    pub async fn answer(
        &self,
        request: Request,
        context: worker::worker_sys::Context,
    ) -> Result<Response, JsValue> {
        if let Some(answer) = telemetry::counts_for(&request) {
            return answer;
        }
        let inner = Rc::clone(&self.inner);
        inner.answer(&request, &Context::new(context)).await
    }

    /// An object failed that a request was passed on to: the answer, or `None` if it can safely be asked again.
    pub fn unreached(&self, method: &str, path: &str, error: &JsValue) -> Result<Option<Response>, JsValue> {
        let failure = unreached(error);
        if parse(method).is_safe() {
            telemetry::failure(path, &failure);
            return Ok(None);
        }
        upstream::unavailable(path, self.inner.reader(), &failure).map(Some)
    }

    /// What an answer to a script of this site has besides, and has not: an object that still is of a deployment in open mode
    /// lets every site see it.
    #[wasm_bindgen(js_name = originLines)]
    pub fn origin_lines(&self, method: &str, url: &str, origin: &str) -> String {
        let inner = &self.inner;
        let project = project_named(url).unwrap_or_default();
        let keyring = inner.lookups.keyring.borrow();
        let own = match &inner.access {
            Access::Projects(projects) => keyring.cors(projects, &project),
            Access::Locked { .. } | Access::Open { .. } | Access::Token(_) => None,
        };
        let lines = own.unwrap_or(&inner.cors).header_lines(&parse(method), origin);
        format!("{}\n\n{lines}", header::ALLOW_ORIGIN)
    }
}

impl EdgeState {
    async fn answer(&self, request: &Request, context: &Context) -> Result<Response, JsValue> {
        let method = parse(&request.method());
        let caller = Caller::new(&self.env, request, self.is_limited);
        match self.forward(&method, request, (&caller, context)).await {
            Ok(Sent::Reply(answer)) => self.reply(&method, request, answer).await,
            Err(refusal) => self.reply(&method, request, Reply::refused(&refusal)).await,
            Ok(Sent::Forward(forward)) => {
                let answered = forward.run(&self.env, request, &self.config, context).await?;
                let Some(refusal) = forward.stranger else { return Ok(answered) };
                let is_unknown = reply::is_unauthorized(&answered);
                // A request that is wrong is refused before it is known whether there is a stream.
                let is_miss = is_unknown || reply::is_refusal(&answered);
                let (network, path, now) = (caller.network(), forward.path.as_str(), clock::now());
                self.strangers.borrow_mut().answered(&network, path, is_miss, now);
                // Whether there is a stream is for those to know who may read it.
                if is_unknown {
                    self.reply(&method, request, Reply::refused(&refusal)).await
                } else {
                    Ok(answered)
                }
            }
        }
    }

    /// Where a request goes, and as what.
    async fn forward(
        &self,
        method: &Method,
        request: &Request,
        (caller, context): (&Caller<'_>, &Context),
    ) -> Result<Sent, Refusal> {
        let url = request.url();
        let text = |name: &str| request.headers().get(name).ok().flatten();
        let served = host::check(text(header::HOST).as_deref(), is_host)
            .and_then(|()| self.access.serve(&url, text(header::RAY).as_deref(), caller.peer().as_deref()));
        let has_origin = served.is_ok() && text(header::ORIGIN).is_some();
        let learnt = if has_origin { self.learn_origins(&url, (caller, context)).await } else { Ok(()) };
        let route = route(method, &url);
        // A page sees why its request is refused only if the preflight of it is not.
        if route != Route::Preflight {
            served.and(learnt)?;
        }
        let (kind, path) = match route {
            Route::Preflight => return Ok(Sent::Reply(Reply::preflight(text(header::REQUEST_HEADERS)))),
            Route::Health => return Ok(Sent::Reply(Reply::health(self.access.mode()))),
            Route::Reply(answer) => return Ok(Sent::Reply(answer)),
            Route::Listing => {
                let token = text(header::AUTHORIZATION);
                return self.listing(&url, token.as_deref(), (caller, context)).await.map(Sent::Reply);
            }
            Route::Orphans => {
                // The token may be a guess.
                caller.count().await?;
                let ask = self.admin.orphans(method, &url, text(header::AUTHORIZATION).as_deref())?;
                return Ok(Sent::Reply(orphans::answer(&self.env, &ask).await));
            }
            Route::Forward(path) => (Kind::Plain, path),
            Route::LongPoll(path) => (Kind::LongPoll, path),
            Route::Sse(path) => (Kind::Sse, path),
        };
        self.to_stream(method, request, (kind, path), (caller, context)).await.map(Sent::Forward)
    }

    /// A request that may go to its stream.
    async fn to_stream(
        &self,
        method: &Method,
        request: &Request,
        (kind, path): (Kind, StreamPath),
        (caller, context): (&Caller<'_>, &Context),
    ) -> Result<Forward, Refusal> {
        let text = |name: &str| request.headers().get(name).ok().flatten();
        let credential = self.credential(method, &request.url(), &text)?;
        let granted = self.weigh(&credential, (caller, context)).await?;
        let granted = granted.and_then(|grant| grant.allow(method, &path).map(|()| grant));
        self.count(&granted, &credential, caller).await?;
        let grant = match granted {
            Ok(grant) => grant,
            Err(refusal) if method.is_safe() && !self.config.settings.hides_public => {
                self.strangers.borrow_mut().ask(&caller.network(), path.as_str(), clock::now())?;
                let (reader, stranger) = (Reader::Stranger, Some(refusal));
                let source = credential.source;
                return Ok(Forward { kind, path, source, reader, until: None, stranger, hides_key: false });
            }
            Err(refusal) => return Err(refusal),
        };
        let is_put = *method == Method::PUT;
        if is_put && self.is_limited {
            rate_limit::hold_creation(&self.env, path.project()).await?;
        }
        if let Some(source) = text(header::STREAM_FORKED_FROM).filter(|_| is_put) {
            // Whoever forks a stream reads it.
            grant.allow(&Method::GET, &source_path(&source)?)?;
        }
        let hides_key = is_put && grant.allow(&Method::GET, &path).is_err();
        let (reader, until) = (self.reader(), grant.expires_at);
        Ok(Forward { kind, path, source: credential.source, reader, until, stranger: None, hides_key })
    }

    /// A request's token. In open mode none matters; one in the URL still keeps the answer out of caches.
    fn credential(
        &self,
        method: &Method,
        url: &str,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Credential, Refusal> {
        let is_open = self.access.is_open();
        if is_open && !method.is_safe() {
            return Ok(Credential::none());
        }
        let (authorization, cookie) = (text(header::AUTHORIZATION), text(header::COOKIE));
        Credential::of(method, url, authorization.as_deref().filter(|_| !is_open), cookie.as_deref())
    }

    /// Counts a request by its token, if that is valid and allows it, or else by its address. In open mode no token says
    /// anything.
    async fn count(
        &self,
        granted: &Result<Grant, Refusal>,
        credential: &Credential,
        caller: &Caller<'_>,
    ) -> Result<(), Refusal> {
        match (granted, &credential.token) {
            (Ok(_), Some(token)) if self.is_limited && !self.access.is_open() => {
                rate_limit::hold_token(&self.env, token).await
            }
            _ => caller.count().await,
        }
    }

    /// As whom those read who are let in.
    fn reader(&self) -> Reader {
        if self.access.is_open() { Reader::Anyone } else { Reader::Holder }
    }

    /// A page of the streams there are, for whoever may list them.
    async fn listing(
        &self,
        url: &str,
        authorization: Option<&str>,
        (caller, context): (&Caller<'_>, &Context),
    ) -> Result<Reply, Refusal> {
        let credential = Credential::of_listing(authorization.filter(|_| !self.access.is_open()));
        let granted = self.weigh(&credential, (caller, context)).await?;
        self.count(&granted, &credential, caller).await?;
        let listing = Listing::of(&granted?, url)?;
        if self.config.settings.registries == Registries::Off {
            return Err(Refusal::NotImplemented { what: "a registry, with REGISTRY_STREAM off," });
        }
        Ok(listing::answer(&self.env, &listing).await)
    }

    /// Weighs a token, and learns what has to be known for it. What is not worth anything by what is known counts by its
    /// address first: an error here says that there were too many.
    async fn weigh(
        &self,
        credential: &Credential,
        (caller, context): (&Caller<'_>, &Context),
    ) -> Result<Result<Grant, Refusal>, Refusal> {
        for _ in 0..=LEARNT_MAX {
            let weighed = weigh(&self.access, &self.lookups.keyring.borrow(), credential, clock::now());
            match weighed {
                Weighed::Granted(grant) => return Ok(Ok(grant)),
                Weighed::Refused(refusal) => return Ok(Err(refusal)),
                Weighed::Pending(check) => {
                    caller.count().await?;
                    let token = credential.token.as_deref().unwrap_or_default();
                    if let Err(refusal) = self.lookups.learn(check, token, context).await {
                        return Ok(Err(refusal));
                    }
                }
            }
        }
        Ok(Err(Refusal::KeysUnavailable))
    }

    /// Learns which sites' scripts may use the project of a URL, which `worker.js` asks for when there is an answer.
    async fn learn_origins(
        &self,
        url: &str,
        (caller, context): (&Caller<'_>, &Context),
    ) -> Result<(), Refusal> {
        let Access::Projects(projects) = &self.access else { return Ok(()) };
        let Some(name) = project_named(url) else { return Ok(()) };
        let known = self.lookups.keyring.borrow().project(projects, &name, clock::now());
        if let Err(check) = known {
            caller.count().await?;
            let _not_now = self.lookups.learn(check, "", context).await;
        }
        Ok(())
    }

    /// With what lets the scripts of every site see it, where everyone may do everything.
    fn seen(&self, answer: Reply) -> Reply {
        if self.access.is_open() { answer.with_any_origin() } else { answer }
    }

    async fn reply(&self, method: &Method, request: &Request, answer: Reply) -> Result<Response, JsValue> {
        receiving::drain(request).await;
        let answer = self.seen(answer);
        if *method == Method::HEAD { reply::without_body(&answer) } else { reply::response(&answer) }
    }
}

enum Sent {
    Reply(Reply),
    Forward(Forward),
}

/// A method that is not even a token does not reach the Worker.
fn parse(method: &str) -> Method {
    method.parse().unwrap_or_default()
}
