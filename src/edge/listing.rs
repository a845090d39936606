//! Listing: which registry answers, and what of it may be seen.

use super::grant::Grant;
use crate::protocol::listing::ListQuery;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry;

/// A listing that may be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The path of the registry.
    pub registry: String,
    /// What it is asked.
    pub query: ListQuery,
}

impl Listing {
    /// Takes what is asked, as far as a token allows it. Its project is the one that is listed.
    pub fn of(grant: &Grant, url: &str) -> Result<Listing, Refusal> {
        let query = ListQuery::parse(url)?;
        let prefix = grant.listable(&query.prefix)?;
        Ok(Listing {
            registry: registry::path_of(grant.project.as_deref()),
            query: ListQuery { prefix, ..query },
        })
    }
}
