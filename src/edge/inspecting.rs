//! Descriptions of single streams: who may see one, and how much of it.

use http::Method;

use super::grant::Grant;
use crate::protocol::details::Details;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;

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
