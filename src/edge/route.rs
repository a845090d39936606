//! Where a request goes. The path that is checked here is the path that is served.

use http::Method;

use crate::protocol::command::{Query, STREAM_METHODS};
use crate::protocol::listing::ListQuery;
use crate::protocol::names::{LISTING_PATH, ORPHANS_PATH, STREAM_PREFIX, query};
use crate::protocol::offset::Offset;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// Answered on the spot: a browser asks what it may send here, and is allowed to, whatever becomes of that.
    Preflight,
    /// Answered on the spot.
    Reply(Reply),
    /// Answered on the spot, with what the server is configured to be.
    Health,
    /// To the stream's object, whose answer is the response.
    Forward(StreamPath),
    /// To the stream's object, which may answer with a socket: a long-poll.
    LongPoll(StreamPath),
    /// To the stream's object, which may answer with a socket: server-sent events.
    Sse(StreamPath),
    /// To the registry, and to the streams it names.
    Listing,
    /// To nobody but the administrator: which objects of the bucket no stream knows.
    Orphans,
}

/// Routes a request by its method and URL.
pub fn route(method: &Method, url: &str) -> Route {
    match try_route(method, url) {
        Ok(route) => route,
        Err(refusal) => Route::Reply(Reply::refused(&refusal)),
    }
}

fn try_route(method: &Method, url: &str) -> Result<Route, Refusal> {
    if *method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let path = path_of(url);
    if path == "/health" {
        return match *method {
            Method::GET | Method::HEAD => Ok(Route::Health),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" }),
        };
    }
    if path == ORPHANS_PATH {
        return Ok(Route::Orphans);
    }
    if path == LISTING_PATH {
        return match *method {
            Method::GET => Ok(Route::Listing),
            _ => Err(Refusal::MethodNotAllowed { allow: "GET, OPTIONS" }),
        };
    }
    let stream = StreamPath::parse(StreamPath::in_url(path).ok_or(Refusal::UnknownRoute)?)?;
    if stream.is_reserved() {
        return Err(if stream.is_protocols() {
            Refusal::NotImplemented { what: "subscriptions" }
        } else {
            Refusal::InvalidPath { why: "__registry__ is the server's own, and nothing is below it" }
        });
    }
    match *method {
        Method::GET => Ok(match Query::parse(url)?.live.as_deref() {
            Some("long-poll") => Route::LongPoll(stream),
            Some("sse") => Route::Sse(stream),
            _ => Route::Forward(stream),
        }),
        Method::PUT | Method::POST | Method::DELETE if stream.is_registry() => Err(Refusal::ReadOnly),
        Method::HEAD | Method::PUT | Method::POST | Method::DELETE => Ok(Route::Forward(stream)),
        _ => Err(Refusal::MethodNotAllowed { allow: STREAM_METHODS }),
    }
}

/// The normalised path of the stream that a URL names, if it names one.
pub fn stream_path(url: &str) -> Option<String> {
    let path = StreamPath::parse(StreamPath::in_url(path_of(url))?).ok()?;
    Some(path.as_str().to_owned())
}

/// The same URL in the first form of a stream's, if it has another one. Objects see the first form only, since one of the
/// build before would take a URL in another for that of no stream. What names no stream stays as it is, to be refused.
pub fn in_first_form(url: &str) -> Option<String> {
    let (origin, target) = split_at_path(url);
    if target.starts_with(STREAM_PREFIX) {
        return None;
    }
    stream_path(url)?;
    Some(format!("{origin}{STREAM_PREFIX}{}", StreamPath::in_url(target)?))
}

/// The project that a URL names, if it names one: by a stream's path, whatever is wrong with the rest of that, or by what is
/// listed.
pub fn project_named(url: &str) -> Option<String> {
    if path_of(url) == LISTING_PATH {
        // The beginning of a name is no project's.
        let prefix = ListQuery::parse(url).ok()?.prefix;
        return prefix.split_once('/').map(|(project, _)| project.to_owned());
    }
    let path = StreamPath::in_url(path_of(url))?;
    let parsed =
        StreamPath::parse(path).or_else(|_| StreamPath::parse(path.split('/').next().unwrap_or_default()));
    parsed.ok().map(|path| path.project().to_owned())
}

/// The URL at which a live read goes on, when it does so in another request to the object: from an offset, not
/// from `now`, which has moved.
pub fn live_url_from(url: &str, from: Offset) -> String {
    let Query { live, cursor, reader_key, .. } = Query::parse(url).unwrap_or_default();
    let base = url.split(['?', '#']).next().unwrap_or(url);
    let mut parameters = form_urlencoded::Serializer::for_suffix(format!("{base}?"), base.len() + 1);
    if let Some(cursor) = cursor {
        parameters.append_pair(query::CURSOR, &cursor);
    }
    if let Some(live) = live {
        parameters.append_pair(query::LIVE, &live);
    }
    parameters.append_pair(query::OFFSET, &from.to_string());
    if let Some(reader_key) = reader_key {
        parameters.append_pair(query::READER_KEY, &reader_key);
    }
    parameters.finish()
}

/// The URL without its token: that is the edge's, and would be a secret in whatever repeats the URL.
pub fn url_without_token(url: &str) -> String {
    let Some((base, all)) = url.split_once('?') else { return url.to_owned() };
    let all = all.split('#').next().unwrap_or_default();
    let mut parameters = form_urlencoded::Serializer::for_suffix(format!("{base}?"), base.len() + 1);
    let others = form_urlencoded::parse(all.as_bytes()).filter(|(name, _)| name != query::TOKEN);
    parameters.extend_pairs(others).finish()
}

/// The path of an absolute URL, escapes and all.
fn path_of(url: &str) -> &str {
    let (_, target) = split_at_path(url);
    target.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/")
}

/// The scheme and host of an absolute URL, and all that follows.
fn split_at_path(url: &str) -> (&str, &str) {
    let host_at = url.find("://").map_or(0, |at| at + "://".len());
    url.split_at(url[host_at..].find('/').map_or(url.len(), |at| host_at + at))
}
