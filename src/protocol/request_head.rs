//! The head of a request, as the platform gives it.

use http::Method;

use super::names::header;
use super::refusal::Refusal;

/// The head of a request.
pub struct RequestHead<'a> {
    pub method: &'a Method,
    /// The URL as it came.
    pub url: &'a str,
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// Returns a random text that no client can guess.
    pub random: &'a dyn Fn() -> String,
}

impl RequestHead<'_> {
    /// The value of one of the protocol's headers, which is stored, compared or looked up: [`check_plain`].
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let value = (self.header)(name);
        value.as_deref().map_or(Ok(()), |value| check_plain(name, value))?;
        Ok(value)
    }
}

/// Refuses a header's value that has anything but visible ASCII characters and spaces. The platform decodes a value as UTF-8,
/// with U+FFFD for what is not, so values that differ on the wire can be equal here.
pub(super) fn check_plain(name: &'static str, value: &str) -> Result<(), Refusal> {
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    let why = "it must have visible ASCII characters and spaces only: percent-encode it, as encodeURIComponent does";
    Err(Refusal::InvalidHeader { name: header::capitalized(name), why })
}
