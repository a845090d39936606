//! Answers calls from other objects and from the Worker. Each answer is one synchronous step.

use super::live::Sockets;
use super::ports::Ports;
use super::said::Said;
use super::state::Object;
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
            Call::Inherit(inherit) => return self.inherited(ports, inherit),
            Call::Record(record) => {
                self.record(ports, path, record, random, now)?;
                Answered::Recorded
            }
            Call::List(query) => Answered::Listed(self.listed(ports, query)?),
            Call::Describe => Answered::Described(self.described(ports, path, now)?),
            Call::Orphans { keys, deletes: false } => Answered::Orphans(self.orphans(ports, path, keys)?),
            Call::Orphans { keys, deletes: true } => Answered::Orphans(self.sweep(ports, path, keys)?),
            Call::Unknown => Answered::Unknown,
        };
        Ok(answered.into())
    }
}
