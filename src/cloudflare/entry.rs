//! The Worker: what `worker.js` calls for each request, to pass it on, or to answer it with or without the stream's
//! object.

use std::cell::RefCell;
use std::rc::Rc;

use http::Method;
use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::config::{Config, settings};
use super::errand::{Errand, Kind};
use super::upstream;
use super::{clock, key_lookup, limits, listing, log, orphans, receiving, reply};
use crate::edge::access::{Access, Settings};
use crate::edge::admin::Admin;
use crate::edge::auth::{Credential, Verdict, Weighed, judge, may_have_token, weigh};
use crate::edge::collapse::{Reader, collapse_key};
use crate::edge::cors::Cors;
use crate::edge::grant::Grant;
use crate::edge::keyring::{Check, Keyring};
use crate::edge::listing::Listing;
use crate::edge::route::{Route, project_named, route};
use crate::protocol::fork::source_path;
use crate::protocol::names::header;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;
use crate::storage::Failure;

/// How many things may have to be learnt of one token: its project, its keys, its signature.
const LEARNT_MAX: usize = 3;

/// The edge: what is configured, read once, and what it has learnt of projects.
#[wasm_bindgen]
pub struct Edge {
    inner: Rc<Inner>,
}

struct Inner {
    env: Env,
    config: Config,
    access: Access,
    admin: Admin,
    cors: Cors,
    keyring: RefCell<Keyring>,
    is_limited: bool,
}

#[wasm_bindgen]
impl Edge {
    /// Reads the configuration.
    #[wasm_bindgen(constructor)]
    pub fn new(env: Env) -> Edge {
        let settings = settings(&env);
        receiving::configure(&env);
        let inner = Inner {
            config: Config::of(&env),
            access: Access::of(&settings),
            admin: Admin::of(&settings),
            // One that is wrong has locked the server.
            cors: Cors::of(&settings).or_else(|_| Cors::of(&Settings::default())).expect("no site is right"),
            keyring: RefCell::new(Keyring::new(settings.has_registry)),
            is_limited: limits::are_bound(&env),
            env,
        };
        log::configured(&inner.access, inner.config.debug);
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
        self.inner.access.is_guarded()
    }

    /// The path of the stream whose object answers this request alone; `None` if [`Edge::answer`] is to be asked.
    #[wasm_bindgen(js_name = passedOnTo)]
    pub fn passed_on_to(&self, method: &str, url: &str, decisive: Option<String>) -> Option<String> {
        #[cfg(feature = "counters")]
        super::counters::arrived(url);
        self.inner.passed_on_to(&parse(method), url, decisive.as_deref())
    }

    /// The key under which the answer of a GET that is passed on is shared, and with whom.
    #[wasm_bindgen(js_name = collapseKey)]
    pub fn collapse_key(&self, url: &str) -> Option<String> {
        collapse_key(self.inner.reader(), url)
    }

    /// Whether answers are shared at all.
    pub fn shares(&self) -> bool {
        self.inner.config.shares
    }

    /// Answers what is not passed on, and what was in vain.
    pub async fn answer(
        &self,
        request: Request,
        context: worker::worker_sys::Context,
    ) -> Result<Response, JsValue> {
        #[cfg(feature = "counters")]
        if let Some(answer) = super::counters::told_at(&request.url()) {
            return answer;
        }
        let inner = Rc::clone(&self.inner);
        inner.answer(&request, &Context::new(context)).await
    }

    /// What an answer to a script of this site has besides.
    #[wasm_bindgen(js_name = originLines)]
    pub fn origin_lines(&self, url: &str, origin: &str) -> String {
        let inner = &self.inner;
        let project = project_named(url).unwrap_or_default();
        let keyring = inner.keyring.borrow();
        let own = match &inner.access {
            Access::Projects(projects) => keyring.cors(projects, &project),
            Access::Locked { .. } | Access::Open { .. } | Access::Token(_) => None,
        };
        own.unwrap_or(&inner.cors).header_lines(origin)
    }
}

