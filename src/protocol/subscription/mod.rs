//! The wire format of subscriptions (PROTOCOL.md 6 and 7): names, bodies of requests and answers, patterns, and the
//! rules for webhook URLs. The state machine is in `src/subscription/`.

pub mod answer;
pub mod config;
pub mod glob;
pub mod keys;
pub mod refusal;
pub mod request;
pub mod summary;
pub mod wake_token;
pub mod watch;
pub mod webhook_url;

use crate::protocol::names::PROTOCOL_SEGMENT;
use crate::protocol::path::StreamPath;

/// The longest id of a subscription, in bytes after decoding.
pub const ID_MAX_BYTES: usize = 256;

/// The part of a subscription object's path between root and id.
const SUBSCRIPTIONS: &str = "subscriptions/";

/// A subscription's name. The object's name is the path of the subscription's URL: `__ds/subscriptions/<id>`, or
/// `<root>/__ds/subscriptions/<id>`. No stream has such a path (PROTOCOL.md 6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionName {
    /// The first segment of all its streams; `None` if they share none.
    pub root: Option<String>,
    pub id: String,
}

impl SubscriptionName {
    /// Parses an object's name. `None` if the object is not a subscription.
    pub fn parse(name: &str) -> Option<SubscriptionName> {
        let (root, rest) = match name.split_once('/')? {
            (PROTOCOL_SEGMENT, rest) => (None, rest),
            (root, rest) => (Some(root.to_owned()), rest.strip_prefix(PROTOCOL_SEGMENT)?.strip_prefix('/')?),
        };
        let id = rest.strip_prefix(SUBSCRIPTIONS)?;
        let is_id = !id.is_empty() && id.len() <= ID_MAX_BYTES;
        is_id.then(|| SubscriptionName { root, id: id.to_owned() })
    }

    /// The name of its object.
    pub fn object(&self) -> String {
        format!("{}{}", names_under(self.root.as_deref()), self.id)
    }

    /// The whole path of a stream named relative to the root in a body (PROTOCOL.md 6).
    pub fn whole_path(&self, relative: &str) -> String {
        match &self.root {
            None => relative.to_owned(),
            Some(root) => format!("{root}/{relative}"),
        }
    }

    /// Makes a pattern over whole paths from one relative to the root. A lone `**` also matches an empty path, but the
    /// root itself is not below the root.
    pub fn whole_pattern(&self, relative: &str) -> String {
        let is_any = self.root.is_some() && relative.split('/').all(|segment| segment == "**");
        if is_any { self.whole_path("*/**") } else { self.whole_path(relative) }
    }

    /// The inverse of [`SubscriptionName::whole_path`].
    pub fn relative_path<'p>(&self, path: &'p str) -> &'p str {
        let Some(root) = &self.root else { return path };
        path.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
    }

    /// The path of a stream named in a body, without slashes at its ends. `None` if no stream can have that path.
    pub fn stream(&self, named: &str) -> Option<String> {
        let path = self.whole_path(named.trim_matches('/'));
        let parsed = StreamPath::of_text(path).ok()?;
        (!parsed.is_reserved()).then(|| parsed.into())
    }
}

/// The common prefix of the names of all subscriptions of a root.
pub fn names_under(root: Option<&str>) -> String {
    match root {
        None => format!("{PROTOCOL_SEGMENT}/{SUBSCRIPTIONS}"),
        Some(root) => format!("{root}/{PROTOCOL_SEGMENT}/{SUBSCRIPTIONS}"),
    }
}
