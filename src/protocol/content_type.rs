//! Content types and what follows from them: how positions count, how SSE carries the data (PROTOCOL.md 9), and whether a
//! browser may show the content as a page.

use super::refusal::Refusal;

/// How a stream's content is cut into messages and shown to live readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `application/json`: a message is a JSON value, positions count messages.
    Json,
    /// `text/*`: positions count bytes, SSE carries UTF-8.
    Text,
    /// Everything else: positions count bytes, SSE carries base64.
    Binary,
}

/// A stream's content type, as its creator wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentType {
    text: String,
    format: Format,
    inert: bool,
}

/// The types that a browser shows as text or not at all. Every other type is taken for one that can run scripts: what
/// browsers render changes.
const INERT: [&str; 4] = ["application/json", "text/plain", "application/octet-stream", "text/event-stream"];

/// What a stream is created with when the request names nothing (PROTOCOL.md 5.1).
const DEFAULT: &str = "application/octet-stream";

/// The longest: it stands in each segment of the stream.
pub const CONTENT_TYPE_MAX_BYTES: usize = 1024;

impl ContentType {
    /// Checks the header's value: a media type such as `text/plain; charset=utf-8`.
    pub fn parse(text: &str) -> Result<ContentType, Refusal> {
        if text.len() > CONTENT_TYPE_MAX_BYTES {
            return Err(Refusal::InvalidHeader {
                name: "Content-Type",
                why: "it must have at most 1,024 bytes",
            });
        }
        let parsed: Option<mime::Mime> = text.trim().parse().ok();
        // The crate takes `text/` for a type.
        let parsed =
            parsed.filter(|parsed| !parsed.subtype().as_str().is_empty()).ok_or(Refusal::InvalidHeader {
                name: "Content-Type",
                why: "it must be a media type such as application/json",
            })?;
        let format = if parsed.type_() == mime::APPLICATION && parsed.subtype() == mime::JSON {
            Format::Json
        } else if parsed.type_() == mime::TEXT {
            Format::Text
        } else {
            Format::Binary
        };
        let text = text.trim().to_owned();
        // A browser reads what follows a comma as another type, which wins.
        let inert =
            !text.contains(',') && INERT.iter().any(|inert| inert.eq_ignore_ascii_case(essence(&text)));
        Ok(ContentType { text, format, inert })
    }

    /// Of a stream whose creator names none.
    pub fn unnamed() -> ContentType {
        ContentType { text: DEFAULT.to_owned(), format: Format::Binary, inert: true }
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the content is cut.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether no browser runs anything of the content.
    pub fn is_inert(&self) -> bool {
        self.inert
    }

    /// Whether a request's header names this type: type and subtype count, case and parameters do not.
    pub fn matches(&self, header: &str) -> bool {
        essence(&self.text).eq_ignore_ascii_case(essence(header))
    }
}

fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}
