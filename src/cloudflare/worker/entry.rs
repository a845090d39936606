//! The Worker's entry points, which `worker.js` calls for each request: to find out where to pass it on, or to answer it. The
//! rules of `edge/admit.rs` decide about every request before it reaches an object.

use std::cell::RefCell;
use std::rc::Rc;

use http::Method;
use wasm_bindgen::prelude::*;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::caller::{Caller, is_host};
use super::collapse;
use super::console;
use super::forward::Sending;
use super::inspecting;
use super::key_lookup::Lookups;
use super::listing;
use super::metrics;
use super::orphans;
use super::rate_limit;
use super::ready::Readiness;
use super::subscriptions::{Controlling, WebhookKeys};
use super::upstream;
use crate::cloudflare::calls::unreached;
use crate::cloudflare::config::{self, Config, settings};
use crate::cloudflare::{clock, receiving, reply, telemetry};
use crate::edge::access::Access;
use crate::edge::admin::Admin;
use crate::edge::admit::{Admission, CountsAgainst, Decision, Head, Known, Rules};
use crate::edge::collapse::collapse_key;
use crate::edge::cors::Cors;
use crate::edge::keyring::Keyring;
use crate::edge::route::route;
use crate::edge::settings::EdgeSettings;
use crate::edge::strangers::Strangers;
use crate::edge::target::{Target, in_first_form, unmounted};
use crate::edge::webhooks::WebhookSettings;
use crate::protocol::names::header;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;
use crate::protocol::request_id::request_id;
use crate::telemetry::points::Served;

/// The most lookups for one request: the token's project, its keys, its signature, and the project in the URL.
const LOOKUPS_PER_REQUEST_MAX: usize = 4;

/// The Worker's state: the configuration, which is read once, and what lookups of projects have found.
#[wasm_bindgen]
pub struct Edge {
    inner: Rc<EdgeState>,
}

struct EdgeState {
    env: Env,
    mount: Option<String>,
    config: Config,
    rules: Rules,
    cors: Cors,
    lookups: Rc<Lookups>,
    strangers: RefCell<Strangers>,
    webhooks: WebhookSettings,
    webhook_keys: WebhookKeys,
    readiness: Readiness,
    analytics: Option<telemetry::Analytics>,
    measured_share: f64,
}

#[wasm_bindgen]
impl Edge {
    /// `mount` is the path, from slash to slash, below which an application serves streams.
    #[wasm_bindgen(constructor)]
    pub fn new(env: Env, mount: Option<String>) -> Edge {
        for (old, new) in config::renamed(&env) {
            telemetry::renamed(old, new);
        }
        let settings = EdgeSettings { mount: mount.clone(), ..settings(&env) };
        receiving::configure(&env);
        collapse::configure();
        let config = Config::of(&env);
        let rules = Rules {
            access: Access::of(&settings),
            admin: Admin::of(&settings),
            is_limited: rate_limit::are_bound(&env),
            hides_public: config.settings.hides_public,
            has_console: config.has_console,
            lists: config.settings.registries != Registries::Off,
        };
        let inner = EdgeState {
            mount,
            config,
            rules,
            cors: Cors::of(&settings).unwrap_or_default(),
            lookups: Lookups::new(env.clone(), Keyring::new(settings.has_registry)),
            strangers: RefCell::default(),
            webhooks: WebhookSettings::of(&settings).unwrap_or_default(),
            webhook_keys: WebhookKeys::default(),
            readiness: Readiness::default(),
            analytics: telemetry::Analytics::of(&env),
            measured_share: config::measured_share(&env),
            env,
        };
        telemetry::configured(&inner.rules.access, &inner.cors, inner.rules.is_limited, inner.config.debug);
        Edge { inner: Rc::new(inner) }
    }

    /// The one request header that decides whether a request is passed on. `None` in open mode, where no header does.
    #[wasm_bindgen(js_name = decisiveHeader)]
    pub fn decisive_header(&self) -> Option<String> {
        self.inner.rules.access.is_guarded().then(|| header::AUTHORIZATION.to_owned())
    }

