//! The access modes of a deployment: locked, open, one token, or tokens that projects sign. A configuration
//! error locks the server and never opens it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::cors::Cors;
use super::project::{Project, parse_all};
use super::settings::EdgeSettings;
use super::webhooks::WebhookSettings;
use crate::protocol::refusal::Refusal;
use crate::protocol::subscription::webhook_url::UrlRules;

/// The shortest `AUTH_TOKEN` or `ADMIN_TOKEN`, in characters: a shorter one could be guessed.
const TOKEN_MIN_CHARS: usize = 16;

/// The access mode, with its configuration.
pub enum Access {
    /// Refuses every request, because the configuration has a mistake.
    Locked {
        /// The variable to set. Clients see this text, so it contains no configuration.
        why: String,
        detail: String,
    },
    /// Every client may do everything.
    Open {
        /// Whether the server also answers requests from other machines (`ALLOW_OPEN`).
        everywhere: bool,
    },
    /// One token allows everything.
    Token(Secret),
    /// Projects sign tokens; these are the projects of `PROJECT_KEYS`.
    Projects(HashMap<String, Rc<Project>>),
}

struct Mistake {
    why: String,
    detail: String,
}

/// The text may name variables, but must not contain their values.
impl From<String> for Mistake {
    fn from(why: String) -> Mistake {
        Mistake { detail: why.clone(), why }
    }
}

/// The hash of a token, which cannot reveal the token in a log.
pub struct Secret([u8; 32]);

impl Secret {
    fn new(token: &str) -> Secret {
        Secret(Sha256::digest(token).into())
    }

    /// The secret of a configured token. `None` if the token can be guessed or does not fit into a header.
    pub fn of(token: &str) -> Option<Secret> {
        (token.chars().count() >= TOKEN_MIN_CHARS && is_token(token)).then(|| Secret::new(token))
    }

    /// Compares in constant time, whatever the content and length of the guess.
    pub fn is(&self, guess: &str) -> bool {
        Secret::new(guess).0.ct_eq(&self.0).into()
    }
}

impl Access {
    /// Chooses the mode. A configuration error locks the server.
    pub fn of(settings: &EdgeSettings) -> Access {
        Access::try_of(settings).unwrap_or_else(|Mistake { why, detail }| Access::Locked { why, detail })
    }

    fn try_of(settings: &EdgeSettings) -> Result<Access, Mistake> {
        let has_projects = settings.project_keys.is_some() || settings.has_registry;
        Cors::of(settings)?;
        WebhookSettings::of(settings)?;
        match &settings.auth_token {
            Some(_) if has_projects => {
                Err("set AUTH_TOKEN, or PROJECT_KEYS and PROJECTS, and not both".to_owned().into())
            }
            Some(token) => Secret::of(token).map(Access::Token).ok_or_else(|| {
                format!(
                    "AUTH_TOKEN must have {TOKEN_MIN_CHARS} characters or more, of A-Z a-z 0-9 - . _ ~ + /"
                )
                .into()
            }),
            None if has_projects => {
                let projects = settings.project_keys.as_deref().map(parse_all).transpose();
                let projects = projects.map_err(|detail| Mistake {
                    why: "PROJECT_KEYS cannot be read: the log says what to change".to_owned(),
                    detail,
                })?;
                Ok(Access::Projects(projects.unwrap_or_default()))
            }
            None => match settings.allow_open.as_deref() {
                None | Some("" | "0" | "false") => Ok(Access::Open { everywhere: false }),
                Some("1" | "true") => Ok(Access::Open { everywhere: true }),
                Some(_) => Err("ALLOW_OPEN must be 1, or not set".to_owned().into()),
            },
        }
    }

    pub fn mode(&self) -> &'static str {
        match self {
            Access::Locked { .. } => "locked",
            Access::Open { .. } => "open",
            Access::Token(_) => "token",
            Access::Projects(_) => "projects",
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Access::Open { .. })
    }

    /// Whether it serves only the machine that it runs on.
    pub fn is_local(&self) -> bool {
        matches!(self, Access::Open { everywhere: false })
    }

    /// Whether requests need a token.
    pub fn is_guarded(&self) -> bool {
        matches!(self, Access::Token(_) | Access::Projects(_))
    }

    /// Refuses every request to a locked server, and remote requests to an open one. A request is remote if it
    /// has a number of Cloudflare's network, names a host other than this machine, or comes from another
    /// machine.
    pub fn serve(&self, url: &str, ray: Option<&str>, peer: Option<&str>) -> Result<(), Refusal> {
        let is_from_here = || ray.is_none() && is_loopback(url) && peer.is_none_or(is_loopback_address);
        match self {
            Access::Locked { why, .. } => Err(Refusal::NotConfigured { why: why.clone() }),
            Access::Open { everywhere: false } if !is_from_here() => {
                let why = "set the secret AUTH_TOKEN or PROJECT_KEYS, or ALLOW_OPEN=1 if everybody may read, write \
                           and delete";
                Err(Refusal::NotConfigured { why: why.to_owned() })
            }
            Access::Open { .. } | Access::Token(_) | Access::Projects(_) => Ok(()),
        }
    }
}

/// The rules for the URL of a webhook at its delivery: the operator may have changed them since the URL was set. `base` is
/// the URL of the control root. A locked server has no rules, and the error says why.
pub fn delivery_rules(settings: &EdgeSettings, base: &str) -> Result<UrlRules, String> {
    let access = Access::of(settings);
    if let Access::Locked { why, .. } = &access {
        return Err(format!("the configuration has a mistake: {why}"));
    }
    Ok(WebhookSettings::of(settings)?.url_rules(access.is_local(), base))
}

/// Whether the text is a `b64token` (RFC 6750, 2.1).
pub fn is_token(text: &str) -> bool {
    let word = text.trim_end_matches('=');
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// Whether a URL's host is a loopback name or address.
fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&host)
}

/// Whether a socket address, with its port, is a loopback address.
fn is_loopback_address(peer: &str) -> bool {
    peer.parse().is_ok_and(|peer: SocketAddr| peer.ip().to_canonical().is_loopback())
}
