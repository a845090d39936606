//! CORS of a guarded server: the sites whose scripts may read answers. An open server lets the scripts of every
//! site read its answers (`protocol/reply.rs`).

use http::Method;

use super::settings::EdgeSettings;
use crate::protocol::cors::EXPOSED;
use crate::protocol::names::header;

/// The allowed sites of one project, or of the deployment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    /// Whether the list is `*`.
    is_any: bool,
    sites: Vec<Site>,
    credentials: bool,
    /// Entries of the list that are not origins and have no effect.
    ignored: Vec<String>,
}

/// An entry of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Site {
    /// The site of this origin, as browsers spell it.
    One(String),
    /// All sites below a name, at every depth: the beginning and the end of their origins, such as `https://`
    /// and `.app.example:8443`.
    Below { scheme: String, suffix: String },
}

impl Cors {
    /// Reads `CORS_ORIGINS` and `CORS_CREDENTIALS`; the default allows no other site.
    pub fn of(settings: &EdgeSettings) -> Result<Cors, String> {
        let is_between = |between: char| between == ',' || between.is_whitespace();
        let words =
            |text: &str| text.split(is_between).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let origins: Vec<String> = settings.cors_origins.as_deref().map(words).unwrap_or_default();
        let credentials = match settings.cors_credentials.as_deref() {
            None | Some("" | "0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err("CORS_CREDENTIALS must be 1, or not set".to_owned()),
        };
        Ok(Cors::listed(&origins, credentials))
    }

    /// Allows these sites; `*` alone allows all sites, without credentials.
    pub fn listed(origins: &[String], credentials: bool) -> Cors {
        let mut cors = Cors { credentials, ..Cors::default() };
        cors.is_any = !credentials && matches!(origins, [only] if only == "*");
        for origin in origins.iter().filter(|_| !cors.is_any) {
            match Site::parse(origin) {
                Some(site) => cors.sites.push(site),
                None => cors.ignored.push(origin.clone()),
            }
        }
        cors
    }

    /// A message about the entries that have no effect, if any.
    pub fn mistakes(&self) -> Option<String> {
        let ignored = self.ignored.join(" ");
        let form = "an origin is written like https://app.example or https://*.app.example; * must stand alone, without \
                    credentials";
        (!self.ignored.is_empty()).then(|| format!("origins that are ignored: {ignored}; {form}"))
    }

    /// The additional headers of a response to a script of this site: names and values in turn, each followed
    /// by a line feed. `Vary` names the origin if the answer depends on it; otherwise a cache would serve one
    /// site's answer to another.
    pub fn header_lines(&self, method: &Method, origin: &str) -> String {
        let mut lines = String::new();
        let mut line = |name: &str, value: &str| {
            for text in [name, "\n", value, "\n"] {
                lines.push_str(text);
            }
        };
        if !self.is_any {
            let is_preflight = *method == Method::OPTIONS;
            line(header::VARY, if is_preflight { VARY_OF_PREFLIGHT } else { "Origin" });
            if !self.sites.iter().any(|site| site.has(origin)) {
                return lines;
            }
        }
        line(header::ALLOW_ORIGIN, if self.is_any { "*" } else { origin });
        line(header::EXPOSE_HEADERS, EXPOSED);
        if self.credentials {
            line(header::ALLOW_CREDENTIALS, "true");
        }
        lines
    }
}

const VARY_OF_PREFLIGHT: &str = "Origin, Access-Control-Request-Headers";

impl Site {
    /// Parses an origin: scheme, host and port, and optionally a slash at the end. Rejects `null`, because
    /// every sandboxed page has that origin.
    fn parse(text: &str) -> Option<Site> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        // Browsers do not lower-case the hosts of other schemes.
        let is_web = default_port.is_some();
        let authority = if is_web { authority.to_ascii_lowercase() } else { authority.to_owned() };
        let (host, port) = match authority.rfind(':') {
            // The colons of an IPv6 address are in brackets.
            Some(at) if !authority.ends_with(']') => (&authority[..at], Some(port(&authority[at + 1..])?)),
            _ => (&*authority, None),
        };
        // Browsers omit a scheme's default port.
        let port = port.filter(|port| Some(*port) != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let scheme = is_scheme(&scheme).then(|| format!("{scheme}://"))?;
        match host.strip_prefix("*.") {
            Some(below) if is_web && may_have_sites_below(below) => {
                Some(Site::Below { scheme, suffix: format!(".{below}{port}") })
            }
            Some(_) => None,
            None => (is_name(host) || is_ipv6(host)).then(|| Site::One(format!("{scheme}{host}{port}"))),
        }
    }

    /// Whether a browser's `Origin` matches this entry.
    fn has(&self, origin: &str) -> bool {
        match self {
            Site::One(one) => one == origin,
            Site::Below { scheme, suffix } => {
                let below = origin.strip_prefix(&**scheme).and_then(|host| host.strip_suffix(&**suffix));
                below.is_some_and(is_name)
            }
        }
    }
}

/// A scheme (RFC 3986, 3.1).
fn is_scheme(text: &str) -> bool {
    let is_next = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_next)
}

/// A host name: labels separated by dots. Browsers send international names in ASCII.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.split('.').all(is_label)
}

fn is_ipv6(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Whether a wildcard below this name is allowed: not below `com`, nor below a part of an address.
pub(super) fn may_have_sites_below(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = last.starts_with(|first: char| first.is_ascii_digit());
    is_name(name) && (name.contains('.') && !is_address || name == "localhost")
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text)
}
