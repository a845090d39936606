//! Finds and deletes orphans for the administrator (docs/operate.md). The Worker lists a page of the bucket and calls each
//! stream on it once. Only a stream decides which of its keys are orphans, and only the stream deletes them.

use worker::Env;

use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::{bucket, telemetry};
use crate::protocol::call::{Answered, Call};
use crate::protocol::orphans::{OrphansPage, OrphansQuery};
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::storage::bucket_page::{PAGE_KEYS_MAX, by_stream};

/// Answers the administrator's request for one page.
pub(super) async fn answer(env: &Env, query: &OrphansQuery, request: &str) -> Reply {
    let Some(bucket) = bucket::of(env) else {
        return Reply::refused(&Refusal::NotImplemented { what: "a bucket for segments, bound as SEGMENTS" });
    };
    match page(env, &bucket, query, request).await {
        Ok(page) => Reply::page(&page),
        Err(failure) => {
            telemetry::failure("", Some(request), &failure);
            Reply::failed()
        }
    }
}

async fn page(
    env: &Env,
    bucket: &bucket::SegmentBucket,
    query: &OrphansQuery,
    request: &str,
) -> Result<OrphansPage, Failure> {
    let (listed, is_last) = bucket.list(query.after.as_deref(), PAGE_KEYS_MAX).await?;
    let listed = by_stream(listed, is_last)?;
    let namespace = js_sys::Reflect::get(env, &STREAMS.into()).map_err(|error| unreached(&error))?;
    let audits = listed.streams.iter().map(|(path, segments)| {
        let keys = segments.iter().map(|stored| stored.key.clone()).collect();
        (path.as_str().to_owned(), Call::Orphans { keys, deletes: query.deletes })
    });
    let answers = calls::call_all(&namespace, &audits.collect::<Vec<_>>()).await?;
    let mut page = OrphansPage { foreign: listed.foreign, cursor: listed.next, ..OrphansPage::default() };
    for ((path, segments), answer) in listed.streams.into_iter().zip(answers) {
        match answer {
            Ok(Answered::Orphans(unknown)) => page.take(segments, Some(&unknown)),
            Ok(_) | Err(_) => {
                telemetry::failure(path.as_str(), Some(request), &failure_of(answer));
                page.take(segments, None);
            }
        }
    }
    Ok(page)
}

fn failure_of(answer: Result<Answered, Failure>) -> Failure {
    answer
        .err()
        .unwrap_or_else(|| Failure::new("look for orphans", "the stream's answer is not a list of orphans"))
}
