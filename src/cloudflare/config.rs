//! Reads the configuration, and names all variables, secrets and bindings (docs/configuration.md). No other Rust file reads
//! one by name. JavaScript reads the binding `STREAMS` (`js/worker.js`), and whether a library's application has configured
//! access (`js/application.js`).

use js_sys::Reflect;
use wasm_bindgen::JsValue;
use worker::Env;

use crate::edge::access::Secret;
use crate::edge::cpu::CPU_LIMIT_MS;
use crate::edge::settings::EdgeSettings;
use crate::object::Settings;
use crate::object::producers::ProducerLimits;
use crate::protocol::Millis;
use crate::protocol::lifetime::TTL_SECONDS_MAX;
use crate::protocol::registry::Registries;
use crate::stream::retain::RetentionDefaults;
use crate::stream::rotate::SegmentLimits;

/// The Durable Object namespace of the streams. It is the only required binding.
pub(super) const STREAMS: &str = "STREAMS";
/// The R2 bucket of segments. Without it nothing rotates.
pub(super) const SEGMENTS: &str = "SEGMENTS";
/// The D1 database of the segment index, which is optional.
pub(super) const ADMIN_DB: &str = "ADMIN_DB";
/// The static assets: the console's files.
pub(super) const ASSETS: &str = "ASSETS";
/// The rate limit of requests: per valid token, and per client network for requests without one.
pub(super) const REQUEST_LIMIT: &str = "REQUEST_LIMIT";
/// The rate limit of PUT requests, per project.
pub(super) const CREATE_LIMIT: &str = "CREATE_LIMIT";
/// The dataset of Analytics Engine, which is optional.
pub(super) const METRICS: &str = "METRICS";
/// The KV namespace of projects.
const PROJECTS: Renamed = Renamed { old: "REGISTRY", new: "PROJECTS" };
/// The variable that lists the origins whose scripts may read responses. Log lines about mistakes in it use this name.
pub(super) const CORS_ORIGINS: &str = "CORS_ORIGINS";
/// The variable with the number of appends after which a segment is rotated. `Config::of`, `stalls` and `settings` below name
/// the other variables and secrets.
const SEGMENT_MAX_APPENDS: Renamed = Renamed { old: "SEGMENT_MAX_MESSAGES", new: "SEGMENT_MAX_APPENDS" };

/// The default of `SSE_LIFETIME_SECONDS`. A reconnection is two billed requests, so a longer lifetime is cheaper. At one hour
/// the CPU time of an idle response's heartbeats costs about as much as the reconnection. A response must end at some time,
/// because a reader may notice a deployment, a revoked key or a lost frame only at its next request.
const SSE_LIFETIME_SECONDS: u64 = 3600;

/// The default of `CHUNK_MAX_BYTES`: the size of a segment. A chunk is two billed requests; a fork's chunk is one more, and
/// a chunk in R2 another one. Fewer, larger chunks are therefore cheaper. Up to 2 MiB they are also faster: 1 MiB reads at
/// four fifths of that speed. But a chunk blocks the object for 2 ms per MiB, and a client that disconnects reads all of it
/// again.
const CHUNK_BYTES: u64 = 4 << 20;

/// The smallest `CHUNK_MAX_BYTES`, so that every read makes progress.
const CHUNK_MIN_BYTES: u64 = 1 << 10;

/// The default of `SEGMENT_MIN_BYTES`. A million rotations cost $9.50: $4.50 for the puts, and $1 per row for the segment's
/// own row, the table of a stream's first two segments, the alarm, and the deletion. A GB-month costs $0.20 in the object
/// and $0.015 in the bucket, so a million segments of 16 KiB save $3.03 a month. Rotating a smaller one would take more
/// than three months to pay off.
const SEGMENT_MIN_BYTES: u64 = 16 << 10;

/// The largest `SEGMENT_MAX_BYTES`: a segment is in memory during its upload.
const SEGMENT_LIMIT_BYTES: u64 = 16 << 20;

/// The default of `WEBHOOK_GIVE_UP_SECONDS`: three days.
const WEBHOOK_GIVE_UP_SECONDS: u64 = 72 * 3600;

/// The values of a deployment's variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    /// When an SSE response ends at the latest; its client then reconnects.
    pub(super) sse_lifetime: Millis,
    /// The CPU time per request that the platform's plan allows.
    pub(super) cpu_limit: Millis,
    /// The settings that an object needs.
    pub(super) settings: Settings,
    /// Whether clients share reads within a data centre.
    pub(super) edge_cache: bool,
    /// Whether there is a console.
    pub(super) has_console: bool,
    /// Whether debug lines are logged.
    pub(super) debug: bool,
}

