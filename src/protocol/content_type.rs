//! Content types and what follows from them: how positions count and how SSE carries the data (PROTOCOL.md 9).

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
}

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
        Ok(ContentType { text: text.trim().to_owned(), format })
    }

    /// Of a stream whose creator names none.
    pub fn unnamed() -> ContentType {
        ContentType { text: DEFAULT.to_owned(), format: Format::Binary }
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the content is cut.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether a request's header names this type: type and subtype count, case and parameters do not.
    pub fn matches(&self, header: &str) -> bool {
        essence(&self.text).eq_ignore_ascii_case(essence(header))
    }
}

fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}
