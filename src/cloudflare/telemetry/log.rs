//! Logging: one JSON line for each failure of ours, which `wrangler tail` shows; debug lines only where asked for.

use serde_json::json;
use worker::{console_debug, console_error, console_warn};

use crate::cloudflare::config::CORS_ORIGINS;
use crate::edge::access::Access;
use crate::edge::cors::Cors;
use crate::storage::Failure;
use crate::telemetry::counts::RowCounts;

/// A failure, with what is needed to find it.
pub(in crate::cloudflare) fn failure(stream: &str, failure: &Failure) {
    let Failure { operation, cause } = failure;
    console_error!(
        "{}",
        json!({ "level": "error", "stream": stream, "operation": operation, "cause": cause })
    );
}

/// Something happened in an object: it was `loaded` (created, or woken up), a live `reader_left`, it was `reclaimed`
/// by its alarm, or that was `rearmed`, or several `appended_together`.
pub(in crate::cloudflare) fn event(stream: &str, event: &str) {
    console_debug!("{}", json!({ "level": "debug", "event": event, "stream": stream }));
}

/// A segment was `rotated`, or all up to one `collected`; orphans were looked for (`audited`) or deleted (`swept`); the
/// segment index was brought up to date (`mirrored`), and so on: with what that read and wrote in SQLite.
pub(in crate::cloudflare) fn worked(stream: &str, event: &str, segment: Option<u64>, rows: RowCounts) {
    let line = json!({
        "level": "debug", "event": event, "stream": stream, "segment": segment,
        "rows_read": rows.read, "rows_written": rows.written,
    });
    console_debug!("{line}");
}

/// The edge has read who may do what: a server that is locked says why, and one on which strangers can look up projects
/// without a limit recommends one.
pub(in crate::cloudflare) fn configured(access: &Access, cors: &Cors, is_limited: bool, debug: bool) {
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
    misconfigured("configure", CORS_ORIGINS, Some(cors));
    if debug {
        console_debug!("{}", json!({ "level": "debug", "event": "configured", "mode": access.mode() }));
    }
}

/// Sites are listed in a way that allows none.
pub(in crate::cloudflare) fn misconfigured(operation: &str, place: &str, cors: Option<&Cors>) {
    if let Some(mistakes) = cors.and_then(Cors::mistakes) {
        warning(operation, &format!("{place}: {mistakes}"));
    }
}

/// A variable or binding is read under a name that it no longer has.
pub(in crate::cloudflare) fn renamed(old: &str, new: &str) {
    warning("configure", &format!("{old} is now called {new}: rename it; the old name still works"));
}

fn warning(operation: &str, cause: &str) {
    console_warn!("{}", json!({ "level": "warn", "operation": operation, "cause": cause }));
}

/// A request was served: how many rows that read and wrote, as Cloudflare bills them.
pub(in crate::cloudflare) fn served(stream: &str, method: &str, rows: RowCounts) {
    let line = json!({
        "level": "debug", "event": "served", "stream": stream, "method": method,
        "rows_read": rows.read, "rows_written": rows.written,
    });
    console_debug!("{line}");
}
