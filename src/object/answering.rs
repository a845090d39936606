//! Answers calls from other objects and from the Worker. Each answer is one synchronous step.

use super::live::Sockets;
use super::ports::Ports;
use super::said::Said;
use super::state::Object;
use super::subscription::Responded;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::storage::Failure;

impl Object {
    /// Answers a call to the stream at `path`. If the call deletes orphans, the caller deletes them and then
    /// calls [`Object::swept`].
    pub fn answer<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        path: &str,
        call: &Call,
        random: &dyn Fn() -> String,
        now: Millis,
    ) -> Result<Said, Failure> {
        let answered = match call {
            Call::Refer(reference) => Answered::Referenced(self.refer(ports, path, reference, now)?),
            Call::Release(release) => {
                self.release(ports, release, now)?;
                Answered::Released
            }
            Call::Walk(walk) => self.walk(ports, walk)?,
            Call::Seek(seek) => Answered::Sought(self.seek(ports, seek)?),
            Call::Inherit(inherit) => return self.inherited(ports, inherit),
            Call::Record(record) => {
                self.record(ports, path, record, random, now)?;
                let watchers = self.watchers_of(ports.sql, record)?;
                if watchers.is_empty() { Answered::Recorded } else { Answered::RecordedFor(watchers) }
            }
            Call::List(query) => Answered::Listed(self.listed(ports, query)?),
            Call::Describe => Answered::Described(self.described(ports, path, now)?),
            Call::Inspect => Answered::Inspected(self.inspected(ports, path, now)?),
            Call::Orphans { keys, deletes: false } => Answered::Orphans(self.orphans(ports, path, keys)?),
            Call::Orphans { keys, deletes: true } => Answered::Orphans(self.sweep(ports, path, keys)?),
            Call::Subscription(request) => {
                return Ok(match self.request(ports, path, request, random, now)? {
                    Responded::Answer(answer) => Answered::Subscription(answer).into(),
                    Responded::Settle(after) => Said { after: Some(after), ..Answered::Unknown.into() },
                });
            }
            Call::Notify(notify) => Answered::Noted(self.note(ports, notify, now)?),
            Call::Watch(watch) => Answered::Watched(self.watch(ports, watch, now)?),
            Call::Unwatch(unwatch) => {
                self.unwatch(ports.sql, unwatch)?;
                Answered::Unwatched
            }
            Call::Wake(append) => Answered::Woken(self.append_wake(ports, path, append, now)?),
            Call::Enlist(enlist) => Answered::Enlisted(self.enlist(ports.sql, enlist)?),
            Call::SigningKey => Answered::SigningKey(self.signing_key(ports.sql, now)?),
            Call::PublicKeys => Answered::PublicKeys(self.public_keys(ports.sql, now)?),
            Call::Count => Answered::Counted(self.counted(ports.sql, now)?),
            Call::Unknown => Answered::Unknown,
        };
        Ok(answered.into())
    }
}
