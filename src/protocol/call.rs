//! Calls: what one object, or the Worker, asks another object, and what that one answers.
//!
//! Both are JSON, and during a deployment the other side is of the build before or the build after: a field that this
//! build does not know is ignored, and a text that it cannot read is `Unknown`, which means "not known yet, ask later" and
//! never "no". So a new call is a new variant, and a new field has a default.

use serde::{Deserialize, Serialize};

use super::fork::{Inherit, InheritedEvents, Reference, Referenced, Release, Walk, Walked};
use super::listing::{Described, ListQuery, ListedStreams};
use super::offset::Offset;
use super::registry::Record;
use super::subscription::answer::SubscriptionAnswer;
use super::subscription::keys::{PublicKey, SigningKey};
use super::subscription::request::SubscriptionRequest;
use super::subscription::watch::{
    Enlist, Enlisted, Noted, Notify, Unwatch, WakeAppend, WakeAppended, Watch, Watched, Watcher,
};

/// What an object is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Call {
    /// A source: to be there for a fork.
    Refer(Reference),
    /// A source: not to be there for a fork any more.
    Release(Release),
    /// An owner: where a sub-offset leads.
    Walk(Walk),
    /// An owner: for bytes that are not in the bucket. The answer is a response that carries them.
    Inherit(Inherit),
    /// A registry: to take what a stream reports of its lives.
    Record(Record),
    /// A registry: which streams there are.
    List(ListQuery),
    /// A stream: what it is.
    Describe,
    /// A stream: which of these keys of the bucket it does not know.
    Orphans {
        keys: Vec<String>,
        /// Whether it also deletes those.
        deletes: bool,
    },
    /// A subscription: a request of a client.
    Subscription(SubscriptionRequest),
    /// A subscription: a stream that it watches has news.
    Notify(Notify),
    /// A stream: to notify a subscription.
    Watch(Watch),
    /// A stream: to notify a subscription no longer.
    Unwatch(Unwatch),
    /// A stream: to append a wake event.
    Wake(WakeAppend),
    /// A registry: to answer reports of new streams with a subscription whose pattern matches.
    Enlist(Enlist),
    /// A registry: the key that signs webhooks now.
    SigningKey,
    /// A registry: the keys that webhooks may be signed with.
    PublicKeys,
    /// Something that this build does not know. Nobody asks it.
    #[serde(skip_serializing)]
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answered {
    Referenced(Referenced),
    Released,
    Walked(Walked),
    /// Bytes come along; where to read on.
    Inherited(Offset),
    /// The same of bytes that become events, which only an owner can divide.
    InheritedEvents(InheritedEvents),
    /// The bytes are in the bucket by now: the first segment that is not.
    Rotated(u64),
    Recorded,
    /// The same; these subscriptions watch the stream.
    RecordedFor(Vec<Watcher>),
    Listed(ListedStreams),
    /// Nothing if there is no stream.
    Described(Option<Described>),
    Orphans(Vec<String>),
    Subscription(SubscriptionAnswer),
    Noted(Noted),
    Watched(Watched),
    Unwatched,
    Woken(WakeAppended),
    Enlisted(Enlisted),
    SigningKey(SigningKey),
    PublicKeys(Vec<PublicKey>),
    /// The one who was asked does not know the call, or the one who asked does not know the answer.
    Unknown,
}

impl Call {
    pub fn parse(text: &str) -> Call {
        serde_json::from_str(text).unwrap_or(Call::Unknown)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has neither maps nor floats, and nobody sends Unknown")
    }
}

impl Answered {
    /// Reads an answer; none at all is an empty text.
    pub fn parse(text: &str) -> Answered {
        serde_json::from_str(text).unwrap_or(Answered::Unknown)
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has neither maps nor floats")
    }
}
