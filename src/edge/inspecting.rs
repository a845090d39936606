//! Descriptions of single streams: which request asks for one, and what its token may see of it.

use http::Method;

use super::grant::Grant;
use super::target::Target;
use crate::protocol::details::Details;
use crate::protocol::names::DETAILS_PREFIX;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;

/// Whether a request asks for the description of a stream: a GET of this form of its URL without a parameter of a read.
/// With one, that form is an alias like the others.
pub fn is_for_details(method: &Method, target: &Target<'_>) -> bool {
    *method == Method::GET
        && target.path.starts_with(DETAILS_PREFIX)
        && target.query().is_ok_and(|query| !query.reads())
}

/// A description that the token allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspecting {
    pub path: StreamPath,
    pub grant: Grant,
}

impl Inspecting {
    /// Narrows a grant to a description of a stream. It needs the scope `manage`.
    pub fn of(grant: Grant, path: StreamPath) -> Result<Inspecting, Refusal> {
        grant.allow(&Method::PUT, &path)?;
        Ok(Inspecting { path, grant })
    }

    /// Leaves out names that the token does not cover.
    pub fn shown(&self, details: Details) -> Details {
        details.without_hidden(|path| self.grant.covers_path(path), !self.grant.is_narrowed())
    }
}
