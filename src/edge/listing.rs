//! Listings: the registry to call, and the part of it that a token may see.

use super::grant::Grant;
use crate::protocol::listing::ListQuery;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry;

/// A listing that the token allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The path of the registry.
    pub registry: String,
    pub query: ListQuery,
}

impl Listing {
    /// Parses a listing and narrows it to the token's grant. The token's project is the one that is listed.
    pub fn of(grant: &Grant, url: &str) -> Result<Listing, Refusal> {
        let query = ListQuery::parse(url)?;
        let prefix = grant.listable(&query.prefix)?;
        Ok(Listing {
            registry: registry::path_of(grant.project.as_deref()),
            query: ListQuery { prefix, ..query },
        })
    }
}
