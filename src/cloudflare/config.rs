//! Configuration: the names of all variables, secrets and bindings, and what they mean. No other Rust file reads one by its
//! name; JavaScript reads the binding `STREAMS` alone (`js/worker.js`). README.md ("Configuration") has the same names.

use js_sys::Reflect;
use wasm_bindgen::JsValue;
use worker::Env;

use crate::edge::cpu::CPU_LIMIT_MS;
use crate::edge::settings::EdgeSettings;
use crate::object::Settings;
use crate::object::producers::ProducerLimits;
use crate::protocol::Millis;
use crate::protocol::lifetime::TTL_SECONDS_MAX;
use crate::protocol::registry::Registries;
use crate::stream::retain::RetentionDefaults;
use crate::stream::rotate::SegmentLimits;

/// The Durable Object namespace of the streams' objects. The only binding that a server cannot do without.
pub(super) const STREAMS: &str = "STREAMS";
/// The R2 bucket of segments. Without it nothing rotates.
pub(super) const SEGMENTS: &str = "SEGMENTS";
/// The D1 database of the segment index. Without it there is no index.
pub(super) const ADMIN_DB: &str = "ADMIN_DB";
/// The rate limit of one token's requests, and of one network's without a valid token.
pub(super) const REQUEST_LIMIT: &str = "REQUEST_LIMIT";
/// The rate limit of one project's PUTs.
pub(super) const CREATE_LIMIT: &str = "CREATE_LIMIT";
/// The KV namespace of projects.
const PROJECTS: Renamed = Renamed { old: "REGISTRY", new: "PROJECTS" };
/// The variable with the sites whose scripts may see answers; what is wrong in it is logged by this name.
pub(super) const CORS_ORIGINS: &str = "CORS_ORIGINS";
/// The variable that says how many appends a segment takes. All other variables and secrets are named where they are read below.
const SEGMENT_MAX_APPENDS: Renamed = Renamed { old: "SEGMENT_MAX_MESSAGES", new: "SEGMENT_MAX_APPENDS" };

/// The default of `SSE_LIFETIME_SECONDS`. A reconnection is two billed requests, so a longer lifetime is cheaper; at an
/// hour the CPU time of an idle response's heartbeats costs about as much. A response has to end at some time: its reader notices a
/// deployment, a revoked key or a lost announcement at its next request at the latest.
const SSE_LIFETIME_SECONDS: u64 = 3600;

/// The default of `CHUNK_MAX_BYTES`: a segment. A chunk is two billed requests, a fork's one more and one in R2 another, so few
/// and large ones are cheap, and up to 2 MiB faster (1 MiB reads at four fifths of that speed); but it holds up the object for
/// two milliseconds a MiB, and a client that disconnects reads all of it again.
const CHUNK_BYTES: u64 = 4 << 20;

/// The smallest chunk: a read must make progress.
const CHUNK_MIN_BYTES: u64 = 1 << 10;

/// The default of `SEGMENT_MIN_BYTES`. To rotate a segment costs $9.50 a million: the put $4.50, rows at $1 for itself, the
/// table of a stream's first two, the alarm, and its end. A GB-month costs $0.20 in the object and $0.015 in the bucket, so
/// 16 KiB cost $3.03 a million and month more where they are: what is smaller would take more than three months.
const SEGMENT_MIN_BYTES: u64 = 16 << 10;

/// The largest `SEGMENT_MAX_BYTES`: a segment is in memory while it is put into the bucket.
const SEGMENT_LIMIT_BYTES: u64 = 16 << 20;

/// The default of `WEBHOOK_GIVE_UP_SECONDS`: three days.
const WEBHOOK_GIVE_UP_SECONDS: u64 = 72 * 3600;

/// What the variables of a deployment say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    /// How long an SSE response lasts; its client then reconnects.
    pub(super) sse_lifetime: Millis,
    /// How much CPU time the platform gives a request.
    pub(super) cpu_limit: Millis,
    /// What an object needs to know.
    pub(super) settings: Settings,
    /// Whether reads are shared within a data centre.
    pub(super) edge_cache: bool,
    /// Whether debug lines are logged.
    pub(super) debug: bool,
}

impl Config {
    /// Reads the variables; what is missing or no positive number has its default.
    pub(super) fn of(env: &Env) -> Config {
        let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let limit = |name: &str| text(name).and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        let number = |name: &str, default: u64| limit(name).unwrap_or(default);
        // What makes a server ask for tokens.
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
            },
            edge_cache: text("EDGE_CACHE").is_none_or(|cache| cache != "off"),
            debug: text("LOG_LEVEL").is_some_and(|level| level == "debug"),
        }
    }
}

/// How long a client may make no progress.
pub(super) struct Stalls {
    /// While it sends a body.
    pub(super) body: Millis,
    /// While it reads a response.
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

/// The longest: what makes no progress for longer counts as gone (`STALE_MS` of `budget.js`).
const STALL_MAX_SECONDS: u64 = 120;

/// A variable or binding that once had another name.
struct Renamed {
    old: &'static str,
    new: &'static str,
}

impl Renamed {
    /// The name under which it is set: the present one, unless only the old one is.
    fn name_in(&self, env: &Env) -> &'static str {
        if self.is_set_by_old_name(env) { self.old } else { self.new }
    }

    fn is_set_by_old_name(&self, env: &Env) -> bool {
        binding(env, self.new).is_none() && binding(env, self.old).is_some()
    }
}

/// The old names that are in use, each with the present one.
pub(super) fn renamed(env: &Env) -> impl Iterator<Item = (&'static str, &'static str)> {
    let by_old_name = [SEGMENT_MAX_APPENDS, PROJECTS].into_iter().filter(|one| one.is_set_by_old_name(env));
    by_old_name.map(|one| (one.old, one.new))
}

/// The KV namespace of projects, if it is bound.
pub(super) fn projects(env: &Env) -> Option<JsValue> {
    binding(env, PROJECTS.name_in(env))
}

/// The configuration of access control; parts of it are secrets.
pub(super) fn settings(env: &Env) -> EdgeSettings {
    // What is set, but not as text, must not count as not set.
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
    }
}

/// A binding, if it is there.
pub(super) fn binding(env: &Env, name: &str) -> Option<JsValue> {
    Reflect::get(env, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
