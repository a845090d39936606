//! Calls from the Worker or from one object to another object, and their answers.
//!
//! Both are JSON. During a deployment the other side may run the build before or after this one, so unknown
//! fields are ignored and unreadable text parses as `Unknown`. `Unknown` means "not known yet, retry later" and
//! never "no". A new call is therefore a new variant, and a new field has a default.

use serde::{Deserialize, Serialize};

use super::details::Inspected;
use super::fork::{Inherit, InheritedEvents, Reference, Referenced, Release, Seek, Sought, Walk, Walked};
use super::listing::{Described, ListQuery, ListedStreams};
use super::offset::Offset;
use super::registry::Record;
use super::subscription::answer::SubscriptionAnswer;
use super::subscription::keys::{PublicKey, SigningKey};
use super::subscription::request::SubscriptionRequest;
use super::subscription::watch::{
    Enlist, Enlisted, Noted, Notify, Unwatch, WakeAppend, WakeAppended, Watch, WatchAnswer, Watcher,
};

/// A request to another object; each variant names the role of the receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// To a source: retain data for a fork.
    Refer(Reference),
    /// To a source: a fork no longer needs the data.
    Release(Release),
    /// To an owner: resolve a sub-offset.
    Walk(Walk),
    /// To an owner: find a time, or count back from the end.
    Seek(Seek),
    /// To an owner: return bytes that are not in the bucket yet. The response carries them as its body.
    Inherit(Inherit),
    /// To a registry: record the creations and deletions of a stream.
    Record(Record),
    /// To a registry: list its streams.
    List(ListQuery),
    /// To a stream: describe yourself for a listing.
    Describe,
    /// To a stream: describe yourself to your owner.
    Inspect,
    /// To a stream: return the keys among these that no segment of yours has.
    Orphans {
        keys: Vec<String>,
        /// Whether the stream also deletes those objects.
        deletes: bool,
    },
    /// To a subscription: a request of a client.
    Subscription(SubscriptionRequest),
    /// To a subscription: a stream that it watches has messages after its cursor.
    Notify(Notify),
    /// To a stream: notify a subscription of new messages.
    Watch(Watch),
    /// To a stream: stop notifying a subscription.
    Unwatch(Unwatch),
    /// To a wake stream: append a wake event.
    Wake(WakeAppend),
    /// To a registry: answer reports of new streams with a subscription whose pattern matches.
    Enlist(Enlist),
    /// To a registry: return the key that signs webhooks.
    SigningKey,
    /// To a registry: return the public keys of webhooks.
    PublicKeys,
    /// A call of a newer build; never sent.
    #[serde(skip_serializing)]
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answered {
    Referenced(Referenced),
    Released,
    Walked(Walked),
    Sought(Sought),
    /// The response carries bytes; the offset says where to continue.
    Inherited(Offset),
    /// Like `Inherited`, for bytes that become events, which only the owner can divide.
    InheritedEvents(InheritedEvents),
    /// The bytes are in the bucket now; the number is the first segment that is not.
    Rotated(u64),
    Recorded,
    /// Like `Recorded`, for a new stream that these subscriptions watch.
    RecordedFor(Vec<Watcher>),
    Listed(ListedStreams),
    /// `None` if there is no stream.
    Described(Option<Described>),
    Inspected(Inspected),
    Orphans(Vec<String>),
    Subscription(SubscriptionAnswer),
    Noted(Noted),
    Watched(WatchAnswer),
    Unwatched,
    Woken(WakeAppended),
    Enlisted(Enlisted),
    SigningKey(SigningKey),
    /// The first one signs now.
    PublicKeys(Vec<PublicKey>),
    /// The receiver does not know the call, or the sender does not know the answer.
    Unknown,
}

impl Call {
    pub fn parse(text: &str) -> Call {
        serde_json::from_str(text).unwrap_or(Call::Unknown)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("calls contain neither maps nor floats, and Unknown is never sent")
    }
}

impl Answered {
    /// Parses an answer; an empty text is no answer and parses as `Unknown`.
    pub fn parse(text: &str) -> Answered {
        serde_json::from_str(text).unwrap_or(Answered::Unknown)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("answers contain neither maps nor floats")
    }
}
