//! The head of a request, as the platform delivers it.

use http::Method;

use super::names::header;
use super::refusal::Refusal;

pub struct RequestHead<'a> {
    pub method: &'a Method,
    /// The absolute URL, unchanged.
    pub url: &'a str,
    /// Looks up a header by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// Returns random text that clients cannot guess.
    pub random: &'a dyn Fn() -> String,
}

impl RequestHead<'_> {
    /// The value of a header that the server stores, compares or looks up. Refuses values as [`check_plain`]
    /// does.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let value = (self.header)(name);
        value.as_deref().map_or(Ok(()), |value| check_plain(name, value))?;
        Ok(value)
    }
}

/// Refuses values with anything but visible ASCII characters and spaces. The platform decodes values as UTF-8
/// and replaces invalid bytes by U+FFFD, so different values on the wire could be equal here.
pub(super) fn check_plain(name: &'static str, value: &str) -> Result<(), Refusal> {
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    let why = "it must have visible ASCII characters and spaces only: percent-encode it, as encodeURIComponent does";
    Err(Refusal::InvalidHeader { name: header::capitalized(name), why })
}
