//! Validates `Host` (RFC 9110, 7.2): one name or address, with an optional port. A URL built from any other
//! value would lead to the wrong stream.

use crate::protocol::refusal::Refusal;

/// Whether a URL can be built from this `Host`. Repeated headers are joined with a comma, and fail.
pub fn is_authority(host: &str) -> bool {
    let (name, port) = match host.rfind(':') {
        // The colons of an IPv6 address are in brackets.
        Some(at) if !host.ends_with(']') => (&host[..at], &host[at + 1..]),
        _ => (host, ""),
    };
    let is_name = match name.strip_prefix('[') {
        Some(address) => {
            address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        }
    };
    let is_port =
        port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_name && is_port
}

/// Refuses a request whose `Host` fails `is_host`. The platform itself refuses requests without one.
pub fn check(host: Option<&str>, is_host: impl FnOnce(&str) -> bool) -> Result<(), Refusal> {
    if host.is_none_or(is_host) {
        return Ok(());
    }
    let why = "it must be given once, and be a name or an address with or without a port";
    Err(Refusal::InvalidHeader { name: "Host", why })
}
