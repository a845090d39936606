//! Which registries a request for metrics reads.

use super::access::Access;
use crate::protocol::command::query_of;
use crate::protocol::names::query;
use crate::protocol::path::StreamPath;
use crate::protocol::refusal::Refusal;
use crate::protocol::registry;

/// The most registries that one request reads. Each is a request to an object.
pub const METRICS_PROJECTS_MAX: usize = 40;

/// An administrator's request for metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetricsRequest {
    /// The project of each registry; `None` for the registry of all streams.
    pub projects: Vec<Option<String>>,
    /// The projects of `PROJECT_KEYS` beyond [`METRICS_PROJECTS_MAX`].
    pub left_out: usize,
}

impl MetricsRequest {
    /// Parses the URL. Without `project`, it reads the registries of all projects in `PROJECT_KEYS`; a server without
    /// projects ignores the names. `lists` is whether registries are on.
    pub fn of(access: &Access, lists: bool, url: &str) -> Result<MetricsRequest, Refusal> {
        let given: Vec<_> = form_urlencoded::parse(query_of(url).as_bytes())
            .filter(|(name, _)| name == query::PROJECT)
            .map(|(_, value)| value)
            .collect();
        if given.len() > METRICS_PROJECTS_MAX {
            return Err(Refusal::InvalidQuery { name: query::PROJECT, why: "it may be given 40 times" });
        }
        if !lists {
            return Ok(MetricsRequest::default());
        }
        let Access::Projects(projects) = access else {
            return Ok(MetricsRequest { projects: vec![None], left_out: 0 });
        };
        let mut asked = given.iter().map(|name| project(name)).collect::<Result<Vec<_>, _>>()?;
        if asked.is_empty() {
            asked = projects.keys().cloned().collect();
        }
        asked.sort_unstable();
        asked.dedup();
        let left_out = asked.len().saturating_sub(METRICS_PROJECTS_MAX);
        asked.truncate(METRICS_PROJECTS_MAX);
        Ok(MetricsRequest { projects: asked.into_iter().map(Some).collect(), left_out })
    }

    /// The paths of the registries, in the order of the projects.
    pub fn registries(&self) -> impl Iterator<Item = String> {
        self.projects.iter().map(|project| registry::path_of(project.as_deref()))
    }
}

fn project(text: &str) -> Result<String, Refusal> {
    let is_project =
        |path: &StreamPath| path.project() == path.as_str() && !path.is_reserved() && !path.is_registry();
    let path = StreamPath::of_text(text.to_owned()).ok().filter(is_project);
    path.map(|path| path.as_str().to_owned())
        .ok_or(Refusal::InvalidQuery { name: query::PROJECT, why: "it must be the name of a project" })
}
