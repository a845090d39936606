//! `Host` (RFC 9110, 7.2): one name or address, with or without a port. A server that makes the URL of what else it says
//! would look for the stream in the wrong place.

use crate::protocol::refusal::Refusal;

/// Whether the URL of a request can be made of its `Host`. Several headers come as one with a comma.
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

/// Refuses a request of whose `Host` no URL can be made, as `is_host` says. One without is the platform's to refuse.
pub fn check(host: Option<&str>, is_host: impl FnOnce(&str) -> bool) -> Result<(), Refusal> {
    if host.is_none_or(is_host) {
        return Ok(());
    }
    let why = "it must be given once, and be a name or an address with or without a port";
    Err(Refusal::InvalidHeader { name: "Host", why })
}
