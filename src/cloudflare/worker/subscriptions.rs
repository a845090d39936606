//! The control API of subscriptions: reads the body of a request, calls the subscription's object, and turns its answer
//! into a reply. The registry's object has the list and the webhook keys.

use std::cell::RefCell;

use wasm_bindgen::JsValue;
use web_sys::Request;
use worker::Env;

use super::caller::Caller;
use super::rate_limit;
use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::{clock, receiving, telemetry};
use crate::edge::admit::Rules;
use crate::edge::auth::bearer;
use crate::edge::kept::Kept;
use crate::edge::strangers::Strangers;
use crate::edge::subscriptions::{Action, Context, ControlRequest, Endpoint};
use crate::edge::webhooks::WebhookSettings;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::listing::ListedStreams;
use crate::protocol::names::{PROTOCOL_SEGMENT, header};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::subscription::SubscriptionName;
use crate::protocol::subscription::answer::{Shown, Signing, SubscriptionAnswer, SubscriptionPage};
use crate::protocol::subscription::config::REQUEST_MAX_BYTES;
use crate::protocol::subscription::keys::PublicKey;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::SubscriptionRequest;
use crate::storage::Failure;

/// How long an isolate caches the keys of a registry. A new key is published ten minutes before it signs.
const KEYS_KEPT: Millis = 60_000;
/// The most registries whose keys an isolate caches.
const REGISTRIES_KEPT_MAX: usize = 256;

/// The public keys of webhooks, by registry. The first key is the one that signs now.
pub(super) struct WebhookKeys(RefCell<Kept<Vec<PublicKey>>>);

impl Default for WebhookKeys {
    fn default() -> WebhookKeys {
        WebhookKeys(RefCell::new(Kept::new(REGISTRIES_KEPT_MAX)))
    }
}

/// A request to the control API, with everything needed to answer it.
pub(super) struct Controlling<'c> {
    pub(super) control: &'c ControlRequest,
    pub(super) url: &'c str,
    pub(super) request: &'c Request,
    pub(super) caller: &'c Caller<'c>,
    pub(super) strangers: &'c RefCell<Strangers>,
    pub(super) env: &'c Env,
    pub(super) rules: &'c Rules,
    pub(super) webhooks: &'c WebhookSettings,
    pub(super) keys: &'c WebhookKeys,
}

/// The reason why there is no answer.
enum Unanswered {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Unanswered {
        Unanswered::Refused(refusal)
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered::Failed(failure)
    }
}