    /// Whether only configured origins may read responses. [`Edge::origin_lines`] then has the headers to add.
    #[wasm_bindgen(js_name = choosesOrigins)]
    pub fn chooses_origins(&self) -> bool {
        !self.inner.rules.access.is_open()
    }

    /// Whether a `Host` can be part of a URL. Otherwise [`Edge::answer`] refuses the request.
    #[wasm_bindgen(js_name = isAuthority)]
    pub fn is_authority(&self, host: &str) -> bool {
        is_host(host)
    }

    /// The path of the stream, if the URL and the decisive header suffice to pass the request on unchanged. `None` if
    /// [`Edge::answer`] must look at the whole request.
    #[wasm_bindgen(js_name = passedOnTo)]
    pub fn passed_on_to(&self, method: &str, url: &str, decisive: Option<String>) -> Option<String> {
        telemetry::arrived(url);
        let (method, target) = (parse(method), Target::of(url));
        let known = Known::Authorization(decisive.as_deref());
        let head = Head { method: &method, target: &target, known };
        let Admission { counts: CountsAgainst::None, decision } = self.inner.admit(&head, false) else {
            return None;
        };
        let Decision::Forward(forward) = decision else { return None };
        forward.is_as_it_came().then(|| forward.path.into())
    }

    /// The canonical form of the URL, if the request names its stream in another form.
    #[wasm_bindgen(js_name = inFirstForm)]
    pub fn in_first_form(&self, url: &str) -> Option<String> {
        let mount = self.inner.mount.as_deref();
        mount.and_then(|mount| unmounted(url, mount)).or_else(|| in_first_form(url))
    }

    /// The URL without its token, if the request needs a token of the access mode.
    #[wasm_bindgen(js_name = guardedUrl)]
    pub fn guarded_url(&self, method: &str, url: &str) -> Option<String> {
        let first = self.in_first_form(url);
        let target = Target::of(first.as_deref().unwrap_or(url));
        let needs_token = route(&parse(method), &target).needs_token();
        needs_token.then(|| Target::of(url).url_without_token())
    }

    /// The key under which clients share the response to a GET that is passed on. `None` if they may not.
    #[wasm_bindgen(js_name = collapseKey)]
    pub fn collapse_key(&self, url: &str) -> Option<String> {
        collapse_key(self.inner.rules.reader(), &Target::of(url))
    }

    /// The response to an append whose body the Worker did not receive; `why` is a code of `receiving.js`.
    #[wasm_bindgen(js_name = refusedBody)]
    pub fn refused_body(&self, why: u8, id: &str) -> Result<Response, JsValue> {
        reply::response(&self.inner.addressed(Reply::refused(&receiving::refusal(why)), id))
    }

    /// The id of a request; `ray` is the platform's.
    #[wasm_bindgen(js_name = requestId)]
    pub fn request_id(&self, ray: Option<String>) -> String {
        request_id(ray, &clock::random)
    }

    /// The share of requests to measure: 0 if the deployment binds no dataset.
    #[wasm_bindgen(js_name = measuredShare)]
    pub fn measured_share(&self) -> f64 {
        self.inner.measured_share
    }

    /// Writes the data point of a request that was answered after so many milliseconds. The sizes are those of the bodies.
    pub fn measure(&self, method: &str, url: &str, status: u16, millis: f64, bytes_in: f64, bytes_out: f64) {
        let EdgeState { analytics, rules, measured_share, .. } = &*self.inner;
        let Some(analytics) = analytics else { return };
        let first = self.in_first_form(url);
        let target = Target::of(first.as_deref().unwrap_or(url));
        let has_project = matches!(rules.access, Access::Projects(_)) && !Reply::is_refusal(status);
        let project = if has_project { target.project_named() } else { None };
        let served = Served {
            route: route(&parse(method), &target).name(),
            method,
            status,
            mode: rules.access.mode(),
            project: project.as_deref().unwrap_or_default(),
            weight: measured_share.recip(),
            seconds: millis / 1000.0,
            bytes_in,
            bytes_out,
        };
        analytics.write(&served.to_point());
    }