impl Inner {
    fn passed_on_to(&self, method: &Method, url: &str, decisive: Option<&str>) -> Option<String> {
        let is_simple = match &self.access {
            // What is for this machine alone has to be looked at more closely.
            Access::Open { everywhere } => *everywhere,
            Access::Token(_) | Access::Projects(_) => decisive.is_some(),
            Access::Locked { .. } => false,
        };
        if !is_simple || self.is_limited || may_have_token(url) {
            return None;
        }
        if matches!(&self.access, Access::Projects(_)) && *method == Method::PUT {
            // It may ask for a fork, of a stream that its token has to allow, too.
            return None;
        }
        let Route::Forward(path) = route(method, url) else { return None };
        if self.access.is_guarded() {
            let credential = Credential::of(method, url, decisive, None).ok()?;
            let asked = (method, &path);
            match judge(&self.access, &self.keyring.borrow(), asked, &credential, clock::now()) {
                Verdict::Admitted { .. } => {}
                Verdict::Refused(_) | Verdict::Pending(_) => return None,
            }
        }
        Some(path.into())
    }

    async fn answer(&self, request: &Request, context: &Context) -> Result<Response, JsValue> {
        let method = parse(&request.method());
        match self.errand(&method, request).await {
            Ok(Sent::Reply(answer)) => self.reply(&method, request, answer).await,
            Err(refusal) => self.reply(&method, request, Reply::refused(&refusal)).await,
            Ok(Sent::Errand(errand)) => {
                let answered = errand.run(&self.env, request, &self.config, context).await?;
                match errand.stranger {
                    // Whether there is a stream is for those to know who may read it.
                    Some(refusal) if reply::is_unauthorized(&answered) => {
                        self.reply(&method, request, Reply::refused(&refusal)).await
                    }
                    _ => Ok(answered),
                }
            }
        }
    }

    /// Where a request goes, and as what.
    async fn errand(&self, method: &Method, request: &Request) -> Result<Sent, Refusal> {
        let url = request.url();
        let text = |name: &str| request.headers().get(name).ok().flatten();
        self.access.serve(&url, text(header::RAY).as_deref(), peer(request).as_deref())?;
        if text(header::ORIGIN).is_some() {
            self.learn_origins(&url).await;
        }
        let (kind, path) = match route(method, &url) {
            Route::Health => return Ok(Sent::Reply(Reply::health(self.access.mode()))),
            Route::Reply(answer) => return Ok(Sent::Reply(answer)),
            Route::Listing => {
                let (token, address) = (text(header::AUTHORIZATION), text(header::CONNECTING_IP));
                return self.listing(&url, token.as_deref(), address).await.map(Sent::Reply);
            }
            Route::Orphans => {
                let ask = self.admin.orphans(method, &url, text(header::AUTHORIZATION).as_deref())?;
                return Ok(Sent::Reply(orphans::answer(&self.env, &ask).await));
            }
            Route::Forward(path) => (Kind::Plain, path),
            Route::LongPoll(path) => (Kind::LongPoll, path),
            Route::Sse(path) => (Kind::Sse, path),
        };
        let (authorization, cookie) = (text(header::AUTHORIZATION), text(header::COOKIE));
        let is_open = self.access.is_open();
        let credential = if is_open && !method.is_safe() {
            Credential::none()
        } else {
            Credential::of(method, &url, authorization.as_deref().filter(|_| !is_open), cookie.as_deref())?
        };
        let granted = self.weigh(&credential).await;
        let granted = granted.and_then(|grant| grant.allow(method, &path).map(|()| grant));
        if self.is_limited {
            let known = granted.is_ok().then_some(&credential);
            let creates_in = (*method == Method::PUT).then(|| path.project());
            limits::hold(&self.env, creates_in, known, text(header::CONNECTING_IP)).await?;
        }
        let source = text(header::STREAM_FORKED_FROM).filter(|_| *method == Method::PUT);
        if let (Some(source), Ok(grant)) = (source, &granted) {
            // Whoever forks a stream reads it.
            grant.allow(&Method::GET, &source_path(&source)?)?;
        }
        let (until, stranger) = match granted {
            Ok(grant) => (grant.expires_at, None),
            Err(refusal) if method.is_safe() => (None, Some(refusal)),
            Err(refusal) => return Err(refusal),
        };
        let reader = if stranger.is_some() { Reader::Stranger } else { self.reader() };
        Ok(Sent::Errand(Errand { kind, path, source: credential.source, reader, until, stranger }))
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
        address: Option<String>,
    ) -> Result<Reply, Refusal> {
        let credential = Credential::of_listing(authorization.filter(|_| !self.access.is_open()));
        let granted = self.weigh(&credential).await;
        if self.is_limited {
            limits::hold(&self.env, None, granted.is_ok().then_some(&credential), address).await?;
        }
        let listing = Listing::of(&granted?, url)?;
        if self.config.limits.registries == Registries::Off {
            return Err(Refusal::NotImplemented { what: "a registry, with REGISTRY_STREAM off," });
        }
        Ok(listing::answer(&self.env, &listing).await)
    }

