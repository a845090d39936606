//! The control API of subscriptions (PROTOCOL.md 6 and 7) in the Worker: routes, scopes, and the parsing of bodies. A
//! body may not name a stream that the token does not cover.

use http::Method;
use percent_encoding::percent_decode_str;

use super::grant::{Grant, Scope};
use crate::protocol::listing::ListQuery;
use crate::protocol::names::{PROTOCOL_SEGMENT, RESERVED_SEGMENTS, control};
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::subscription::answer::Shown;
use crate::protocol::subscription::config::{Patch, SubscriptionConfig, WakeChannel};
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::{SubscriptionRequest, WakeRequest};
use crate::protocol::subscription::wake_token::WakeClaims;
use crate::protocol::subscription::webhook_url::UrlRules;
use crate::protocol::subscription::{ID_MAX_BYTES, SubscriptionName, names_under};

/// The destination of a request under a control root, `<stream root>/__ds`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    Subscription {
        name: SubscriptionName,
        action: Action,
    },
    /// The subscriptions of the root (an extension).
    List {
        root: Option<String>,
    },
    /// The public keys that verify webhooks.
    Keys {
        root: Option<String>,
    },
}

/// The operation on one subscription. `Patch` and `Resume` are extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Put,
    Get,
    Delete,
    Patch,
    AddStreams,
    /// Removes the stream with this whole path.
    RemoveStream(String),
    Callback,
    Claim,
    Ack,
    Release,
    Resume,
}

impl Endpoint {
    /// Routes the still escaped path after a stream prefix. `None` if the path is not below a control root.
    pub fn route(method: &Method, raw: &str) -> Option<Result<Endpoint, Refusal>> {
        if !raw.contains(PROTOCOL_SEGMENT) && !raw.contains('%') {
            return None;
        }
        let segments: Vec<&str> = raw.split('/').collect();
        let is_protocols =
            |at: usize| segments.get(at).and_then(|raw| decoded(raw)).as_deref() == Some(PROTOCOL_SEGMENT);
        if is_protocols(0) {
            return Some(Endpoint::below(None, method, &segments[1..]));
        }
        if !is_protocols(1) {
            return None;
        }
        let root = decoded(segments[0]).filter(|root| {
            let is_path = StreamPath::of_text(root.clone()).is_ok();
            is_path && !root.contains('/') && !RESERVED_SEGMENTS.contains(&root.as_str())
        })?;
        // The root precedes its patterns, so an asterisk or its escape in the root would become part of them.
        if root.contains('*') || root.to_ascii_lowercase().contains("%2a") {
            return Some(Err(invalid("the root has an asterisk")));
        }
        Some(Endpoint::below(Some(root), method, &segments[2..]))
    }

    fn below(root: Option<String>, method: &Method, rest: &[&str]) -> Result<Endpoint, Refusal> {
        match rest {
            [control::KEYS] => only(method, &Method::GET, "GET, OPTIONS").map(|()| Endpoint::Keys { root }),
            [control::SUBSCRIPTIONS] => {
                only(method, &Method::GET, "GET, OPTIONS").map(|()| Endpoint::List { root })
            }
            [control::SUBSCRIPTIONS, id, rest @ ..] => {
                let name = || name(root, id);
                let action = match rest {
                    [] => action_of(method)?,
                    [control::STREAMS, first, others @ ..] => {
                        only(method, &Method::DELETE, "DELETE, OPTIONS")?;
                        let name = name()?;
                        let action = Action::RemoveStream(removed(&name, first, others)?);
                        return Ok(Endpoint::Subscription { name, action });
                    }
                    [posted] => {
                        let action = posted_action(posted).ok_or(SubscriptionRefusal::NotFound)?;
                        only(method, &Method::POST, "POST, OPTIONS")?;
                        action
                    }
                    _ => return Err(SubscriptionRefusal::NotFound.into()),
                };
                Ok(Endpoint::Subscription { name: name()?, action })
            }
            _ => Err(SubscriptionRefusal::NotFound.into()),
        }
    }

    pub fn root(&self) -> Option<&str> {
        match self {
            Endpoint::Subscription { name, .. } => name.root.as_deref(),
            Endpoint::List { root } | Endpoint::Keys { root } => root.as_deref(),
        }
    }

