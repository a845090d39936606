//! Writes requests and expected responses as single lines of text, so that tests can be tables.
//!
//! A request is `POST ?a=b | header: value | header: value << body`. After the method comes the query for the
//! stream under test, or a whole path.
//!
//! An expectation is `200 | header: value | !absent | present << body`. Without `<<` it accepts any body;
//! `error: code` names the refusal. `@1_23` stands for an offset.

use std::fmt;

use durable_streams::protocol::bridge::{parse_reply_head, reply_body_at};
use durable_streams::protocol::cors::EXPOSED;
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::reply::Reply;

/// The stream under test.
pub(crate) const STREAM_URL: &str = "https://streams.test/v1/stream/chat/42";

/// The path of the stream under test.
pub(crate) const STREAM_PATH: &str = "chat/42";

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn parse(line: &str) -> Request {
        let (head, body) = line.split_once(" << ").unwrap_or((line, ""));
        let head = with_offsets(head);
        let mut parts = head.split(" | ");
        let first = parts.next().unwrap();
        let (method, target) = first.split_once(' ').unwrap_or((first, ""));
        let url = match target.strip_prefix('/') {
            Some(path) => format!("https://streams.test/{path}"),
            None => format!("{STREAM_URL}{target}"),
        };
        let headers = parts.map(|part| {
            let (name, value) = part.split_once(": ").unwrap_or_else(|| panic!("not a header: {part}"));
            (name.to_owned(), value.to_owned())
        });
        Request { method: method.to_owned(), url, headers: headers.collect(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }
}

/// A response of the Worker, the object or a socket.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Formats the response as one line, without the headers that every response has.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let is_common = |name: &str| {
            ["access-control-", "cross-origin-", "x-content-", "content-security-"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_common(name)) {
            write!(f, " | {name}: {value}")?;
        }
        let text: String = self.text().chars().take(300).collect();
        write!(f, " << {text}")
    }
}

impl Response {
    pub(crate) fn of_reply(reply: Reply) -> Response {
        let headers = reply.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let response = Response { status: reply.status.as_u16(), headers, body: reply.body };
        response.assert_sound();
        response
    }

    /// Parses the reply in a waiter's frame.
    pub(crate) fn of_frame(frame: &[u8]) -> Response {
        let head = parse_reply_head(frame).unwrap();
        let lines: Vec<&str> = head.header_lines.lines().collect();
        let headers = lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
        let body = frame[reply_body_at(frame).unwrap()..].to_vec();
        let response = Response { status: head.status, headers, body };
        response.assert_sound();
        response
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The response's `Stream-Next-Offset`.
    pub(crate) fn next(&self) -> &str {
        self.header("stream-next-offset").unwrap_or_else(|| panic!("no Stream-Next-Offset in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Adds the headers that a script of another origin needs.
    pub(crate) fn with_any_origin(mut self) -> Response {
        if self.header("access-control-allow-origin").is_none() {
            let headers = [("access-control-allow-origin", "*"), ("access-control-expose-headers", EXPOSED)];
            self.headers.extend(headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        self
    }

    /// Asserts what every response must satisfy (PROTOCOL.md 10, 12.7).
    pub(crate) fn assert_sound(&self) {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a header occurs twice: {self:?}");
        assert!(
            names.iter().all(|name| **name == name.to_lowercase()),
            "a header name is not lower case: {self:?}"
        );
        for (name, value) in &self.headers {
            assert!(!value.is_empty() && !value.chars().any(char::is_control), "{name} in {self:?}");
        }
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        assert_eq!(self.header("cross-origin-resource-policy"), Some("cross-origin"), "{self:?}");
        let policy = "default-src 'none'; frame-ancestors 'none'; sandbox";
        assert_eq!(self.header("content-security-policy"), Some(policy), "{self:?}");
        let exposed = self.header("access-control-expose-headers");
        assert_eq!(self.header("access-control-allow-origin").is_some(), exposed.is_some(), "{self:?}");
        let exposed = exposed.unwrap_or(EXPOSED);
        for name in names {
            let is_simple = ["content-type", "cache-control", "vary"].contains(&name);
            let is_browsers = name.starts_with("access-control-")
                || name.starts_with("cross-origin")
                || ["content-security-policy", "content-disposition"].contains(&name)
                || name.starts_with("x-");
            assert!(
                is_simple || is_browsers || exposed.contains(name),
                "browsers hide {name} from scripts: it is not exposed"
            );
        }
        assert!(
            self.header("cache-control").is_some(),
            "without Cache-Control, caches apply their own policy: {self:?}"
        );
        if matches!(self.status, 204 | 304) {
            assert!(self.body.is_empty(), "this status has no body: {self:?}");
        }
        if self.status >= 400 {
            self.assert_sound_refusal();
        }
    }

    fn assert_sound_refusal(&self) {
        if self.header("content-type") == Some("text/plain") {
            // Clients recognize these two refusals by their whole body.
            let bodies = [&b"Sequence conflict"[..], b"Expected offset conflict"];
            assert!(self.status == 409 && bodies.contains(&&*self.body), "{self:?}");
            assert!(self.header("stream-next-offset").is_some(), "{self:?}");
            assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        let error = body["error"].as_object().unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "{self:?}");
        assert!(!error["code"].as_str().unwrap().is_empty(), "{self:?}");
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() > 10, "not a sentence: {message}");
    }

    /// The machine-readable code of a refusal.
    pub(crate) fn error_code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Asserts that the response matches an expectation.
    #[track_caller]
    pub(crate) fn assert_is(&self, expected: &str) {
        let (head, body) = match expected.split_once(" <<") {
            Some((head, body)) => (head, Some(body.strip_prefix(' ').unwrap_or(body))),
            None => (expected, None),
        };
        let head = with_offsets(head);
        let mut parts = head.split(" | ");
        assert_eq!(self.status.to_string(), parts.next().unwrap(), "status of {self:?}");
        for part in parts {
            match part.split_once(": ") {
                Some(("error", code)) => assert_eq!(self.error_code(), code, "{}", self.text()),
                Some((name, value)) => assert_eq!(self.header(name), Some(value), "{name} in {self:?}"),
                None => match part.strip_prefix('!') {
                    Some(name) => assert_eq!(self.header(name), None, "{name} in {self:?}"),
                    None => assert!(self.header(part).is_some(), "no {part} in {self:?}"),
                },
            }
        }
        if let Some(body) = body {
            assert!(self.body == body.as_bytes(), "expected the body {body:.300}, got {self:?}");
        }
    }
}

/// Replaces each `@readSeq_position` by an offset.
pub(crate) fn with_offsets(text: &str) -> String {
    let mut pieces = text.split('@');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(piece.len());
        let (segment, position) =
            piece[..end].split_once('_').unwrap_or_else(|| panic!("not an offset: @{piece}"));
        let offset = Offset { segment: segment.parse().unwrap(), position: position.parse().unwrap() };
        out.push_str(&format!("{offset}{}", &piece[end..]));
    }
    out
}
