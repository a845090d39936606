//! Writes the log, one JSON object per line: failures and warnings always, debug lines only with `LOG_LEVEL=debug`. Names of
//! events and fields are an interface for operators (docs/operate.md).

use serde_json::json;
use worker::{console_debug, console_error, console_warn};

use crate::cloudflare::config::CORS_ORIGINS;
use crate::edge::access::Access;
use crate::edge::cors::Cors;
use crate::storage::Failure;
use crate::telemetry::counts::RowCounts;

/// Logs a failure of the server, with its stream, operation and cause, and the id of the request that met it. Background work
/// has no request.
pub(in crate::cloudflare) fn failure(stream: &str, request: Option<&str>, failure: &Failure) {
    let Failure { operation, cause } = failure;
    let mut line = json!({ "level": "error", "stream": stream, "operation": operation, "cause": cause });
    if let Some(request) = request {
        line["request"] = request.into();
    }
    console_error!("{line}");
}

/// Logs an event of an object: it was `loaded` (created or woken up), a live `reader_left`, its alarm `reclaimed` it or was
/// `rearmed`, or several requests `appended_together`.
pub(in crate::cloudflare) fn event(stream: &str, event: &str) {
    console_debug!("{}", json!({ "level": "debug", "event": event, "stream": stream }));
}

/// Logs background work or a call, with the rows that it read and wrote in SQLite. For example: a segment was `rotated`, all
/// segments up to one were `collected`, orphans were listed (`audited`) or deleted (`swept`), the segment index was updated
/// (`mirrored`).
pub(in crate::cloudflare) fn worked(stream: &str, event: &str, segment: Option<u64>, rows: RowCounts) {
    let line = json!({
        "level": "debug", "event": event, "stream": stream, "segment": segment,
        "rows_read": rows.read, "rows_written": rows.written,
    });
    console_debug!("{line}");
}

/// Logs what the Worker's access configuration needs from the operator: why a server is locked, and a recommendation to
/// bind a rate limit where clients without a valid token can cause lookups of projects.
pub(in crate::cloudflare) fn configured(access: &Access, cors: &Cors, is_limited: bool, debug: bool) {
    match access {
        Access::Locked { detail, .. } => failure("", None, &Failure::new("configure", detail)),
        Access::Projects(projects) => {
            if !is_limited {
                let cause = "REQUEST_LIMIT is not bound, so requests without a valid token are not limited: bind it, as wrangler.toml shows";
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

/// Warns of origins in a list that the server ignores.
pub(in crate::cloudflare) fn misconfigured(operation: &str, place: &str, cors: Option<&Cors>) {
    if let Some(mistakes) = cors.and_then(Cors::mistakes) {
        warning(operation, &format!("{place}: {mistakes}"));
    }
}

/// Warns that a variable or binding is set under its old name.
pub(in crate::cloudflare) fn renamed(old: &str, new: &str) {
    warning("configure", &format!("{old} is now called {new}: rename it; the old name still works"));
}

fn warning(operation: &str, cause: &str) {
    console_warn!("{}", json!({ "level": "warn", "operation": operation, "cause": cause }));
}

/// Logs a served request, with the rows that it read and wrote as Cloudflare bills them.
pub(in crate::cloudflare) fn served(stream: &str, method: &str, rows: RowCounts) {
    let line = json!({
        "level": "debug", "event": "served", "stream": stream, "method": method,
        "rows_read": rows.read, "rows_written": rows.written,
    });
    console_debug!("{line}");
}