    /// The scope that a request needs. `None` if it needs no project token: the subscription checks the wake token
    /// itself, and public keys are public.
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Endpoint::Subscription { action, .. } => match action {
                Action::Put
                | Action::Delete
                | Action::Patch
                | Action::AddStreams
                | Action::RemoveStream(_)
                | Action::Resume => Some(Scope::Manage),
                Action::Get => Some(Scope::Read),
                Action::Claim => Some(Scope::Write),
                Action::Callback | Action::Ack | Action::Release => None,
            },
            Endpoint::List { .. } => Some(Scope::Manage),
            Endpoint::Keys { .. } => None,
        }
    }
}

fn action_of(method: &Method) -> Result<Action, Refusal> {
    match *method {
        Method::PUT => Ok(Action::Put),
        Method::GET => Ok(Action::Get),
        Method::DELETE => Ok(Action::Delete),
        Method::PATCH => Ok(Action::Patch),
        _ => Err(Refusal::MethodNotAllowed { allow: "GET, PUT, PATCH, DELETE, OPTIONS" }),
    }
}

fn posted_action(segment: &str) -> Option<Action> {
    match segment {
        control::STREAMS => Some(Action::AddStreams),
        control::CALLBACK => Some(Action::Callback),
        control::CLAIM => Some(Action::Claim),
        control::ACK => Some(Action::Ack),
        control::RELEASE => Some(Action::Release),
        control::RESUME => Some(Action::Resume),
        _ => None,
    }
}

fn only(method: &Method, allowed: &Method, allow: &'static str) -> Result<(), Refusal> {
    if method == allowed { Ok(()) } else { Err(Refusal::MethodNotAllowed { allow }) }
}

/// The subscription with this escaped id. Its object's name must be a valid path, so that it can be a producer at the
/// registry.
fn name(root: Option<String>, id: &str) -> Result<SubscriptionName, Refusal> {
    let id =
        decoded(id).ok_or_else(|| invalid("an escape in the id is not % and two hex digits of UTF-8"))?;
    if !(1..=ID_MAX_BYTES).contains(&id.len()) {
        return Err(invalid("the id must have 1 to 256 bytes"));
    }
    let name = SubscriptionName { root, id };
    match StreamPath::of_text(name.object()) {
        Ok(_) => Ok(name),
        Err(_) => Err(invalid(
            "the id has a control character or an empty, . or .. segment, or is a * or too long for its root",
        )),
    }
}

/// The path of the stream at the end of a URL, in one or more segments.
fn removed(name: &SubscriptionName, first: &str, others: &[&str]) -> Result<String, Refusal> {
    let mut segments = Vec::with_capacity(1 + others.len());
    for raw in std::iter::once(&first).chain(others) {
        segments.push(decoded(raw).ok_or_else(|| invalid("the stream's path has a broken escape"))?);
    }
    name.stream(&segments.join("/")).ok_or_else(|| invalid("the URL ends with no path of a stream"))
}

/// Unescapes a segment; `None` if it has a broken escape.
fn decoded(raw: &str) -> Option<String> {
    let is_whole = raw
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    (is_whole && !raw.contains('\\')).then(|| text.into_owned())
}

fn invalid(why: &str) -> Refusal {
    SubscriptionRefusal::invalid(why).into()
}

/// A request to the control API that its token permits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlRequest {
    pub endpoint: Endpoint,
    /// The streams that the token covers.
    pub grant: Grant,
    /// The path of the registry, which has the patterns, the list and the keys.
    pub registry: String,
}

/// The context for parsing a request's body.
pub struct Context<'c> {
    pub rules: &'c UrlRules,
    /// The URL of the control root.
    pub base: &'c str,
    /// The bearer token in `Authorization`.
    pub token: Option<&'c str>,
}

impl ControlRequest {
    /// The query of a list, in the registry's form.
    pub fn list_query(&self, url: &str) -> Result<ListQuery, Refusal> {
        let ListQuery { prefix, after, limit, .. } = ListQuery::parse(url)?;
        let names = names_under(self.endpoint.root());
        let after = if after.is_empty() { after } else { format!("{names}{after}") };
        Ok(ListQuery { prefix: format!("{names}{prefix}"), after, limit, subscriptions: true })
    }

