//! Answers the administrator's request for metrics: each registry counts its own streams, and the segment index is checked.

use futures_util::join;
use js_sys::Reflect;
use worker::Env;

use crate::cloudflare::calls::{self, unreached};
use crate::cloudflare::config::STREAMS;
use crate::cloudflare::index_database::IndexDatabase;
use crate::cloudflare::telemetry;
use crate::edge::metrics::MetricsRequest;
use crate::protocol::call::{Answered, Call};
use crate::protocol::metrics::RegistryCounts;
use crate::protocol::reply::Reply;
use crate::storage::Failure;
use crate::telemetry::exposition::{Scrape, Scraped, ScrapedIndex};

/// Answers an allowed request. A registry that does not answer has `ds_registry_up 0`.
pub(super) async fn answer(env: &Env, asked: &MetricsRequest, mode: &str, request: &str) -> Reply {
    let calls: Vec<_> = asked.registries().map(|registry| (registry, Call::Count)).collect();
    let (answers, index) = join!(counts(env, &calls), index(env, request));
    let answers = match answers {
        Ok(answers) => answers,
        Err(failure) => calls.iter().map(|_| Err(failure.clone())).collect(),
    };
    let mut registries = Vec::with_capacity(calls.len());
    for ((project, (path, _)), answer) in asked.projects.iter().zip(&calls).zip(answers) {
        if let Err(failure) = &answer {
            telemetry::failure(path, Some(request), failure);
        }
        registries.push(Scraped { project: project.clone(), counts: answer.ok() });
    }
    let version = env!("CARGO_PKG_VERSION");
    Reply::metrics(Scrape { version, mode, registries, left_out: asked.left_out, index }.to_text())
}

/// Checks the segment index, and logs why it cannot be written.
async fn index(env: &Env, request: &str) -> Option<ScrapedIndex> {
    let bytes = IndexDatabase::of(env).probe().await?.inspect_err(|failure| {
        telemetry::failure("", Some(request), failure);
    });
    Some(ScrapedIndex { is_up: bytes.is_ok(), bytes: bytes.ok().flatten() })
}

async fn counts(
    env: &Env,
    asked: &[(String, Call)],
) -> Result<Vec<Result<RegistryCounts, Failure>>, Failure> {
    let namespace = Reflect::get(env, &STREAMS.into()).map_err(|error| unreached(&error))?;
    let answers = calls::call_all(&namespace, asked).await?;
    let counts = |answer: Result<Answered, Failure>| {
        let Answered::Counted(counts) = answer? else {
            return Err(Failure::new("count streams", "the registry's answer is not a count"));
        };
        Ok(counts)
    };
    Ok(answers.into_iter().map(counts).collect())
}
