//! Content types. They decide the unit of positions, the SSE encoding (PROTOCOL.md 9), and whether a browser
//! may show the content as a page.

use super::refusal::Refusal;

/// How content is divided into messages and encoded for SSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `application/json`: a message is a JSON value, positions count messages.
    Json,
    /// `text/*`: positions count bytes, SSE carries UTF-8.
    Text,
    /// All other types: positions count bytes, SSE carries base64.
    Binary,
}

/// A stream's content type, as the creating request spelled it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentType {
    text: String,
    format: Format,
    inert: bool,
}

/// Types that browsers show as text or do not show. Every other type counts as one that can run scripts,
/// because browsers add types that they render.
const INERT: [&str; 4] = ["application/json", "text/plain", "application/octet-stream", "text/event-stream"];

/// The type of a stream whose PUT names none (PROTOCOL.md 5.1).
const DEFAULT: &str = "application/octet-stream";

/// The longest content type, in bytes: each segment has a copy of it.
pub const CONTENT_TYPE_MAX_BYTES: usize = 1024;

/// Optional white space in headers (RFC 9110, 5.6.3).
const SPACE: [char; 2] = [' ', '\t'];

impl ContentType {
    /// Checks a `Content-Type` header: one media type such as `text/plain; charset=utf-8`.
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

    /// Parses a stored type. Its parameters passed the checks of the version that created the stream.
    pub fn stored(text: &str) -> Result<ContentType, Refusal> {
        let text = text.trim_matches(SPACE).to_owned();
        let format = Format::of(essence(&text))
            .ok_or(Refusal::InvalidHeader { name: "Content-Type", why: ONE_TYPE })?;
        // Browsers treat the text after a comma as a second type, which wins. Some do so even inside quotes.
        let inert =
            !text.contains(',') && INERT.iter().any(|inert| inert.eq_ignore_ascii_case(essence(&text)));
        Ok(ContentType { text, format, inert })
    }

    /// `application/octet-stream`, for a PUT without `Content-Type`.
    pub fn unnamed() -> ContentType {
        ContentType { text: DEFAULT.to_owned(), format: Format::Binary, inert: true }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether browsers never run content of this type as a script.
    pub fn is_inert(&self) -> bool {
        self.inert
    }

    /// Whether a request's `Content-Type` names this type. Compares type and subtype only, and ignores case.
    pub fn matches(&self, header: &str) -> bool {
        essence(&self.text).eq_ignore_ascii_case(essence(header))
    }
}

/// Refuses an append whose `Content-Type` names several types; the platform joins repeated headers with commas.
/// Parameters are not checked, because an append is compared by type and subtype only.
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
    /// `None` if the type or the subtype is missing.
    fn of(essence: &str) -> Option<Format> {
        let (kind, subtype) = essence.split_once('/').filter(|(kind, _)| !kind.is_empty())?;
        // Compatibility: since the first version, `application/json+x` counts messages and
        // `application/json+x+y` counts bytes.
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

/// Whether the text is a media type (RFC 9110, 8.3.1); parameters may be empty (5.6.6).
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

/// The rest after a quoted string (RFC 9110, 5.6.4) whose opening quote is already removed.
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

/// A `token` (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
