//! The rules for webhook URLs (PROTOCOL.md 6.2 and 12.8). The server calls them from its own network, so a URL must
//! name a public host.
//!
//! The check accepts one spelling of a URL: lower-case letters, digits and hyphens in the host, no user information, no
//! IP literal. So this check and the platform's URL parser cannot read two different hosts in the same text.

/// The longest URL of a webhook, in bytes.
pub const URL_MAX_BYTES: usize = 2048;

/// Names that resolve only inside a network, as do all names below them.
const LOCAL_NAMES: [&str; 9] =
    ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "localdomain"];

/// The webhook URLs that a deployment allows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UrlRules {
    /// Whether `http://localhost` and `http://127.0.0.x` are allowed.
    pub allows_loopback: bool,
    /// The only allowed hosts; `*.example.org` allows the hosts below `example.org`. `None` allows all hosts.
    pub hosts: Option<Vec<String>>,
    /// The server's own hosts, in the form of `hosts`. A webhook on one of them would call the server itself.
    pub own_hosts: Vec<String>,
}

impl UrlRules {
    /// Checks a URL. The error says why the URL is not allowed.
    pub fn check(&self, url: &str) -> Result<(), &'static str> {
        if url.len() > URL_MAX_BYTES {
            return Err("it is longer than 2,048 bytes");
        }
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'<' | b'>' | b'"');
        if !url.bytes().all(is_plain) {
            return Err(
                "it may have visible ASCII characters only, and no backslash, quote, angle bracket or fragment",
            );
        }
        let (scheme, rest) = url.split_once("://").ok_or("it must begin with https://")?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (host, port) = host_and_port(authority)?;
        match scheme {
            "https" => self.check_public(host, port),
            "http" if self.allows_loopback && is_loopback(host) => Ok(()),
            "http" => Err("it must begin with https://"),
            _ => Err("it must begin with https://, in lower case"),
        }
    }

    fn check_public(&self, host: &str, port: Option<u16>) -> Result<(), &'static str> {
        if self.allows_loopback && is_loopback(host) {
            return Ok(());
        }
        check_name(host)?;
        if !matches!(port, None | Some(443 | 1024..)) {
            return Err("its port must be 443, or 1024 or higher");
        }
        if self.own_hosts.iter().any(|own| is_listed(own, host)) {
            return Err("it is a host of this server");
        }
        match &self.hosts {
            Some(hosts) if !hosts.iter().any(|allowed| is_listed(allowed, host)) => {
                Err("its host is not in WEBHOOK_HOSTS")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Parses `WEBHOOK_HOSTS`: hosts separated by white space or commas.
pub fn parse_hosts(text: &str) -> Vec<String> {
    let is_between = |between: char| between == ',' || between.is_whitespace();
    let entries = text.split(is_between).filter(|entry| !entry.is_empty());
    entries.map(str::to_ascii_lowercase).collect()
}

fn is_listed(listed: &str, host: &str) -> bool {
    match listed.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => listed == host,
    }
}

/// Whether the text is one label of a host, in the spelling that the check accepts.
pub fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("it must not have user information before the host");
    }
    if authority.contains(['[', ']']) {
        return Err("its host must be a name and not an IP address");
    }
    match authority.split_once(':') {
        None => Ok((authority, None)),
        Some((host, port)) => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port > 0);
            port.map(|port| (host, Some(port))).ok_or("its port is not a number from 1 to 65535")
        }
    }
}

/// `localhost`, or `127.0.0.x` written as four decimal numbers.
fn is_loopback(host: &str) -> bool {
    let is_last = |last: &str| last.parse::<u8>().is_ok_and(|number| number.to_string() == last);
    host == "localhost" || host.strip_prefix("127.0.0.").is_some_and(is_last)
}

fn check_name(host: &str) -> Result<(), &'static str> {
    let labels: Vec<&str> = host.split('.').collect();
    if host.len() > 253 || !labels.iter().all(|label| is_label(label)) {
        return Err(
            "its host must be a name of lower-case letters, digits and hyphens (xn-- for others), without a dot at its end",
        );
    }
    let last = *labels.last().unwrap_or(&"");
    // A host whose last label is a number is some spelling of an IPv4 address.
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err("its host must be a name and not an IP address");
    }
    if labels.len() < 2 {
        return Err("its host must have a dot: a name without one is resolved in a local network");
    }
    let is_local =
        |name: &&str| host == *name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    if LOCAL_NAMES.iter().any(is_local) {
        return Err("its host is a name of a local network");
    }
    Ok(())
}