    /// Weighs a token, and learns what has to be known for it.
    async fn weigh(&self, credential: &Credential) -> Result<Grant, Refusal> {
        for _ in 0..=LEARNT_MAX {
            let weighed = weigh(&self.access, &self.keyring.borrow(), credential, clock::now());
            match weighed {
                Weighed::Granted(grant) => return Ok(grant),
                Weighed::Refused(refusal) => return Err(refusal),
                Weighed::Pending(check) => {
                    let token = credential.token.as_deref().unwrap_or_default();
                    self.learn(check, token).await?;
                }
            }
        }
        Err(Refusal::KeysUnavailable)
    }

    async fn learn(&self, check: Check, token: &str) -> Result<(), Refusal> {
        match check {
            Check::NeedsProject(name) => {
                let learnt = key_lookup::project(&self.env, &name).await;
                self.keyring.borrow_mut().learn_project(&name, learnt, clock::now());
            }
            Check::NeedsKeys(url) => {
                let learnt = key_lookup::keys(&url).await;
                self.keyring.borrow_mut().learn_keys(&url, learnt, clock::now());
            }
            Check::NeedsSignature(signed) => {
                if !key_lookup::is_right(&signed).await {
                    return Err(Refusal::Unauthorized { given: true });
                }
                self.keyring.borrow_mut().learn_token(token, signed.grant, clock::now());
            }
            Check::Unavailable | Check::Granted(_) | Check::Invalid => return Err(Refusal::KeysUnavailable),
        }
        Ok(())
    }

    /// Learns which sites' scripts may use the project of a URL, which `worker.js` asks for when there is an answer.
    async fn learn_origins(&self, url: &str) {
        let Access::Projects(projects) = &self.access else { return };
        let Some(name) = project_named(url) else { return };
        let known = self.keyring.borrow().project(projects, &name, clock::now());
        if let Err(check) = known {
            let _not_now = self.learn(check, "").await;
        }
    }

    async fn reply(&self, method: &Method, request: &Request, answer: Reply) -> Result<Response, JsValue> {
        receiving::drain(request).await;
        let answer = if self.access.is_guarded() { answer } else { answer.with_any_origin() };
        if *method == Method::HEAD { reply::without_body(&answer) } else { reply::response(&answer) }
    }
}

enum Sent {
    Reply(Reply),
    Errand(Errand),
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

/// The other end of the connection, which workerd tells where it is not Cloudflare that runs it.
fn peer(request: &Request) -> Option<String> {
    let cf = Reflect::get(request, &"cf".into()).ok()?;
    Reflect::get(&cf, &"clientIp".into()).ok()?.as_string()
}

/// A method that is not even a token does not reach the Worker.
fn parse(method: &str) -> Method {
    method.parse().unwrap_or_default()
}

/// The object could not be asked, so nobody knows what it did.
pub(super) fn unavailable(stream: &str, failure: &Failure) -> Result<Response, JsValue> {
    log::failure(stream, failure);
    reply::response(&Reply::unavailable().with_any_origin())
}