impl Controlling<'_> {
    pub(super) async fn answer(&self) -> Reply {
        let answered = match &self.control.endpoint {
            Endpoint::Subscription { name, action } => self.subscription(name, action).await,
            Endpoint::List { .. } => self.list().await,
            Endpoint::Keys { .. } => self.public_keys().await.map(|keys| Reply::keys(&keys)),
        };
        match answered {
            Ok(reply) => reply,
            Err(Unanswered::Refused(refusal)) => Reply::refused(&refusal),
            Err(Unanswered::Failed(failure)) => {
                telemetry::failure(&self.called(), &failure);
                Reply::subscription_unavailable()
            }
        }
    }

    /// The name of the answering object, for the log.
    fn called(&self) -> String {
        match &self.control.endpoint {
            Endpoint::Subscription { name, .. } => name.object(),
            Endpoint::List { .. } | Endpoint::Keys { .. } => self.control.registry.clone(),
        }
    }

    async fn subscription(&self, name: &SubscriptionName, action: &Action) -> Result<Reply, Unanswered> {
        let tenant = name.root.as_deref().unwrap_or(PROTOCOL_SEGMENT);
        if self.rules.is_limited && action.is_creation() {
            rate_limit::count_creation(self.env, tenant).await?;
        }
        let body = if action.has_body() {
            receiving::receive(self.request, REQUEST_MAX_BYTES, tenant).await?
        } else {
            Vec::new()
        };
        let authorization = self.request.headers().get(header::AUTHORIZATION).ok().flatten();
        let context = Context {
            rules: &self.webhooks.url_rules(self.rules.access.is_local(), self.url),
            base: &self.base(),
            token: authorization.as_deref().and_then(bearer),
        };
        let request = self.control.request(name, action, &body, &context)?;
        let object = name.object();
        if self.control.needs_look()
            && let SubscriptionAnswer::Shown(shown) = self.ask(&object, SubscriptionRequest::Get).await?
            && !self.control.covers_shown(&shown)
        {
            return Err(self.control.uncovered().into());
        }
        let mut answer = match request.wake() {
            Some(_) => self.ask_holder(&object, request).await?,
            None => self.ask(&object, request).await?,
        };
        if let SubscriptionAnswer::Created(shown)
        | SubscriptionAnswer::Confirmed(shown)
        | SubscriptionAnswer::Shown(shown) = &mut answer
        {
            self.sign([&mut **shown]).await?;
        }
        Ok(Reply::of_subscription(&answer))
    }

    /// Passes on the request of a wake's holder. An address that sends too many invalid tokens is refused.
    async fn ask_holder(
        &self,
        object: &str,
        request: SubscriptionRequest,
    ) -> Result<SubscriptionAnswer, Unanswered> {
        if !self.rules.access.is_guarded() {
            return Ok(self.ask(object, request).await?);
        }
        let network = self.caller.network();
        self.strangers.borrow_mut().check(&network, object, clock::now())?;
        let answer = self.ask(object, request).await?;
        let is_miss = answer == SubscriptionAnswer::Refused(SubscriptionRefusal::TokenInvalid);
        self.strangers.borrow_mut().answered(&network, object, is_miss, clock::now());
        Ok(answer)
    }

    async fn ask(&self, object: &str, request: SubscriptionRequest) -> Result<SubscriptionAnswer, Failure> {
        let answered = calls::call(&self.namespace()?, object, &Call::Subscription(request)).await?;
        let Answered::Subscription(answer) = answered else { return Err(unexpected("ask subscription")) };
        Ok(answer)
    }

    /// A page of the root's subscriptions. The registry lists them, and each describes itself. Subscriptions that the
    /// token does not cover are left out.
    async fn list(&self) -> Result<Reply, Unanswered> {
        let query = self.control.list_query(self.url)?;
        let namespace = self.namespace()?;
        let listed = calls::call(&namespace, &self.control.registry, &Call::List(query)).await?;
        let Answered::Listed(ListedStreams { paths, next }) = listed else {
            return Err(unexpected("list subscriptions").into());
        };
        let summarize = |object| (object, Call::Subscription(SubscriptionRequest::Summarize));
        let asked: Vec<_> = paths.into_iter().map(summarize).collect();
        let answers = calls::call_all(&namespace, &asked).await?;
        let mut subscriptions = Vec::new();
        for ((object, _), answer) in asked.iter().zip(answers) {
            let Some(shown) = shown(object, answer) else { continue };
            if self.covers_listed(object, &shown).await {
                subscriptions.push(shown);
            }
        }
        self.sign(&mut subscriptions).await?;
        let next = next.and_then(|next| SubscriptionName::parse(&next)).map(|name| name.id);
        Ok(Reply::page(&SubscriptionPage { subscriptions, next }))
    }

    /// Whether the token covers a subscription in the list. If not all its links are there, a token that is limited to some
    /// streams needs the others. Only one such description is in memory at a time.
    async fn covers_listed(&self, object: &str, listed: &Shown) -> bool {
        if !self.control.grant.is_narrowed() || !listed.has_more_streams {
            return self.control.covers_shown(listed);
        }
        let answer = self.ask(object, SubscriptionRequest::Get).await;
        matches!(answer, Ok(SubscriptionAnswer::Shown(whole)) if self.control.covers_shown(&whole))
    }

    /// Adds the description of the signing key to webhook subscriptions.
    async fn sign(&self, shown: impl IntoIterator<Item = &mut Shown>) -> Result<(), Unanswered> {
        let mut webhooks = shown.into_iter().filter_map(|shown| shown.webhook.as_mut()).peekable();
        if webhooks.peek().is_none() {
            return Ok(());
        }
        let keys = self.public_keys().await?;
        let jwks_url = format!("{}/jwks.json", self.base());
        for webhook in webhooks {
            webhook.signing = keys.first().map(|key| Signing::of(key, &jwks_url));
        }
        Ok(())
    }

    async fn public_keys(&self) -> Result<Vec<PublicKey>, Unanswered> {
        let registry = &self.control.registry;
        if let Some((keys, age)) = self.keys.0.borrow().find(registry, clock::now())
            && age < KEYS_KEPT
        {
            return Ok(keys.clone());
        }
        let answered = calls::call(&self.namespace()?, registry, &Call::PublicKeys).await?;
        let Answered::PublicKeys(keys) = answered else { return Err(unexpected("read keys").into()) };
        if keys.is_empty() {
            return Err(Failure::new("read keys", "the registry has none").into());
        }
        self.keys.0.borrow_mut().keep(registry, keys.clone(), clock::now());
        Ok(keys)
    }

    fn base(&self) -> String {
        self.webhooks.base(self.url, self.control.endpoint.root())
    }

    fn namespace(&self) -> Result<JsValue, Failure> {
        js_sys::Reflect::get(self.env, &STREAMS.into()).map_err(|error| unreached(&error))
    }
}

/// The list's entry for a subscription; `None` if it no longer exists.
fn shown(object: &str, answer: Result<Answered, Failure>) -> Option<Shown> {
    let failure = match answer {
        Ok(Answered::Subscription(SubscriptionAnswer::Shown(shown))) => return Some(*shown),
        Ok(Answered::Subscription(_)) => return None,
        Ok(_) => unexpected("describe subscription"),
        Err(failure) => failure,
    };
    telemetry::failure(object, &failure);
    Shown::unanswered(object)
}

fn unexpected(operation: &'static str) -> Failure {
    Failure::new(operation, "the object answered another question")
}
