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
use super::forward::Sending;
use super::key_lookup::Lookups;
use super::listing;
use super::orphans;
use super::rate_limit;
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
use crate::edge::strangers::Strangers;
use crate::edge::target::{Target, in_first_form};
use crate::edge::webhooks::WebhookSettings;
use crate::protocol::names::header;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry::Registries;
use crate::protocol::reply::Reply;

/// How many things may have to be learnt for one request: a token's project, its keys, its signature, and the project of its
/// URL.
const LEARNT_MAX: usize = 4;

/// The edge: what is configured, read once, and what it has learnt of projects.
#[wasm_bindgen]
pub struct Edge {
    inner: Rc<EdgeState>,
}

struct EdgeState {
    env: Env,
    config: Config,
    rules: Rules,
    cors: Cors,
    lookups: Rc<Lookups>,
    strangers: RefCell<Strangers>,
    webhooks: WebhookSettings,
    webhook_keys: WebhookKeys,
}

#[wasm_bindgen]
impl Edge {
    #[wasm_bindgen(constructor)]
    pub fn new(env: Env) -> Edge {
        for (old, new) in config::renamed(&env) {
            telemetry::renamed(old, new);
        }
        let settings = settings(&env);
        receiving::configure(&env);
        collapse::configure();
        let config = Config::of(&env);
        let rules = Rules {
            access: Access::of(&settings),
            admin: Admin::of(&settings),
            is_limited: rate_limit::are_bound(&env),
            hides_public: config.settings.hides_public,
            lists: config.settings.registries != Registries::Off,
        };
        let inner = EdgeState {
            config,
            rules,
            cors: Cors::of(&settings).unwrap_or_default(),
            lookups: Lookups::new(env.clone(), Keyring::new(settings.has_registry)),
            strangers: RefCell::default(),
            webhooks: WebhookSettings::of(&settings).unwrap_or_default(),
            webhook_keys: WebhookKeys::default(),
            env,
        };
        telemetry::configured(&inner.rules.access, &inner.cors, inner.rules.is_limited, inner.config.debug);
        Edge { inner: Rc::new(inner) }
    }

    /// The one request header that decides whether a request is passed on.
    #[wasm_bindgen(js_name = decisiveHeader)]
    pub fn decisive_header(&self) -> Option<String> {
        self.inner.rules.access.is_guarded().then(|| header::AUTHORIZATION.to_owned())
    }

    /// Whether scripts see answers only where their site may: [`Edge::origin_lines`] then says what to add.
    #[wasm_bindgen(js_name = choosesOrigins)]
    pub fn chooses_origins(&self) -> bool {
        !self.inner.rules.access.is_open()
    }

    /// Whether the URL of a request can be made of its `Host`: else [`Edge::answer`] refuses it.
    #[wasm_bindgen(js_name = isAuthority)]
    pub fn is_authority(&self, host: &str) -> bool {
        is_host(host)
    }

    /// The path of the stream whose object answers this request alone, as far as its URL and the decisive header say. `None`:
    /// [`Edge::answer`] decides by all of it.
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

    /// The URL with which a request goes on that names its stream in another form.
    #[wasm_bindgen(js_name = inFirstForm)]
    pub fn in_first_form(&self, url: &str) -> Option<String> {
        in_first_form(url)
    }

    /// The key under which the answer of a GET that is passed on is shared, and with whom.
    #[wasm_bindgen(js_name = collapseKey)]
    pub fn collapse_key(&self, url: &str) -> Option<String> {
        collapse_key(self.inner.rules.reader(), &Target::of(url))
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
        upstream::unavailable(path, self.inner.rules.reader(), &failure).map(Some)
    }

    /// What an answer to a script of this site has besides, and has not: an object that still is of a deployment in open mode
    /// lets every site see it.
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
    async fn answer(&self, request: &Request, context: &Context) -> Result<Response, JsValue> {
        let (method, url) = (parse(&request.method()), request.url());
        let target = Target::of(&url);
        let caller = Caller::new(&self.env, request, self.rules.is_limited);
        let answer = match self.decide(&method, &target, &caller, context).await {
            Err(refusal) => Reply::refused(&refusal),
            Ok(Decision::Reply(answer)) => answer,
            Ok(Decision::Listing(listing)) => listing::answer(&self.env, &listing).await,
            Ok(Decision::Orphans(query)) => orphans::answer(&self.env, &query).await,
            Ok(Decision::Subscriptions(control)) => {
                let EdgeState { env, rules, webhooks, webhook_keys: keys, .. } = self;
                let url = target.url;
                Controlling { control: &control, url, request, env, rules, webhooks, keys }.answer().await
            }
            Ok(Decision::Forward(forward)) => {
                let (env, config) = (&self.env, &self.config);
                let sending = Sending { forward: &forward, target: &target, request, env, config, context };
                match self.send(&sending, &caller).await? {
                    Sent::Answered(answered) => return Ok(answered),
                    Sent::Refused(refusal) => Reply::refused(&refusal),
                }
            }
            Ok(Decision::Learn { .. } | Decision::Look) => Reply::failed(),
        };
        self.reply(&method, request, answer).await
    }

    /// Decides a request by all of its head, learns what that needs, and counts it.
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
        let mut may_be_learnt = LEARNT_MAX;
        loop {
            let Admission { counts, decision } = self.admit(&head, may_be_learnt > 0);
            if let Decision::Learn { check, token } = decision {
                // What costs more than the request counts by the address first.
                match caller.count().await {
                    Ok(()) => self.lookups.learn(check, &token, context).await,
                    Err(_) if *method == Method::OPTIONS => may_be_learnt = 1,
                    Err(refusal) => return Err(refusal),
                }
                may_be_learnt -= 1;
                continue;
            }
            match counts {
                CountsAgainst::None => {}
                CountsAgainst::Address => caller.count().await?,
                CountsAgainst::Token(token) => rate_limit::hold_token(&self.env, &token).await?,
            }
            return Ok(decision);
        }
    }

    fn admit(&self, head: &Head<'_>, may_learn: bool) -> Admission {
        self.rules.admit(&self.lookups.keyring.borrow(), head, may_learn, clock::now())
    }

    /// Sends a request to its stream, within the limits of creations and of strangers.
    async fn send(&self, sending: &Sending<'_>, caller: &Caller<'_>) -> Result<Sent, JsValue> {
        let Sending { forward, request, .. } = sending;
        if self.rules.is_limited && request.method() == Method::PUT.as_str() {
            let held = rate_limit::hold_creation(&self.env, forward.path.project()).await;
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
        // A request that is wrong is refused before it is known whether there is a stream.
        let is_miss = is_unknown || reply::is_refusal(&answered);
        self.strangers.borrow_mut().answered(&network, path, is_miss, clock::now());
        // Whether there is a stream is for those to know who may read it.
        Ok(if is_unknown { Sent::Refused(refusal.clone()) } else { Sent::Answered(answered) })
    }

    /// With what lets the scripts of every site see it, where everyone may do everything.
    fn seen(&self, answer: Reply) -> Reply {
        if self.rules.access.is_open() { answer.with_any_origin() } else { answer }
    }

    async fn reply(&self, method: &Method, request: &Request, answer: Reply) -> Result<Response, JsValue> {
        receiving::drain(request).await;
        let answer = self.seen(answer);
        if *method == Method::HEAD { reply::without_body(&answer) } else { reply::response(&answer) }
    }
}

enum Sent {
    Answered(Response),
    Refused(Refusal),
}

/// A method that is not even a token does not reach the Worker.
fn parse(method: &str) -> Method {
    method.parse().unwrap_or_default()
}
