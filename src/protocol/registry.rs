//! Registries: streams that the server writes to list all streams. Each incarnation of a stream is one insert
//! and, after it has ended, one delete.

use serde::{Deserialize, Serialize};

use super::Millis;
use super::names::REGISTRY_SEGMENT;
use super::path::StreamPath;
use super::subscription::summary::SubscriptionSummary;

/// The registries of a deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registries {
    /// None: streams send no reports.
    Off,
    /// One registry of all streams.
    One,
    /// One registry for each project.
    PerProject,
}

impl Registries {
    /// The path of a stream's registry; `None` for a registry itself, or if registries are off.
    pub fn path_for(self, stream: &StreamPath) -> Option<String> {
        match self {
            _ if stream.is_registry() => None,
            Registries::Off => None,
            Registries::One => Some(path_of(None)),
            Registries::PerProject => Some(path_of(Some(stream.project()))),
        }
    }
}

/// The path of a project's registry; `None` names the registry of all streams.
pub fn path_of(project: Option<&str>) -> String {
    match project {
        None => REGISTRY_SEGMENT.to_owned(),
        Some(project) => format!("{project}/{REGISTRY_SEGMENT}"),
    }
}

/// The creation or the end of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Insert,
    /// The stream was deleted, or has expired.
    Delete,
}

impl Operation {
    /// The event's producer sequence in the registry: 0 or 1 for each incarnation.
    pub fn seq(self) -> u64 {
        match self {
            Operation::Insert => 0,
            Operation::Delete => 1,
        }
    }

    /// The operation in the event.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Delete => "delete",
        }
    }
}

/// A report to a registry. That of a stream has its creations and ends, as events in order; that of a subscription has its
/// transitions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The path of the stream, which is the producer of its events.
    pub path: String,
    pub events: Vec<RegistryEvent>,
    /// If there are metrics, the state of a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SubscriptionSummary>,
}

/// An event, in the form of a producer's append.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegistryEvent {
    /// The incarnation, which is the producer's epoch.
    pub incarnation: u64,
    /// [`Operation::seq`].
    pub seq: u64,
    /// [`event`].
    pub message: String,
}

/// The JSON message that a registry stores for an event.
pub fn event(path: &str, content_type: &str, created_at: Millis, operation: Operation) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let (path, content_type, operation) = (text(path), text(content_type), operation.name());
    format!(
        "{{\"type\":\"stream\",\"key\":{path},\"value\":{{\"path\":{path},\"contentType\":{content_type},\
         \"createdAt\":{created_at}}},\"headers\":{{\"operation\":\"{operation}\"}}}}"
    )
}
