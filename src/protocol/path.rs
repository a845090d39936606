//! Stream paths: percent-decoded and validated once, before any other use (PROTOCOL.md 12.2).

use percent_encoding::percent_decode_str;

use super::names::{PROTOCOL_SEGMENT, REGISTRY_SEGMENT, RESERVED_SEGMENTS, STREAM_PREFIXES};
use super::refusal::Refusal;

/// The longest path, in bytes after decoding. An R2 key has at most 1,024 bytes: the path in base64 (4 bytes
/// for each 3), and two numbers of 16 digits with a slash before each.
pub const PATH_MAX_BYTES: usize = (1024 - 2 * 17) / 4 * 3;

/// A normalised path such as `my-project/chat/42`. Different escapes of the same path give the same text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamPath(String);

impl StreamPath {
    /// The still escaped path after the prefix of a stream's URL, in any of its forms; `None` for other URLs.
    pub fn in_url(url_path: &str) -> Option<&str> {
        STREAM_PREFIXES.iter().find_map(|prefix| url_path.strip_prefix(prefix))
    }

    /// Decodes and validates the result of [`StreamPath::in_url`]. An escaped slash counts as a slash, so the
    /// validated path is the served path.
    pub fn parse(raw: &str) -> Result<StreamPath, Refusal> {
        let refused = |why| Err(Refusal::InvalidPath { why });
        if raw.contains('\\') {
            // Some clients send a backslash as a slash, so one URL would name two streams. An escaped backslash
            // is a character.
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

    /// Validates a decoded path.
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
                // `a/*` in a token's claim means all streams below `a/`, so it must not name a stream, too.
                "*" => return refused("it has a segment *"),
                _ => {}
            }
        }
        Ok(StreamPath(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment, which names the project.
    pub fn project(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether the path is reserved and unused: neither an application's stream nor a registry can have it
    /// (PROTOCOL.md 6).
    pub fn is_reserved(&self) -> bool {
        self.is_outside_projects() || self.is_protocols()
    }

    /// Whether the path belongs to the protocol itself, in the whole server or in one project.
    pub fn is_protocols(&self) -> bool {
        let mut segments = self.0.split('/');
        match segments.next() {
            Some(PROTOCOL_SEGMENT) => true,
            Some(REGISTRY_SEGMENT) | None => false,
            Some(_project) => segments.next() == Some(PROTOCOL_SEGMENT),
        }
    }

    /// Whether the path is in no project and names no registry. No stream can ever have had such a path.
    pub fn is_outside_projects(&self) -> bool {
        RESERVED_SEGMENTS.contains(&self.project()) && !self.is_registry()
    }

    /// Whether the path names the registry of all streams.
    pub fn is_root_registry(&self) -> bool {
        self.0 == REGISTRY_SEGMENT
    }

    /// Whether the path names a registry, of all streams or of one project. Both forms are reserved in every
    /// mode, so that an application's stream never becomes a registry when the mode changes.
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
