//! Reads and writes the R2 bucket of segments. An object that is missing is `None`, not a failure.

use std::ops::Range;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{Bucket, Env};

use super::config::SEGMENTS;
use super::{clock, telemetry};
use crate::protocol::Millis;
use crate::storage::Failure;
use crate::storage::bucket_page::BucketObject;

/// How R2's error message ends when a range begins after the end of the object.
const NOT_SATISFIABLE: &str = "(10039)";

/// The most bytes passed to the bucket in one write; usually this is one block of a segment. The object serves requests
/// between two writes, and a larger write would delay them by milliseconds.
const PART_BYTES: usize = 256 << 10;

/// How long, in milliseconds, the bucket may take to delete a page of objects.
const DELETE_MAX: Millis = 60_000;

#[wasm_bindgen(module = "/src/cloudflare/js/putting.js")]
extern "C" {
    /// An upload in progress.
    type Putting;

    #[wasm_bindgen(constructor, catch)]
    fn new(bucket: &JsValue, key: &str, object_bytes: f64, part_bytes: usize) -> Result<Putting, JsValue>;

    /// Copies the part before it returns.
    #[wasm_bindgen(method)]
    fn write(this: &Putting, part: &[u8]) -> Promise;

    #[wasm_bindgen(method)]
    fn end(this: &Putting) -> Promise;
}

/// The bucket, or `None` if the deployment binds none. Without a bucket nothing rotates.
pub(super) fn of(env: &Env) -> Option<SegmentBucket> {
    Some(SegmentBucket { bucket: env.bucket(SEGMENTS).ok()? })
}

pub(super) struct SegmentBucket {
    bucket: Bucket,
}

impl SegmentBucket {
    /// Stores a whole object, part by part.
    pub(super) async fn put(&self, key: &str, pieces: Vec<Vec<u8>>) -> Result<(), Failure> {
        telemetry::count(|counts| counts.bucket_class_a += 1);
        let failed = |error: JsValue| failure("put segment", key, &worker::Error::from(error));
        let object_bytes = pieces.iter().map(Vec::len).sum::<usize>();
        let bucket: &JsValue = self.bucket.as_ref();
        let putting = Putting::new(bucket, key, object_bytes as f64, PART_BYTES).map_err(failed)?;
        for piece in pieces {
            for part in piece.chunks(PART_BYTES) {
                JsFuture::from(putting.write(part)).await.map_err(failed)?;
            }
        }
        JsFuture::from(putting.end()).await.map(drop).map_err(failed)
    }

    /// Reads the bytes in `range`, or fewer if the object ends before. `None` if the object is missing.
    pub(super) async fn get(&self, key: &str, range: &Range<u64>) -> Result<Option<Vec<u8>>, Failure> {
        let part = worker::Range::OffsetWithLength { offset: range.start, length: range.end - range.start };
        Ok(self.part(key, part).await?.map(|(bytes, _)| bytes))
    }

    /// Reads the last `max_bytes` of an object, or all of it if it is shorter, and returns them with the size of the object.
    /// `None` if the object is missing.
    pub(super) async fn ending(&self, key: &str, max_bytes: u64) -> Result<Option<(Vec<u8>, u64)>, Failure> {
        self.part(key, worker::Range::Suffix { suffix: max_bytes }).await
    }

    async fn part(&self, key: &str, part: worker::Range) -> Result<Option<(Vec<u8>, u64)>, Failure> {
        telemetry::count(|counts| counts.bucket_class_b += 1);
        let failed = |error: &worker::Error| failure("get segment", key, error);
        let found = match self.bucket.get(key).range(part).execute().await {
            Ok(found) => found,
            // Not a failure here: the caller knows the expected size and reports a short object as damaged.
            Err(error) if error.to_string().contains(NOT_SATISFIABLE) => return Ok(Some((Vec::new(), 0))),
            Err(error) => return Err(failed(&error)),
        };
        let Some(object) = found else { return Ok(None) };
        let Some(body) = object.body() else { return Ok(None) };
        let bytes = body.bytes().await.map_err(|error| failed(&error))?;
        Ok(Some((bytes, object.size())))
    }

    /// Whether the bucket answers. No object has this key.
    pub(super) async fn answers(&self) -> Result<(), Failure> {
        telemetry::count(|counts| counts.bucket_class_b += 1);
        let found = self.bucket.head("ready").await;
        found.map(drop).map_err(|error| failure("get segment", "ready", &error))
    }

    /// Lists up to `max` objects whose keys follow `after`, in the order of their keys, and whether they are the last ones.
    pub(super) async fn list(
        &self,
        after: Option<&str>,
        max: u32,
    ) -> Result<(Vec<BucketObject>, bool), Failure> {
        telemetry::count(|counts| counts.bucket_class_a += 1);
        let list = self.bucket.list().limit(max);
        let list = if let Some(after) = after { list.start_after(after) } else { list };
        let failed = |error| failure("list segments", after.unwrap_or_default(), &error);
        let found = list.execute().await.map_err(failed)?;
        let listed = |object: worker::Object| BucketObject {
            key: object.key(),
            bytes: object.size(),
            uploaded: object.uploaded().as_millis(),
        };
        Ok((found.objects().into_iter().map(listed).collect(), !found.truncated()))
    }

    /// Deletes objects; a missing object is no failure. R2 does not bill deletes.
    pub(super) async fn delete(&self, keys: Vec<String>) -> Result<(), Failure> {
        let first = keys.first().cloned().unwrap_or_default();
        let late = || Failure::new("delete segments", format_args!("{first}: not within {DELETE_MAX} ms"));
        let deleted = clock::within(DELETE_MAX, self.bucket.delete_multiple(keys)).await.ok_or_else(late)?;
        deleted.map_err(|error| failure("delete segments", &first, &error))
    }
}

fn failure(operation: &'static str, key: &str, error: &worker::Error) -> Failure {
    Failure::new(operation, format_args!("{key}: {error}"))
}
