//! Authentication: finds a request's token and weighs it. `admit.rs` decides whether its grant allows the
//! request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Method;

use super::access::{Access, is_token};
use super::grant::Grant;
use super::keyring::{Check, Keyring};
use crate::protocol::Millis;
use crate::protocol::names::{TOKEN_COOKIE, query};
use crate::protocol::refusal::Refusal;

/// The place of a request's token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    None,
    Header,
    /// In the query, which makes the URL a secret.
    Query,
    /// In a cookie, which browsers also send for other sites' requests.
    Cookie,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    pub source: Source,
    /// The token, if it is well-formed.
    pub token: Option<String>,
}

impl Credential {
    /// The credential of a request whose token does not matter.
    pub fn none() -> Credential {
        Credential { source: Source::None, token: None }
    }

    /// The credential of a listing or of a request about subscriptions. Only `Authorization` counts, because these need the
    /// right to delete.
    pub(super) fn in_authorization(authorization: Option<&str>) -> Credential {
        match authorization {
            None => Credential::none(),
            Some(value) => Credential { source: Source::Header, token: bearer(value).map(str::to_owned) },
        }
    }

    /// Finds a request's token. A token in a cookie or URL only allows reads, because another site can make a
    /// browser send a write.
    pub fn of(
        method: &Method,
        in_query: Option<&str>,
        authorization: Option<&str>,
        cookie: Option<&str>,
    ) -> Result<Credential, Refusal> {
        let refused = |why| Err(Refusal::InvalidQuery { name: query::TOKEN, why });
        match (authorization, in_query) {
            (Some(_), Some(_)) => refused("send the token there or in Authorization, not both"),
            (None, Some(_)) if !method.is_safe() => refused("it is for GET and HEAD: use Authorization"),
            (None, Some(token)) => {
                let token = Some(token).filter(|token| is_token(token)).map(str::to_owned);
                Ok(Credential { source: Source::Query, token })
            }
            (Some(value), None) => {
                Ok(Credential { source: Source::Header, token: bearer(value).map(str::to_owned) })
            }
            (None, None) => Ok(match cookie.filter(|_| method.is_safe()).and_then(token_of_cookie) {
                Some(token) => {
                    Credential { source: Source::Cookie, token: Some(token).filter(|token| is_token(token)) }
                }
                None => Credential::none(),
            }),
        }
    }
}

/// The token of a bearer's `Authorization`. Repeated headers are joined with a comma, which no token contains.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

fn token_of_cookie(cookies: &str) -> Option<String> {
    cookies.split(';').find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == TOKEN_COOKIE).then(|| value.to_owned())
    })
}

/// The key by which clients without a token are distinguished: the address, or its /64 network in IPv6.
pub fn network_of(address: &str) -> String {
    match address.parse::<Ipv6Addr>().map(|address| (address.to_ipv4_mapped(), address.segments())) {
        Ok((None, [a, b, c, d, ..])) => format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"),
        Ok((Some(address), _)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

/// The rate limit's key of a client without a valid token: its address as Cloudflare's network saw it, or else
/// the connection's other end. All clients without either share one key.
pub fn network_of_client(connecting_ip: Option<&str>, peer: Option<&str>) -> String {
    let seen = connecting_ip.filter(|address| address.parse::<IpAddr>().is_ok()).map(network_of);
    let peer = || Some(network_of(&peer?.parse::<SocketAddr>().ok()?.ip().to_string()));
    seen.or_else(peer).unwrap_or_default()
}

/// The result of weighing a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Weighed {
    Granted(Grant),
    Refused(Refusal),
    /// The keyring needs this check first.
    Pending(Check),
}

/// Weighs a token, independent of the request.
pub(super) fn weigh(access: &Access, keyring: &Keyring, credential: &Credential, now: Millis) -> Weighed {
    let given = credential.source != Source::None;
    match (access, credential.token.as_deref()) {
        (Access::Open { .. }, _) => Weighed::Granted(Grant::of_everything()),
        (Access::Token(secret), Some(token)) if secret.is(token) => Weighed::Granted(Grant::of_everything()),
        (Access::Projects(projects), Some(token)) => match keyring.check(projects, token, now) {
            Check::Granted(grant) => Weighed::Granted(grant),
            Check::Invalid => Weighed::Refused(Refusal::Unauthorized { given }),
            pending @ (Check::NeedsProject(_)
            | Check::NeedsKeys(_)
            | Check::NeedsSignature(_)
            | Check::Unavailable) => Weighed::Pending(pending),
        },
        (Access::Locked { why, .. }, _) => Weighed::Refused(Refusal::NotConfigured { why: why.clone() }),
        (Access::Token(_), _) | (Access::Projects(_), None) => {
            Weighed::Refused(Refusal::Unauthorized { given })
        }
    }
}
