//! Requests to a subscription, in the form in which the Worker sends them to the subscription's object.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SubscriptionName;
use super::config::{Patch, SubscriptionConfig, object, streams, text};
use super::refusal::SubscriptionRefusal;
use crate::protocol::offset::Offset;

/// The most acks in one request.
pub const ACKS_MAX: usize = 1_000;
/// The longest name of a worker, in bytes.
pub const WORKER_MAX_BYTES: usize = 256;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SubscriptionRequest {
    Put {
        config: SubscriptionConfig,
        /// The URL of the control root, `<stream root>/__ds`, that the client used.
        base: String,
    },
    Get,
    /// A description for the list, with few links.
    Summarize,
    Delete,
    /// The whole paths of the streams.
    AddStreams(Vec<String>),
    RemoveStream(String),
    Claim {
        /// The name of the claiming worker.
        holder: String,
    },
    /// The callback of a webhook's handler.
    Callback(WakeRequest),
    /// The ack of a pull-wake worker.
    Ack(WakeRequest),
    Release(WakeRequest),
    Patch(Patch),
    /// Ends parking (an extension).
    Resume,
}

/// The body of a callback, an ack or a release, from the holder of a wake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WakeRequest {
    /// The bearer token; empty if the request has none.
    pub token: String,
    pub wake_id: String,
    pub generation: u64,
    pub acks: Vec<Ack>,
    pub done: bool,
}

/// The last processed offset of a stream, inclusive (PROTOCOL.md 7).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// The whole path of the stream.
    pub path: String,
    /// `None` if the text is not an offset that the server issues.
    pub offset: Option<Offset>,
}

impl WakeRequest {
    /// Parses the body of a callback, an ack or a release.
    pub fn parse(
        name: &SubscriptionName,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<WakeRequest, SubscriptionRefusal> {
        let body = object(body)?;
        let wake_id =
            text(&body, "wake_id")?.ok_or_else(|| SubscriptionRefusal::invalid("wake_id is missing"))?;
        let generation = body.get("generation").and_then(Value::as_u64);
        let generation =
            generation.ok_or_else(|| SubscriptionRefusal::invalid("generation must be a whole number"))?;
        let done = match body.get("done") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(done)) => *done,
            Some(_) => return Err(SubscriptionRefusal::invalid("done must be true or false")),
        };
        let acks = acks(name, &body)?;
        Ok(WakeRequest { token: token.unwrap_or_default().to_owned(), wake_id, generation, acks, done })
    }
}

fn acks(name: &SubscriptionName, body: &Map<String, Value>) -> Result<Vec<Ack>, SubscriptionRefusal> {
    let refused = || SubscriptionRefusal::invalid("acks must be an array of {\"stream\", \"offset\"}");
    let given = match body.get("acks") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(given)) => given,
        Some(_) => return Err(refused()),
    };
    if given.len() > ACKS_MAX {
        return Err(SubscriptionRefusal::invalid("a request has 1,000 acks at most"));
    }
    let ack = |given: &Value| {
        let Value::Object(given) = given else { return Err(refused()) };
        let path = text(given, "stream")?.or(text(given, "path")?).ok_or_else(refused)?;
        let offset = text(given, "offset")?.ok_or_else(refused)?;
        Ok(Ack { path: name.whole_path(path.trim_matches('/')), offset: Offset::parse(&offset) })
    };
    given.iter().map(ack).collect()
}

impl SubscriptionRequest {
    /// The wake request of a worker, which its wake token alone authenticates.
    pub fn wake(&self) -> Option<&WakeRequest> {
        match self {
            SubscriptionRequest::Callback(wake)
            | SubscriptionRequest::Ack(wake)
            | SubscriptionRequest::Release(wake) => Some(wake),
            SubscriptionRequest::Put { .. }
            | SubscriptionRequest::Get
            | SubscriptionRequest::Summarize
            | SubscriptionRequest::Delete
            | SubscriptionRequest::AddStreams(_)
            | SubscriptionRequest::RemoveStream(_)
            | SubscriptionRequest::Claim { .. }
            | SubscriptionRequest::Patch(_)
            | SubscriptionRequest::Resume => None,
        }
    }

    /// Parses the body of `POST .../claim`.
    pub fn claim(body: &[u8]) -> Result<SubscriptionRequest, SubscriptionRefusal> {
        let holder =
            text(&object(body)?, "worker")?.filter(|name| (1..=WORKER_MAX_BYTES).contains(&name.len()));
        let holder =
            holder.ok_or_else(|| SubscriptionRefusal::invalid("worker must be a name of 1 to 256 bytes"))?;
        Ok(SubscriptionRequest::Claim { holder })
    }

    /// Parses the body of `POST .../streams`.
    pub fn add_streams(
        name: &SubscriptionName,
        body: &[u8],
    ) -> Result<SubscriptionRequest, SubscriptionRefusal> {
        let streams = streams(name, &object(body)?)?;
        let streams = streams
            .ok_or_else(|| SubscriptionRefusal::invalid("streams must be an array of stream paths"))?;
        Ok(SubscriptionRequest::AddStreams(streams))
    }
}
