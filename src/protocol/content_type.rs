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

/// The longest type, in bytes: every segment of the stream has a copy.
pub const CONTENT_TYPE_MAX_BYTES: usize = 1024;

/// White space around the parts of a header (RFC 9110, 5.6.3).
const SPACE: [char; 2] = [' ', '\t'];

impl ContentType {
    /// Checks the header's value: a media type such as `text/plain; charset=utf-8`.
    pub fn parse(text: &str) -> Result<ContentType, Refusal> {
        let refused = |why| Err(Refusal::InvalidHeader { name: "Content-Type", why });
        if text.len() > CONTENT_TYPE_MAX_BYTES {
            return refused("it must have at most 1,024 bytes");
        }
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return refused("a parameter that is not ASCII must be UTF-8, or percent-encoded");
        }
        if !is_media_type(text) {
            return refused(ONE_TYPE);
        }
        ContentType::stored(text)
    }

    /// Reads a type that was checked when its stream was created: its parameters by the rules of that version.
    pub fn stored(text: &str) -> Result<ContentType, Refusal> {
        let text = text.trim_matches(SPACE).to_owned();
        let format = Format::of(essence(&text))
            .ok_or(Refusal::InvalidHeader { name: "Content-Type", why: ONE_TYPE })?;
        // A browser reads what follows a comma as another type, which wins; not all see that it is quoted.
        let inert =
            !text.contains(',') && INERT.iter().any(|inert| inert.eq_ignore_ascii_case(essence(&text)));
        Ok(ContentType { text, format, inert })
    }

    /// The type of a stream whose PUT names none.
    pub fn unnamed() -> ContentType {
        ContentType { text: DEFAULT.to_owned(), format: Format::Binary, inert: true }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the content is cut into messages.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether browsers cannot run the content as a script.
    pub fn is_inert(&self) -> bool {
        self.inert
    }

    /// Whether a request's header names this type: type and subtype count, case and parameters do not.
    pub fn matches(&self, header: &str) -> bool {
        essence(&self.text).eq_ignore_ascii_case(essence(header))
    }
}

/// Refuses an append's `Content-Type` that names more than one type: the platform joins the lines of a header with
/// commas. A stream's type is compared without its parameters, so nothing else of them is checked.
pub fn check_single(header: Option<&str>) -> Result<(), Refusal> {
    match header {
        Some(text) if text.contains(',') && !is_media_type(text) => {
            Err(Refusal::InvalidHeader { name: "Content-Type", why: ONE_TYPE })
        }
        Some(_) | None => Ok(()),
    }
}

const ONE_TYPE: &str = "it must be one media type, such as application/json";

impl Format {
    /// None where there is no type, or no subtype.
    fn of(essence: &str) -> Option<Format> {
        let (kind, subtype) = essence.split_once('/').filter(|(kind, _)| !kind.is_empty())?;
        // Streams of `application/json+x` have counted messages since the first version, those of `application/json+x+y` bytes.
        let named = subtype.rsplit_once('+').map_or(subtype, |(named, _)| named);
        let format = if kind.eq_ignore_ascii_case("application") && named.eq_ignore_ascii_case("json") {
            Format::Json
        } else if kind.eq_ignore_ascii_case("text") {
            Format::Text
        } else {
            Format::Binary
        };
        (!subtype.is_empty()).then_some(format)
    }
}

/// The type and subtype, without parameters.
fn essence(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim_matches(SPACE)
}

/// Whether a text is a media type (RFC 9110, 8.3.1): a parameter may be left out between two semicolons (5.6.6).
fn is_media_type(text: &str) -> bool {
    let text = text.trim_matches(SPACE);
    let parameters = &text[text.find(';').unwrap_or(text.len())..];
    let is_type = |(kind, subtype): (&str, &str)| is_token(kind) && is_token(subtype);
    essence(text).split_once('/').is_some_and(is_type) && are_parameters(parameters)
}

/// `*( OWS ";" OWS [ name "=" ( token / quoted-string ) ] )`.
fn are_parameters(mut rest: &str) -> bool {
    loop {
        rest = rest.trim_start_matches(SPACE);
        let Some(parameter) = rest.strip_prefix(';') else { return rest.is_empty() };
        rest = parameter.trim_start_matches(SPACE);
        if rest.is_empty() || rest.starts_with(';') {
            continue;
        }
        let Some((name, value)) = rest.split_once('=') else { return false };
        let after = match value.strip_prefix('"') {
            Some(quoted) => after_quoted(quoted),
            None => {
                let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
                is_token(&value[..end]).then_some(&value[end..])
            }
        };
        match after {
            Some(after) if is_token(name) => rest = after,
            _ => return false,
        }
    }
}

/// What follows the end of a quoted string (RFC 9110, 5.6.4), of which the first quote is gone.
fn after_quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' if !is_escaped => return Some(&text[at + 1..]),
            '\\' if !is_escaped => is_escaped = true,
            '\t' | ' '..='~' | '\u{80}'.. => is_escaped = false,
            _ => return None,
        }
    }
    None
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
