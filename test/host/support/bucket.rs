//! A fake bucket: a map that fails on demand.

use std::collections::BTreeMap;

use durable_streams::object::effect::{Effect, Outcome};
use durable_streams::object::fetch::{Fetch, Fetched};
use durable_streams::protocol::content_type::Format;
use durable_streams::storage::Failure;
use durable_streams::storage::segment_file::{ENDING_BYTES, Index};

/// A fault of the next operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BucketFault {
    /// The operation fails and has no effect.
    Fails,
    /// The operation fails, but takes effect.
    FailsButStored,
}

/// The bucket's objects by key.
#[derive(Default)]
pub(crate) struct HostBucket {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    fault: Option<BucketFault>,
}

impl HostBucket {
    /// Arms a fault for one operation.
    pub(crate) fn arm(&mut self, fault: BucketFault) {
        self.fault = Some(fault);
    }

    /// Performs an effect, and returns its outcome.
    pub(crate) fn take(&mut self, effect: &Effect) -> Outcome {
        let fault = self.fault.take();
        let failed = Outcome::Failed(Failure::new("bucket", "injected fault"));
        if fault == Some(BucketFault::Fails) {
            return failed;
        }
        self.carry_out(effect);
        if fault.is_none() { Outcome::Done } else { failed }
    }

    /// Performs an effect without reporting the outcome.
    pub(crate) fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Put(upload) => {
                self.objects.insert(upload.key.clone(), upload.pieces.concat());
            }
            Effect::Delete(collection) => {
                for key in &collection.keys {
                    self.objects.remove(key);
                }
            }
            Effect::SetAlarm(_)
            | Effect::NextTurn
            | Effect::Index(_)
            | Effect::Call(_)
            | Effect::Calls(_)
            | Effect::Post(_)
            | Effect::Log(_) => {
                panic!("{effect:?} is not a bucket effect")
            }
        }
    }

    /// Performs a read's fetch.
    pub(crate) fn fetch(&self, fetch: &Fetch) -> Fetched {
        match fetch {
            Fetch::Object { key, range } => {
                let Some(object) = self.objects.get(key) else { return Fetched::Missing };
                let end = object.len().min(range.end as usize);
                Fetched::Bytes(object[(range.start as usize).min(end)..end].to_vec())
            }
            Fetch::Ending { key } => {
                let Some(object) = self.objects.get(key) else { return Fetched::Missing };
                let from = object.len().saturating_sub(ENDING_BYTES as usize);
                Fetched::Ending(object[from..].to_vec(), object.len() as u64)
            }
            Fetch::Inherit { path, .. } | Fetch::Seek { path, .. } => {
                panic!("the hot log of {path} is not in the bucket")
            }
        }
    }
}

/// The messages of some blocks, with their positions.
pub(crate) fn all_messages(
    index: &Index,
    format: Format,
    begins: u64,
    bytes: &[u8],
) -> Result<Vec<(u64, Vec<u8>)>, Failure> {
    let mut messages = Vec::new();
    index.each_message(format, begins, bytes, |position, message| {
        messages.push((position, message.to_vec()));
        true
    })?;
    Ok(messages)
}
