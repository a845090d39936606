//! Subscriptions on the wire (PROTOCOL.md 6 and 7): their names, the bodies of their requests and answers, patterns, and
//! which webhooks are allowed. The rules are in `src/subscription/`.

pub mod answer;
pub mod config;
pub mod glob;
pub mod keys;
pub mod refusal;
pub mod request;
pub mod watch;
pub mod webhook_url;

use crate::protocol::names::PROTOCOL_SEGMENT;
use crate::protocol::path::StreamPath;

/// The longest id of a subscription, in bytes after decoding.
pub const ID_MAX_BYTES: usize = 256;

/// What the path of a subscription's object has after its root.
const SUBSCRIPTIONS: &str = "subscriptions/";

/// A subscription's name. Its object is called like the path of its URL: `__ds/subscriptions/<id>`, or
/// `<root>/__ds/subscriptions/<id>`. No stream has such a path (PROTOCOL.md 6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionName {
    /// The first segment of all its streams; `None` where there is none in common.
    pub root: Option<String>,
    pub id: String,
}

impl SubscriptionName {
    /// Reads an object's name; `None` if it is not a subscription's.
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

    /// The whole path of a stream that a body names relative to the root (PROTOCOL.md 6).
    pub fn whole_path(&self, relative: &str) -> String {
        match &self.root {
            None => relative.to_owned(),
            Some(root) => format!("{root}/{relative}"),
        }
    }

    /// A pattern over whole paths, of one that a body gives relative to the root. `**` alone also matches an empty path, but
    /// the root itself is not below the root.
    pub fn whole_pattern(&self, relative: &str) -> String {
        let is_any = self.root.is_some() && relative.split('/').all(|segment| segment == "**");
        if is_any { self.whole_path("*/**") } else { self.whole_path(relative) }
    }

    /// The opposite of [`SubscriptionName::whole_path`].
    pub fn relative_path<'p>(&self, path: &'p str) -> &'p str {
        let Some(root) = &self.root else { return path };
        path.strip_prefix(root.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
    }

    /// A stream that a body names: slashes at its ends do not count. `None` if no stream can have that path.
    pub fn stream(&self, named: &str) -> Option<String> {
        let path = self.whole_path(named.trim_matches('/'));
        let parsed = StreamPath::of_text(path).ok()?;
        (!parsed.is_reserved()).then(|| parsed.into())
    }
}

/// How the names of all subscriptions of a root begin.
pub fn names_under(root: Option<&str>) -> String {
    match root {
        None => format!("{PROTOCOL_SEGMENT}/{SUBSCRIPTIONS}"),
        Some(root) => format!("{root}/{PROTOCOL_SEGMENT}/{SUBSCRIPTIONS}"),
    }
}
