//! The administrator's requests, which need `ADMIN_TOKEN`.

use http::Method;

use super::access::Secret;
use super::auth::bearer;
use super::settings::EdgeSettings;
use crate::protocol::orphans::OrphansQuery;
use crate::protocol::refusal::Refusal;

/// The administrator's token. Without a valid `ADMIN_TOKEN`, administration is off.
pub struct Admin {
    token: Option<Secret>,
}

impl Admin {
    /// Reads `ADMIN_TOKEN`. A token that can be guessed turns administration off, and nothing else.
    pub fn of(settings: &EdgeSettings) -> Admin {
        Admin { token: settings.admin_token.as_deref().and_then(Secret::of) }
    }

    /// Parses a request for orphans. Refuses requests without the token; if administration is off, the URL does
    /// not exist.
    pub fn orphans(
        &self,
        method: &Method,
        url: &str,
        authorization: Option<&str>,
    ) -> Result<OrphansQuery, Refusal> {
        self.allow(authorization)?;
        if method != Method::POST {
            return Err(Refusal::MethodNotAllowed { allow: "POST, OPTIONS" });
        }
        OrphansQuery::parse(url)
    }

    /// Refuses a request for metrics without the token, or with another method than GET.
    pub fn metrics(&self, method: &Method, authorization: Option<&str>) -> Result<(), Refusal> {
        self.allow(authorization)?;
        if method != Method::GET {
            return Err(Refusal::MethodNotAllowed { allow: "GET, OPTIONS" });
        }
        Ok(())
    }

    fn allow(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let token = self.token.as_ref().ok_or(Refusal::UnknownRoute)?;
        if !authorization.and_then(bearer).is_some_and(|given| token.is(given)) {
            return Err(Refusal::Unauthorized { given: authorization.is_some() });
        }
        Ok(())
    }
}
