//! The answer of `GET /ready`: which parts of the deployment work.

use serde_json::{Map, json};

use super::names::header;
use super::reply::{RETRY_AFTER_SECONDS, Reply};

/// One check of a binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadyCheck {
    Answers,
    /// It is optional, and the deployment does not bind it.
    NotBound,
    /// It is missing, failed, or took too long.
    Fails,
}

impl ReadyCheck {
    fn word(self) -> &'static str {
        match self {
            ReadyCheck::Answers => "ok",
            ReadyCheck::NotBound => "not bound",
            ReadyCheck::Fails => "failed",
        }
    }
}

impl Reply {
    /// 200 if no check fails, otherwise 503. Without causes, because any client may send this request.
    pub fn readiness(checks: &[(&str, ReadyCheck)]) -> Reply {
        let fails = checks.iter().any(|(_, check)| *check == ReadyCheck::Fails);
        let words: Map<_, _> =
            checks.iter().map(|(name, check)| ((*name).to_owned(), check.word().into())).collect();
        if !fails {
            return Reply::page(&json!({ "status": "ok", "checks": words }));
        }
        let message = "A part of this deployment does not answer: the field checks says which.";
        let error = json!({ "code": "not_ready", "message": message, "checks": words });
        Reply::new(Reply::LATER)
            .with_json(&json!({ "error": error }))
            .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }
}
