//! The bucket of rotated segments: R2.

use std::ops::Range;

use worker::{Bucket, Env};

use crate::storage::Failure;

const BINDING: &str = "SEGMENTS";

/// The bucket; absent where no deployment bound one, and then nothing rotates.
pub(super) fn of(env: &Env) -> Option<SegmentBucket> {
    Some(SegmentBucket { bucket: env.bucket(BINDING).ok()? })
}

/// Objects by their keys.
pub(super) struct SegmentBucket {
    bucket: Bucket,
}

impl SegmentBucket {
    /// Puts a whole object.
    pub(super) async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        #[cfg(feature = "counters")]
        super::counters::add(|counts| counts.bucket_class_a += 1);
        let put = self.bucket.put(key, bytes).execute().await;
        put.map(drop).map_err(|error| failure("put segment", key, &error))
    }

    /// Some bytes of an object; `None` if it is not there.
    pub(super) async fn get(&self, key: &str, range: &Range<u64>) -> Result<Option<Vec<u8>>, Failure> {
        #[cfg(feature = "counters")]
        super::counters::add(|counts| counts.bucket_class_b += 1);
        let failed = |error: &worker::Error| failure("get segment", key, error);
        let part = worker::Range::OffsetWithLength { offset: range.start, length: range.end - range.start };
        let found = self.bucket.get(key).range(part).execute().await.map_err(|error| failed(&error))?;
        let Some(body) = found.as_ref().and_then(worker::Object::body) else { return Ok(None) };
        body.bytes().await.map(Some).map_err(|error| failed(&error))
    }

    /// Deletes objects, whether or not they are there. It is not billed.
    pub(super) async fn delete(&self, keys: Vec<String>) -> Result<(), Failure> {
        let first = keys.first().cloned().unwrap_or_default();
        let deleted = self.bucket.delete_multiple(keys).await;
        deleted.map_err(|error| failure("delete segments", &first, &error))
    }
}

fn failure(operation: &'static str, key: &str, error: &worker::Error) -> Failure {
    Failure::new(operation, format_args!("{key}: {error}"))
}
