//! CORS: which sites' scripts may see answers, where somebody guards the streams. An open server answers the scripts of
//! every site (`protocol/reply.rs`).

use http::Method;

use super::settings::EdgeSettings;
use crate::protocol::cors::EXPOSED;
use crate::protocol::names::header;

/// The sites of one project, or of a deployment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    /// Whether the scripts of all sites see answers.
    is_any: bool,
    sites: Vec<Site>,
    credentials: bool,
    /// Entries of the list that are no origin; they allow nothing.
    ignored: Vec<String>,
}

/// Sites whose scripts see answers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Site {
    /// The one of this origin, as browsers write it.
    One(String),
    /// Those of the names below one, at every depth: what their origins begin and end with, `https://` and `.app.example:8443`.
    Below { scheme: String, suffix: String },
}

impl Cors {
    /// Reads what a deployment sets; without it, no other site.
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

    /// These sites; `*` alone is all of them, which must not send cookies.
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

    /// What to change in the list, if it has anything that names no site.
    pub fn mistakes(&self) -> Option<String> {
        let ignored = self.ignored.join(" ");
        let form = "an origin is written like https://app.example or https://*.app.example; * must stand alone, without \
                    credentials";
        (!self.ignored.is_empty()).then(|| format!("origins that are ignored: {ignored}; {form}"))
    }

    /// What a response to a script of this site has besides, names and values in turn, each with a line feed after
    /// it. What depends on who asks says so, or a cache would give one site's answer to another.
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
    /// Reads an origin: scheme, host and port, and no path but a slash at its end. `null`, which every page can be that runs
    /// in a sandbox, is none.
    fn parse(text: &str) -> Option<Site> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        // Browsers compare the hosts of other schemes as they are written.
        let is_web = default_port.is_some();
        let authority = if is_web { authority.to_ascii_lowercase() } else { authority.to_owned() };
        let (host, port) = match authority.rfind(':') {
            // The colons of an IPv6 address are in brackets.
            Some(at) if !authority.ends_with(']') => (&authority[..at], Some(port(&authority[at + 1..])?)),
            _ => (&*authority, None),
        };
        // Browsers leave a scheme's own port out.
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

    /// Whether a browser's `Origin` is one of these.
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

/// RFC 3986, 3.1.
fn is_scheme(text: &str) -> bool {
    let is_next = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_next)
}

/// Labels with dots between them. International names are in ASCII here, as browsers write them.
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

/// Whether sites below this name can be meant together: those below `com` or a part of an address cannot.
fn may_have_sites_below(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = last.starts_with(|first: char| first.is_ascii_digit());
    is_name(name) && (name.contains('.') && !is_address || name == "localhost")
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text)
}
