//! The administrator: who has the one token for it, and what is asked with it.

use http::Method;

use super::access::Secret;
use super::auth::bearer;
use super::settings::EdgeSettings;
use crate::protocol::orphans::OrphansQuery;
use crate::protocol::refusal::Refusal;

/// Who may look after the server. Without a token, or with one that could be guessed, nobody.
pub struct Admin {
    token: Option<Secret>,
}

impl Admin {
    /// Reads what a deployment sets. A bad token locks nobody out but the administrator.
    pub fn of(settings: &EdgeSettings) -> Admin {
        Admin { token: settings.admin_token.as_deref().and_then(Secret::of) }
    }

    /// Takes a request for orphans, if it comes with the token. Where there is no administrator there is nothing here.
    pub fn orphans(
        &self,
        method: &Method,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<OrphansQuery, Refusal> {
        let token = self.token.as_ref().ok_or(Refusal::UnknownRoute)?;
        if !authorization.and_then(bearer).is_some_and(|given| token.is(given)) {
            return Err(Refusal::Unauthorized { given: authorization.is_some() });
        }
        if method != Method::POST {
            return Err(Refusal::MethodNotAllowed { allow: "POST, OPTIONS" });
        }
        OrphansQuery::parse(url)
    }
}
