//! Routes a request by its method and URL.

use http::Method;

use super::subscriptions::Endpoint;
use super::target::Target;
use crate::protocol::command::STREAM_METHODS;
use crate::protocol::console::ConsoleFile;
use crate::protocol::names::{
    DESCRIPTION_PATH, DETAILS_PREFIX, LISTING_PATH, METRICS_PATH, ORPHANS_PATH, READY_PATH,
};
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::subscription::refusal::SubscriptionRefusal;

/// The destination of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// A preflight, which is answered without calling an object and always succeeds.
    Preflight,
    /// Answered without calling an object.
    Reply(Reply),
    /// Answered without calling an object, with the server's configuration.
    Health,
    /// Answered without calling an object, with the description of the HTTP API.
    Description,
    /// To the stream's object, whose answer is the response.
    Forward(StreamPath),
    /// To the stream's object, for a long-poll: the object may answer with a socket.
    LongPoll(StreamPath),
    /// To the stream's object, for server-sent events: the object may answer with a socket.
    Sse(StreamPath),
    /// To the registry, and to the streams that it lists.
    Listing,
    /// To a stream's object, for its description.
    Details(StreamPath),
    /// Answered with checks of the deployment.
    Ready,
    /// The metrics, for the administrator only.
    Metrics,
    /// The administrator's list of orphans in the bucket.
    Orphans,
    /// To a file of the console.
    Console(ConsoleFile),
    /// To a subscription, or to the registry that lists it.
    Subscriptions(Endpoint),
}

impl Route {
    /// The name of the route in data points. An interface for operators (docs/operate.md).
    pub fn name(&self) -> &'static str {
        match self {
            Route::Preflight => "preflight",
            Route::Reply(_) => "none",
            Route::Health => "health",
            Route::Forward(_) => "stream",
            Route::LongPoll(_) => "long-poll",
            Route::Sse(_) => "sse",
            Route::Listing => "listing",
            Route::Details(_) => "details",
            Route::Console(_) => "console",
            Route::Ready => "ready",
            Route::Metrics => "metrics",
            Route::Orphans => "orphans",
            Route::Description => "description",
            Route::Subscriptions(_) => "subscriptions",
        }
    }

    /// Whether a request needs a token of the access mode. The others need none, a wake token, or the administrator's.
    pub fn needs_token(&self) -> bool {
        match self {
            Route::Forward(_) | Route::LongPoll(_) | Route::Sse(_) | Route::Listing | Route::Details(_) => {
                true
            }
            Route::Subscriptions(endpoint) => endpoint.scope().is_some(),
            Route::Preflight
            | Route::Reply(_)
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::Description
            | Route::Orphans
            | Route::Console(_) => false,
        }
    }

    /// Whether a request is to a path whose first segment is reserved, which concerns the streams of all projects: the
    /// protocol's own path of the whole server, or the registry of all streams.
    pub fn is_at_root(&self) -> bool {
        match self {
            Route::Forward(path) | Route::LongPoll(path) | Route::Sse(path) | Route::Details(path) => {
                path.is_root_registry()
            }
            Route::Subscriptions(endpoint) => endpoint.root().is_none(),
            Route::Preflight
            | Route::Reply(_)
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::Description
            | Route::Listing
            | Route::Orphans
            | Route::Console(_) => false,
        }
    }
}

pub fn route(method: &Method, target: &Target<'_>) -> Route {
    match try_route(method, target) {
        Ok(route) => route,
        Err(refusal) => Route::Reply(Reply::refused(&refusal)),
    }
}

fn try_route(method: &Method, target: &Target<'_>) -> Result<Route, Refusal> {
    if *method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let path = target.path;
    if path == "/health" {
        return only_read(method).map(|()| Route::Health);
    }
    if path == READY_PATH {
        return only_read(method).map(|()| Route::Ready);
    }
    if path == DESCRIPTION_PATH {
        return only_read(method).map(|()| Route::Description);
    }
    if ConsoleFile::owns(path) {
        let file = ConsoleFile::at(path).ok_or(Refusal::UnknownRoute)?;
        return match *method {
            Method::GET | Method::HEAD => Ok(Route::Console(file)),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }),
        };
    }
    if path == ORPHANS_PATH {
        return Ok(Route::Orphans);
    }
    if path == METRICS_PATH {
        return Ok(Route::Metrics);
    }
    if path == LISTING_PATH {
        return match *method {
            Method::GET => Ok(Route::Listing),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, OPTIONS" }),
        };
    }
    if let Some(raw) = path.strip_prefix(DETAILS_PREFIX) {
        return match *method {
            Method::GET => unreserved(raw).map(Route::Details),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, OPTIONS" }),
        };
    }
    let raw = StreamPath::in_url(path).ok_or(Refusal::UnknownRoute)?;
    if let Some(endpoint) = Endpoint::route(method, raw) {
        return endpoint.map(Route::Subscriptions);
    }
    let stream = unreserved(raw)?;
    match *method {
        Method::GET => Ok(match target.query()?.live.as_deref() {
            Some("long-poll") => Route::LongPoll(stream),
            Some("sse") => Route::Sse(stream),
            _ => Route::Forward(stream),
        }),
        Method::PUT | Method::POST | Method::DELETE if stream.is_registry() => Err(Refusal::ReadOnly),
        Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(Route::Forward(stream)),
        _ => Err(Refusal::MethodNotAllowed { allow: STREAM_METHODS }),
    }
}

/// The path of a stream in a URL, unless it belongs to a registry or a subscription.
fn unreserved(raw: &str) -> Result<StreamPath, Refusal> {
    let stream = StreamPath::parse(raw)?;
    if !stream.is_reserved() {
        return Ok(stream);
    }
    Err(if stream.is_protocols() {
        SubscriptionRefusal::NotFound.into()
    } else {
        Refusal::InvalidPath { why: "__registry__ is the server's own, and nothing is below it" }
    })
}

fn only_read(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }),
    }
}