    /// Whether the Worker must compare the existing subscription with the token before it sends the request on.
    pub fn needs_look(&self) -> bool {
        self.endpoint.scope().is_some() && self.grant.is_narrowed()
    }

    /// Whether the token covers all streams of a subscription, according to its description.
    pub fn covers_shown(&self, shown: &Shown) -> bool {
        let name = SubscriptionName { root: self.endpoint.root().map(str::to_owned), id: shown.id.clone() };
        let streams = shown.streams.iter().map(|link| link.path.as_str()).chain(shown.wake_stream.as_deref());
        let pattern = shown.pattern.as_deref().map(|pattern| name.whole_pattern(pattern));
        let is_whole = !self.grant.is_narrowed() || !shown.has_more_streams;
        is_whole && self.grant.covers(pattern.as_deref(), streams.map(|path| name.whole_path(path)))
    }

    /// The refusal for a token that does not cover a stream.
    pub fn uncovered(&self) -> Refusal {
        Refusal::Forbidden { needs: self.endpoint.scope().unwrap_or(Scope::Manage).name() }
    }

    /// Parses the body of a request to a subscription. Refuses streams that the token does not cover.
    pub fn request(
        &self,
        name: &SubscriptionName,
        action: &Action,
        body: &[u8],
        context: &Context<'_>,
    ) -> Result<SubscriptionRequest, Refusal> {
        let wake = || {
            // Most invented tokens need no object.
            if !WakeClaims::may_be_of(&name.object(), context.token.unwrap_or_default()) {
                return Err(SubscriptionRefusal::TokenInvalid);
            }
            WakeRequest::parse(name, context.token, body)
        };
        let request = match action {
            Action::Put => {
                let config = SubscriptionConfig::parse(name, body, context.rules)?;
                SubscriptionRequest::Put { config, base: context.base.to_owned() }
            }
            Action::Get => SubscriptionRequest::Get,
            Action::Delete => SubscriptionRequest::Delete,
            Action::Patch => SubscriptionRequest::Patch(Patch::parse(body, context.rules)?),
            Action::AddStreams => SubscriptionRequest::add_streams(name, body)?,
            Action::RemoveStream(path) => SubscriptionRequest::RemoveStream(path.clone()),
            Action::Callback => SubscriptionRequest::Callback(wake()?),
            Action::Claim => SubscriptionRequest::claim(body)?,
            Action::Ack => SubscriptionRequest::Ack(wake()?),
            Action::Release => SubscriptionRequest::Release(wake()?),
            Action::Resume => SubscriptionRequest::Resume,
        };
        if self.covers_request(name, &request) { Ok(request) } else { Err(self.uncovered()) }
    }

    fn covers_request(&self, name: &SubscriptionName, request: &SubscriptionRequest) -> bool {
        match request {
            SubscriptionRequest::Put { config, .. } => {
                let wake_stream = match &config.channel {
                    WakeChannel::Webhook { .. } => None,
                    WakeChannel::PullWake { wake_stream } => Some(wake_stream.clone()),
                };
                let streams = config.streams.iter().cloned().chain(wake_stream);
                self.grant.covers(config.whole_pattern(name).as_deref(), streams)
            }
            SubscriptionRequest::AddStreams(paths) => self.grant.covers(None, paths.iter().cloned()),
            SubscriptionRequest::RemoveStream(path) => self.grant.covers(None, std::iter::once(path.clone())),
            SubscriptionRequest::Get
            | SubscriptionRequest::Summarize
            | SubscriptionRequest::Delete
            | SubscriptionRequest::Claim { .. }
            | SubscriptionRequest::Callback(_)
            | SubscriptionRequest::Ack(_)
            | SubscriptionRequest::Release(_)
            | SubscriptionRequest::Patch(_)
            | SubscriptionRequest::Resume => true,
        }
    }
}

impl Action {
    /// Whether it counts against the limit of creations: it may create objects, or rows in the objects of streams.
    pub fn is_creation(&self) -> bool {
        matches!(self, Action::Put | Action::AddStreams)
    }

    /// Whether the body of a request matters.
    pub fn has_body(&self) -> bool {
        !matches!(self, Action::Get | Action::Delete | Action::RemoveStream(_) | Action::Resume)
    }
}