impl Config {
    /// Reads the variables. A number that is missing or not positive gets its default.
    pub(super) fn of(env: &Env) -> Config {
        let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let limit = |name: &str| text(name).and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        let number = |name: &str, default: u64| limit(name).unwrap_or(default);
        // Each of these makes the server require tokens.
        let has_projects = projects(env).is_some() || binding(env, "PROJECT_KEYS").is_some();
        let guarded = has_projects || binding(env, "AUTH_TOKEN").is_some();
        let public_streams = text("PUBLIC_STREAMS").is_some_and(|value| value == "on");
        Config {
            sse_lifetime: number("SSE_LIFETIME_SECONDS", SSE_LIFETIME_SECONDS) * 1000,
            cpu_limit: number("CPU_LIMIT_MS", CPU_LIMIT_MS),
            settings: Settings {
                long_poll_timeout: number("LONG_POLL_TIMEOUT_SECONDS", 20) * 1000,
                chunk_max_bytes: number("CHUNK_MAX_BYTES", CHUNK_BYTES).clamp(CHUNK_MIN_BYTES, 1 << 24)
                    as usize,
                segments: Some(SegmentLimits {
                    appends_max: number(SEGMENT_MAX_APPENDS.name_in(env), 1000),
                    bytes_max: number("SEGMENT_MAX_BYTES", 4 << 20).min(SEGMENT_LIMIT_BYTES),
                    closed_bytes_min: number("SEGMENT_MIN_BYTES", SEGMENT_MIN_BYTES),
                }),
                guarded,
                hides_public: guarded && !public_streams,
                has_index: false,
                registries: match text("REGISTRY_STREAM").as_deref() {
                    Some("off") => Registries::Off,
                    _ if has_projects => Registries::PerProject,
                    _ => Registries::One,
                },
                producers: ProducerLimits::SERVED,
                retention: RetentionDefaults {
                    segments: limit("RETAIN_SEGMENTS"),
                    seconds: limit("RETAIN_SECONDS").map(|seconds| seconds.min(TTL_SECONDS_MAX)),
                },
                webhooks_give_up_after: number("WEBHOOK_GIVE_UP_SECONDS", WEBHOOK_GIVE_UP_SECONDS)
                    .min(TTL_SECONDS_MAX)
                    * 1000,
                measures: has_metrics(env),
            },
            edge_cache: text("EDGE_CACHE").is_none_or(|cache| cache != "off"),
            has_console: binding(env, ASSETS).is_some()
                && text("CONSOLE").is_none_or(|console| console != "off"),
            debug: text("LOG_LEVEL").is_some_and(|level| level == "debug"),
        }
    }
}

/// Whether there is `GET /metrics`: only with a valid token of the administrator.
fn has_metrics(env: &Env) -> bool {
    let token = binding(env, "ADMIN_TOKEN").and_then(|value| value.as_string());
    token.is_some_and(|token| Secret::of(&token).is_some())
}

/// The share of requests that the Worker measures: 0 without the binding [`METRICS`].
pub(super) fn measured_share(env: &Env) -> f64 {
    if binding(env, METRICS).is_none() {
        return 0.0;
    }
    let share = env.var("METRICS_SAMPLE").ok().and_then(|value| value.to_string().parse().ok());
    share.filter(|share| (0.0..=1.0).contains(share)).unwrap_or(METRICS_SAMPLE)
}

/// The default of `METRICS_SAMPLE`. A point costs $0.25 a million, and a request about $0.45: measuring each tenth adds 6 %.
const METRICS_SAMPLE: f64 = 0.1;

/// How long a client may go without progress.
pub(super) struct Stalls {
    /// In milliseconds, while it sends a body.
    pub(super) body: Millis,
    /// In milliseconds, while it reads a response.
    pub(super) reader: Millis,
}

pub(super) fn stalls(env: &Env) -> Stalls {
    let seconds = |name: &str, default: u64| {
        let set = env.var(name).ok().and_then(|value| value.to_string().parse().ok());
        set.filter(|seconds| (1..=STALL_MAX_SECONDS).contains(seconds)).unwrap_or(default)
    };
    Stalls {
        body: seconds("BODY_STALL_SECONDS", 30) * 1000,
        reader: seconds("READER_STALL_SECONDS", 60) * 1000,
    }
}

/// The largest stall time, in seconds. It must stay below `STALE_MS` of `budget.js`, after which a reservation without
/// progress is released.
const STALL_MAX_SECONDS: u64 = 120;

/// A variable or binding that was renamed.
struct Renamed {
    old: &'static str,
    new: &'static str,
}

impl Renamed {
    /// The name under which it is set: the new one, unless only the old one is set.
    fn name_in(&self, env: &Env) -> &'static str {
        if self.is_set_by_old_name(env) { self.old } else { self.new }
    }

    fn is_set_by_old_name(&self, env: &Env) -> bool {
        binding(env, self.new).is_none() && binding(env, self.old).is_some()
    }
}

/// The old names that this deployment still uses, each with the new one.
pub(super) fn renamed(env: &Env) -> impl Iterator<Item = (&'static str, &'static str)> {
    let by_old_name = [SEGMENT_MAX_APPENDS, PROJECTS].into_iter().filter(|one| one.is_set_by_old_name(env));
    by_old_name.map(|one| (one.old, one.new))
}

/// The KV namespace of projects, if it is bound.
pub(super) fn projects(env: &Env) -> Option<JsValue> {
    binding(env, PROJECTS.name_in(env))
}

/// The configuration of access control, which contains secrets.
pub(super) fn settings(env: &Env) -> EdgeSettings {
    // A value that is not text, such as a JSON variable, still counts as set: otherwise it would leave the server open.
    let text = |name: &str| {
        let value = binding(env, name)?;
        value.as_string().or_else(|| js_sys::JSON::stringify(&value).ok().map(String::from))
    };
    EdgeSettings {
        allow_open: text("ALLOW_OPEN"),
        auth_token: text("AUTH_TOKEN"),
        admin_token: text("ADMIN_TOKEN"),
        project_keys: text("PROJECT_KEYS"),
        has_registry: projects(env).is_some(),
        cors_origins: text(CORS_ORIGINS),
        cors_credentials: text("CORS_CREDENTIALS"),
        webhook_hosts: text("WEBHOOK_HOSTS"),
        allow_local_webhooks: text("ALLOW_LOCAL_WEBHOOKS"),
        public_url: text("PUBLIC_URL"),
        mount: None,
    }
}

/// The binding of this name, or `None` if it is not bound.
pub(super) fn binding(env: &Env, name: &str) -> Option<JsValue> {
    Reflect::get(env, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
