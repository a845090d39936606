//! A request's URL, parsed once, so that the checked path is the served path.

use crate::protocol::command::Query;
use crate::protocol::listing::ListQuery;
use crate::protocol::names::{DETAILS_PREFIX, LISTING_PATH, STREAM_PREFIX, query};
use crate::protocol::offset::{Offset, ReadFrom};
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;

/// An absolute URL and its parsed query.
pub struct Target<'u> {
    pub url: &'u str,
    /// The path, still escaped.
    pub path: &'u str,
    query: Result<Query, Refusal>,
}

impl<'u> Target<'u> {
    pub fn of(url: &'u str) -> Target<'u> {
        Target { url, path: path_of(url), query: Query::parse(url) }
    }

    /// The query's parameters. Refuses a repeated parameter.
    pub fn query(&self) -> Result<&Query, Refusal> {
        self.query.as_ref().map_err(Clone::clone)
    }

    /// The token in the query. Without one, errors in other parameters do not matter here.
    pub fn token(&self) -> Result<Option<&str>, Refusal> {
        let may_have_token = self
            .url
            .split_once('?')
            .is_some_and(|(_, query)| query.contains(query::TOKEN) || query.contains('%'));
        if may_have_token { Ok(self.query()?.token.as_deref()) } else { Ok(None) }
    }

    /// The start of a read, if `offset` is present and well-formed.
    pub fn read_from(&self) -> Option<ReadFrom> {
        ReadFrom::parse(self.query.as_ref().ok()?.offset.as_deref()?)
    }

    /// The URL before its query.
    pub(super) fn base(&self) -> &'u str {
        self.url.split(['?', '#']).next().unwrap_or(self.url)
    }

    /// The URL without its token, which the object does not need and must not repeat in `Location` or a log.
    pub fn url_without_token(&self) -> String {
        let Some((base, all)) = self.url.split_once('?') else { return self.url.to_owned() };
        let all = all.split('#').next().unwrap_or_default();
        let others = form_urlencoded::parse(all.as_bytes()).filter(|(name, _)| name != query::TOKEN);
        with_query(base, |parameters| {
            parameters.extend_pairs(others);
        })
    }

    /// The project that the URL names, by a stream's path or by the prefix of a listing. The rest of a stream's
    /// path may be invalid.
    pub fn project_named(&self) -> Option<String> {
        if self.path == LISTING_PATH {
            // A prefix without a slash may be only the beginning of a project's name.
            let prefix = ListQuery::parse(self.url).ok()?.prefix;
            return prefix.split_once('/').map(|(project, _)| project.to_owned());
        }
        let path = self.path.strip_prefix(DETAILS_PREFIX).or_else(|| StreamPath::in_url(self.path))?;
        let parsed = StreamPath::parse(path)
            .or_else(|_| StreamPath::parse(path.split('/').next().unwrap_or_default()));
        parsed.ok().map(|path| path.project().to_owned())
    }
}

/// The URL with which a live read continues in another request to the object.
#[derive(Clone)]
pub struct LiveUrl {
    base: String,
    query: Query,
}

impl LiveUrl {
    pub fn of(target: &Target<'_>) -> LiveUrl {
        LiveUrl { base: target.base().to_owned(), query: target.query().cloned().unwrap_or_default() }
    }

    /// The URL with this offset, because `now` has moved.
    pub fn from(&self, from: Offset) -> String {
        let Query { live, cursor, reader_key, .. } = &self.query;
        let given = [
            (query::CURSOR, cursor.as_deref()),
            (query::LIVE, live.as_deref()),
            (query::OFFSET, Some(&*from.to_string())),
            (query::READER_KEY, reader_key.as_deref()),
        ];
        with_query(&self.base, |parameters| {
            parameters.extend_pairs(given.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        })
    }
}

/// Appends these parameters to a URL.
pub(super) fn with_query(
    base: &str,
    fill: impl FnOnce(&mut form_urlencoded::Serializer<'static, String>),
) -> String {
    let mut parameters = form_urlencoded::Serializer::for_suffix(format!("{base}?"), base.len() + 1);
    fill(&mut parameters);
    parameters.finish()
}

/// The normalised path of the stream in a URL; `None` if the URL names no stream.
pub fn stream_path(url: &str) -> Option<String> {
    let path = StreamPath::parse(StreamPath::in_url(path_of(url))?).ok()?;
    Some(path.as_str().to_owned())
}

/// The URL in the first form, if it has another one. Objects receive the first form only, because the previous
/// build would not recognise the others. A URL without a stream stays unchanged, so that it is refused.
pub fn in_first_form(url: &str) -> Option<String> {
    let (origin, target) = split_at_path(url);
    if target.starts_with(STREAM_PREFIX) {
        return None;
    }
    stream_path(url)?;
    Some(format!("{origin}{STREAM_PREFIX}{}", StreamPath::in_url(target)?))
}

/// The URL in the first form, if its path begins with `mount`: the path, from slash to slash, below which an application
/// serves streams.
pub fn unmounted(url: &str, mount: &str) -> Option<String> {
    let (origin, target) = split_at_path(url);
    target.strip_prefix(mount).map(|path| format!("{origin}{STREAM_PREFIX}{path}"))
}

fn path_of(url: &str) -> &str {
    let (_, target) = split_at_path(url);
    target.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/")
}

/// Splits an absolute URL after its host.
fn split_at_path(url: &str) -> (&str, &str) {
    let host_at = url.find("://").map_or(0, |at| at + "://".len());
    url.split_at(url[host_at..].find('/').map_or(url.len(), |at| host_at + at))
}
