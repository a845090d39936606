//! CORS: which sites' scripts may see answers, where somebody guards the streams. An open server answers the scripts of
//! every site (`protocol/reply.rs`).

use super::access::Settings;
use crate::protocol::cors::EXPOSED;
use crate::protocol::names::header;

/// The sites of one project, or of a deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    origins: Origins,
    credentials: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Origins {
    Any,
    Listed(Vec<String>),
}

impl Cors {
    /// Reads what a deployment sets; without it, no other site.
    pub fn of(settings: &Settings) -> Result<Cors, String> {
        let words =
            |text: &str| text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let origins: Vec<String> = settings.cors_origins.as_deref().map(words).unwrap_or_default();
        let credentials = match settings.cors_credentials.as_deref() {
            None | Some("" | "0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err("CORS_CREDENTIALS must be 1, or not set".to_owned()),
        };
        Cors::listed(&origins, credentials).map_err(|why| format!("CORS_ORIGINS: {why}"))
    }

    /// These sites; `*` alone is all of them, which must not send cookies.
    pub fn listed(origins: &[String], credentials: bool) -> Result<Cors, String> {
        let is_any = matches!(origins, [only] if only == "*");
        if is_any && credentials {
            return Err("the scripts of all sites must not send cookies: list the sites".to_owned());
        }
        if !is_any && !origins.iter().all(|origin| is_origin(origin)) {
            return Err(
                "an origin is written like https://app.example, without a slash at its end".to_owned()
            );
        }
        let origins = if is_any { Origins::Any } else { Origins::Listed(origins.to_vec()) };
        Ok(Cors { origins, credentials })
    }

    /// What a response to a script of this site has besides, names and values in turn, each with a line feed after
    /// it. What depends on who asks says so, or a cache would give one site's answer to another.
    pub fn header_lines(&self, origin: &str) -> String {
        let mut lines = String::new();
        let mut line = |name: &str, value: &str| {
            for text in [name, "\n", value, "\n"] {
                lines.push_str(text);
            }
        };
        let allowed = match &self.origins {
            Origins::Any => "*",
            Origins::Listed(listed) => {
                line(header::VARY, "Origin");
                match listed.iter().find(|listed| *listed == origin) {
                    Some(listed) => listed,
                    None => return lines,
                }
            }
        };
        line(header::ALLOW_ORIGIN, allowed);
        line(header::EXPOSE_HEADERS, EXPOSED);
        if self.credentials {
            line(header::ALLOW_CREDENTIALS, "true");
        }
        lines
    }
}

/// Scheme, host and port as browsers write them, and nothing after it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]_".contains(&byte);
    ["http", "https"].contains(&scheme) && !host.is_empty() && host.bytes().all(is_host)
}