    /// Whether clients share reads within a data centre (`EDGE_CACHE`).
    #[wasm_bindgen(js_name = hasEdgeCache)]
    pub fn has_edge_cache(&self) -> bool {
        self.inner.config.edge_cache
    }

    /// Answers a request that was not passed on, or whose object failed; `id` is that of [`Edge::request_id`].
    pub async fn answer(
        &self,
        request: Request,
        context: worker::worker_sys::Context,
        id: String,
    ) -> Result<Response, JsValue> {
        if let Some(answer) = telemetry::counts_for(&request) {
            return answer;
        }
        let inner = Rc::clone(&self.inner);
        reply::identified(inner.answer(&request, &Context::new(context), &id).await?, &id)
    }

    /// The response after an object failed to answer a request that was passed on. `None` if the request is safe to repeat.
    pub fn unreached(
        &self,
        method: &str,
        path: &str,
        id: &str,
        error: &JsValue,
    ) -> Result<Option<Response>, JsValue> {
        let failure = unreached(error);
        if parse(method).is_safe() {
            telemetry::failure(path, Some(id), &failure);
            return Ok(None);
        }
        upstream::unavailable(path, self.inner.rules.reader(), id, &failure).map(Some)
    }

    /// The CORS headers of a response to a script of this origin. They begin by removing the object's own header: during a
    /// deployment an object may still run in open mode and allow every origin.
    #[wasm_bindgen(js_name = originLines)]
    pub fn origin_lines(&self, method: &str, url: &str, origin: &str) -> String {
        let inner = &self.inner;
        let project = Target::of(url).project_named().unwrap_or_default();
        let keyring = inner.lookups.keyring.borrow();
        let own = match &inner.rules.access {
            Access::Projects(projects) => keyring.cors(projects, &project),
            Access::Locked { .. } | Access::Open { .. } | Access::Token(_) => None,
        };
        let lines = own.unwrap_or(&inner.cors).header_lines(&parse(method), origin);
        format!("{}\n\n{lines}", header::ALLOW_ORIGIN)
    }
}

impl EdgeState {
    async fn answer(&self, request: &Request, context: &Context, id: &str) -> Result<Response, JsValue> {
        let (method, url) = (parse(&request.method()), request.url());
        let target = Target::of(&url);
        let caller = Caller::new(&self.env, request, id, self.rules.is_limited);
        let answer = match self.decide(&method, &target, &caller, context).await {
            Err(refusal) => Reply::refused(&refusal),
            Ok(Decision::Reply(answer)) => answer,
            Ok(Decision::Listing(listing)) => listing::answer(&self.env, &listing, id).await,
            Ok(Decision::Inspect(inspecting)) => inspecting::answer(&self.env, &inspecting, id).await,
            Ok(Decision::Orphans(query)) => orphans::answer(&self.env, &query, id).await,
            Ok(Decision::Ready) => self.readiness.reply(&self.env, id).await,
            Ok(Decision::Metrics(asked)) => {
                metrics::answer(&self.env, &asked, self.rules.access.mode(), id).await
            }
            Ok(Decision::Console(file)) => match console::answer(&self.env, &file).await? {
                Some(found) => return Ok(found),
                None => Reply::refused(&Refusal::UnknownRoute),
            },
            Ok(Decision::Subscriptions(control)) => {
                let EdgeState { env, rules, webhooks, webhook_keys: keys, strangers, .. } = self;
                let (control, caller, url) = (&*control, &caller, target.url);
                let controlling =
                    Controlling { control, url, request, id, caller, strangers, env, rules, webhooks, keys };
                controlling.answer().await
            }
            Ok(Decision::Forward(forward)) => {
                let (env, config) = (&self.env, &self.config);
                let sending =
                    Sending { forward: &forward, target: &target, request, id, env, config, context };
                match self.send(&sending, &caller).await? {
                    Sent::Answered(answered) => return Ok(answered),
                    Sent::Refused(refusal) => Reply::refused(&refusal),
                }
            }
            Ok(Decision::Learn { .. } | Decision::Look) => Reply::failed(),
        };
        self.reply(&method, request, answer, id).await
    }

