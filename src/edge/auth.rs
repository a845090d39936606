//! Who asks: the token of a request, wherever it is, and what it is worth. `admit.rs` decides what it allows.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Method;

use super::access::{Access, is_token};
use super::grant::Grant;
use super::keyring::{Check, Keyring};
use crate::protocol::Millis;
use crate::protocol::names::{TOKEN_COOKIE, query};
use crate::protocol::refusal::Refusal;

/// Where a request's token was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    None,
    Header,
    /// In the query: the URL is a secret.
    Query,
    /// In a cookie: a browser sent it, whoever made it do so.
    Cookie,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    pub source: Source,
    /// The token itself, if it could be one.
    pub token: Option<String>,
}

impl Credential {
    /// Of a request whose token does not matter.
    pub fn none() -> Credential {
        Credential { source: Source::None, token: None }
    }

    /// Of a listing, which shows what may be deleted: neither a URL nor a cookie will do.
    pub(super) fn of_listing(authorization: Option<&str>) -> Credential {
        match authorization {
            None => Credential::none(),
            Some(value) => Credential { source: Source::Header, token: bearer(value).map(str::to_owned) },
        }
    }

    /// Finds a request's token. One that a browser adds by itself, or that is in a URL, is good for reading only:
    /// another site can make a browser write, too.
    pub fn of(
        method: &Method,
        in_query: Option<&str>,
        authorization: Option<&str>,
        cookie: Option<&str>,
    ) -> Result<Credential, Refusal> {
        let refused = |why| Err(Refusal::InvalidQuery { name: query::TOKEN, why });
        match (authorization, in_query) {
            (Some(_), Some(_)) => refused("there is a token in Authorization, too"),
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

/// What is in an `Authorization` header, if it is a bearer's. Two headers come as one with a comma, which no token has.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
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

/// By what those are told apart who are not known: their address, in IPv6 the network that one household has.
pub fn network_of(address: &str) -> String {
    match address.parse::<Ipv6Addr>().map(|address| (address.to_ipv4_mapped(), address.segments())) {
        Ok((None, [a, b, c, d, ..])) => format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"),
        Ok((Some(address), _)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

/// By what a client is counted that has no valid token: its address as Cloudflare's network saw it, or else the other end of
/// its connection. All of which neither is known count as one.
pub fn network_of_client(connecting_ip: Option<&str>, peer: Option<&str>) -> String {
    let seen = connecting_ip.filter(|address| address.parse::<IpAddr>().is_ok()).map(network_of);
    let peer = || Some(network_of(&peer?.parse::<SocketAddr>().ok()?.ip().to_string()));
    seen.or_else(peer).unwrap_or_default()
}

/// What comes of weighing a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Weighed {
    Granted(Grant),
    Refused(Refusal),
    /// Keys have to be found first.
    Pending(Check),
}

/// Says what a token is worth, whatever is asked with it.
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
