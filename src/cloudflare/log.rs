//! Logging: one JSON line for each failure of ours, which `wrangler tail` shows; debug lines only where asked for.

use serde_json::json;
use worker::{console_debug, console_error, console_warn};

use crate::edge::access::Access;
use crate::edge::cors::Cors;
use crate::storage::Failure;

/// A failure, with what is needed to find it.
pub(super) fn failure(stream: &str, failure: &Failure) {
    let Failure { operation, cause } = failure;
    console_error!(
        "{}",
        json!({ "level": "error", "stream": stream, "operation": operation, "cause": cause })
    );
}

/// Something happened in an object: it was `loaded` (created, or woken up), a live `reader_left`, it was `reclaimed`
/// by its alarm, or that was `rearmed`, or several `appended_together`.
pub(super) fn event(stream: &str, event: &str) {
    console_debug!("{}", json!({ "level": "debug", "event": event, "stream": stream }));
}

/// Something was done in the bucket, a segment `rotated` or all up to one `collected`, or orphans were looked for
/// (`audited`) and deleted (`swept`), or the mirror was told, so that it is `mirrored`: which, and what that read and wrote in
/// SQLite.
pub(super) fn worked(
    stream: &str,
    (event, segment): (&str, Option<u64>),
    (rows_read, rows_written): (u64, u64),
) {
    let line = json!({
        "level": "debug", "event": event, "stream": stream, "segment": segment,
        "rows_read": rows_read, "rows_written": rows_written,
    });
    console_debug!("{line}");
}

/// The edge has read who may do what: a server that is locked says why, and one on which strangers can look up projects
/// without a limit recommends one.
pub(super) fn configured(access: &Access, cors: &Cors, is_limited: bool, debug: bool) {
    match access {
        Access::Locked { detail, .. } => failure("", &Failure::new("configure", detail)),
        Access::Projects(projects) => {
            if !is_limited {
                let cause = "REQUEST_LIMIT is not bound, so requests without a valid token are not limited: see wrangler.toml";
                warning("configure", cause);
            }
            for (name, project) in projects {
                misconfigured("configure", &format!("PROJECT_KEYS, project {name}"), project.cors.as_ref());
            }
        }
        Access::Open { .. } | Access::Token(_) => {}
    }
    misconfigured("configure", "CORS_ORIGINS", Some(cors));
    if debug {
        console_debug!("{}", json!({ "level": "debug", "event": "configured", "mode": access.mode() }));
    }
}

/// Sites are listed in a way that allows none.
pub(super) fn misconfigured(operation: &str, place: &str, cors: Option<&Cors>) {
    if let Some(mistakes) = cors.and_then(Cors::mistakes) {
        warning(operation, &format!("{place}: {mistakes}"));
    }
}

/// A variable or binding is read under a name that it no longer has.
pub(super) fn renamed(old: &str, new: &str) {
    warning("configure", &format!("{old} is now called {new}: rename it; the old name still works"));
}

fn warning(operation: &str, cause: &str) {
    console_warn!("{}", json!({ "level": "warn", "operation": operation, "cause": cause }));
}

/// A request was served: how many rows that read and wrote, as Cloudflare bills them.
pub(super) fn served(stream: &str, method: &str, rows_read: u64, rows_written: u64) {
    let line = json!({
        "level": "debug", "event": "served", "stream": stream, "method": method,
        "rows_read": rows_read, "rows_written": rows_written,
    });
    console_debug!("{line}");
}