    /// Decides what to do with a request: makes the lookups that this needs, and counts the request against its limit.
    async fn decide(
        &self,
        method: &Method,
        target: &Target<'_>,
        caller: &Caller<'_>,
        context: &Context,
    ) -> Result<Decision, Refusal> {
        let header = |name: &str| caller.header(name);
        let known = Known::All { header: &header, is_host: &is_host, peer: &|| caller.peer() };
        let head = Head { method, target, known };
        let mut may_be_learnt = LOOKUPS_PER_REQUEST_MAX;
        loop {
            let Admission { counts, decision } = self.admit(&head, may_be_learnt > 0);
            if let Decision::Learn { check, token } = decision {
                // A lookup costs more than the request, so the request counts against its address first.
                match caller.count().await {
                    Ok(()) => self.lookups.learn(check, &token, context, caller.id).await,
                    Err(_) if *method == Method::OPTIONS => may_be_learnt = 1,
                    Err(refusal) => return Err(refusal),
                }
                may_be_learnt -= 1;
                continue;
            }
            match counts {
                CountsAgainst::None => {}
                CountsAgainst::Address => caller.count().await?,
                CountsAgainst::Token(token) => rate_limit::count_token(&self.env, &token, caller.id).await?,
            }
            return Ok(decision);
        }
    }

    fn admit(&self, head: &Head<'_>, may_learn: bool) -> Admission {
        self.rules.admit(&self.lookups.keyring.borrow(), head, may_learn, clock::now())
    }

    /// Sends a request to its stream, within the limits of creations and of reads that no token allows.
    async fn send(&self, sending: &Sending<'_>, caller: &Caller<'_>) -> Result<Sent, JsValue> {
        let Sending { forward, request, .. } = sending;
        if self.rules.is_limited && request.method() == Method::PUT.as_str() {
            let held = rate_limit::count_creation(&self.env, forward.path.project(), caller.id).await;
            if let Err(refusal) = held {
                return Ok(Sent::Refused(refusal));
            }
        }
        let Some(refusal) = &forward.stranger else { return sending.run().await.map(Sent::Answered) };
        let (network, path) = (caller.network(), forward.path.as_str());
        if let Err(refusal) = self.strangers.borrow_mut().ask(&network, path, clock::now()) {
            return Ok(Sent::Refused(refusal));
        }
        let answered = sending.run().await?;
        let is_unknown = reply::is_unauthorized(&answered);
        // An object refuses a malformed request before it looks for the stream, so a refusal counts as a miss.
        let is_miss = is_unknown || reply::is_refusal(&answered);
        self.strangers.borrow_mut().answered(&network, path, is_miss, clock::now());
        // The response must not reveal whether a stream exists to a client that may not read it.
        Ok(if is_unknown { Sent::Refused(refusal.clone()) } else { Sent::Answered(answered) })
    }

    /// Adds the id of the request and, in open mode, the CORS header for every origin.
    fn addressed(&self, answer: Reply, id: &str) -> Reply {
        let answer = answer.identified(id);
        if self.rules.access.is_open() { answer.with_any_origin() } else { answer }
    }

    async fn reply(
        &self,
        method: &Method,
        request: &Request,
        answer: Reply,
        id: &str,
    ) -> Result<Response, JsValue> {
        receiving::drain(request).await;
        let answer = self.addressed(answer, id);
        if *method == Method::HEAD { reply::without_body(&answer) } else { reply::response(&answer) }
    }
}

enum Sent {
    Answered(Response),
    Refused(Refusal),
}

/// Parses a method. The platform already rejects a method that is not a token.
fn parse(method: &str) -> Method {
    method.parse().unwrap_or_default()
}
