//! Stream paths: percent-decoded and checked once, before anything else looks at them (PROTOCOL.md 12.2).

use percent_encoding::percent_decode_str;

use super::names::{PROTOCOL_SEGMENT, REGISTRY_SEGMENT, RESERVED_SEGMENTS, STREAM_PREFIXES};
use super::refusal::Refusal;

/// The longest path, in bytes after decoding. A key in R2 has 1,024: the path in base64 (4 for each 3), and two numbers
/// of 16 digits with a slash before each.
pub const PATH_MAX_BYTES: usize = (1024 - 2 * 17) / 4 * 3;

/// A normalised path such as `my-project/chat/42`. The same stream always has the same text, whatever escapes
/// the client used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamPath(String);

impl StreamPath {
    /// What follows the prefix in the path of a stream's URL, escapes and all, whichever form the URL has.
    pub fn in_url(url_path: &str) -> Option<&str> {
        STREAM_PREFIXES.iter().find_map(|prefix| url_path.strip_prefix(prefix))
    }

    /// Decodes and checks what [`StreamPath::in_url`] finds. An escaped slash is a slash, so that what is checked is
    /// what is served.
    pub fn parse(raw: &str) -> Result<StreamPath, Refusal> {
        let refused = |why| Err(Refusal::InvalidPath { why });
        if raw.contains('\\') {
            // Some clients send it as a slash, so the same URL would name two streams; escaped it is a character.
            return refused("it has a backslash: write %5C");
        }
        if !escapes_are_whole(raw) {
            return refused("an escape in it is not % and two hex digits");
        }
        let Ok(path) = percent_decode_str(raw).decode_utf8() else {
            return refused("it is not UTF-8 once decoded");
        };
        StreamPath::of_text(path.into_owned())
    }

    /// Checks a path that has been decoded.
    pub fn of_text(path: String) -> Result<StreamPath, Refusal> {
        let refused = |why| Err(Refusal::InvalidPath { why });
        if path.len() > PATH_MAX_BYTES {
            return refused("it is longer than 741 bytes once decoded");
        }
        if path.chars().any(char::is_control) {
            return refused("it has a control character");
        }
        if path.is_empty() {
            return refused("it is empty: a stream is at /v1/stream/<path>, and the listing at /v1/streams");
        }
        for segment in path.split('/') {
            match segment {
                "" => return refused("it has an empty segment"),
                "." | ".." => return refused("it has a segment . or .."),
                // A token for the streams below `a/` is for `a/*`, which must not be a stream as well.
                "*" => return refused("it has a segment *"),
                _ => {}
            }
        }
        Ok(StreamPath(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: the project that the stream belongs to.
    pub fn project(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether the path is reserved and unused: it can have neither an application's stream nor a registry (PROTOCOL.md 6).
    pub fn is_reserved(&self) -> bool {
        self.is_outside_projects() || self.is_protocols()
    }

    /// Whether the path belongs to the protocol itself, for the whole server or for one project.
    pub fn is_protocols(&self) -> bool {
        let mut segments = self.0.split('/');
        match segments.next() {
            Some(PROTOCOL_SEGMENT) => true,
            Some(REGISTRY_SEGMENT) | None => false,
            Some(_project) => segments.next() == Some(PROTOCOL_SEGMENT),
        }
    }

    /// Whether the path is in no project, and no registry's either: no stream has ever been there.
    pub fn is_outside_projects(&self) -> bool {
        RESERVED_SEGMENTS.contains(&self.project()) && !self.is_registry()
    }

    /// Whether it is a registry's: that of all streams, or of one project. In each mode both are, so that what was an
    /// application's own stream never becomes a registry.
    pub fn is_registry(&self) -> bool {
        match self.0.strip_suffix(REGISTRY_SEGMENT) {
            Some("") => true,
            Some(before) => before
                .strip_suffix('/')
                .is_some_and(|project| !project.contains('/') && !RESERVED_SEGMENTS.contains(&project)),
            None => false,
        }
    }
}

impl From<StreamPath> for String {
    fn from(path: StreamPath) -> String {
        path.0
    }
}

fn escapes_are_whole(raw: &str) -> bool {
    raw.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes();
        let mut hex = || digits.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        hex() && hex()
    })
}
