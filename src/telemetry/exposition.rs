//! The body of `GET /metrics`, in Prometheus's text format 0.0.4. Names and labels are an interface for operators
//! (docs/operate.md).

use std::fmt::Write as _;

use crate::protocol::metrics::{RegistryCounts, StreamCounts};

/// What a scrape found.
pub struct Scrape<'s> {
    pub version: &'s str,
    pub mode: &'s str,
    pub registries: Vec<Scraped>,
    /// How many registries of `PROJECT_KEYS` were not asked.
    pub left_out: usize,
}

/// One registry with its answer.
pub struct Scraped {
    /// Its project; `None` for the registry of all streams.
    pub project: Option<String>,
    /// `None` if it did not answer.
    pub counts: Option<RegistryCounts>,
}

/// A metric of each registry: its name, kind, help, and value. A registry without the value has no line.
type Metric = (&'static str, &'static str, &'static str, fn(&Scraped) -> Option<f64>);

const METRICS: [Metric; 7] = [
    ("ds_registry_up", "gauge", "Whether the registry answered.", |registry| {
        Some(f64::from(u8::from(registry.counts.is_some())))
    }),
    (
        "ds_registry_counted",
        "gauge",
        "Whether the registry was small enough to be counted. If not, it has no counts below.",
        |registry| registry.counts.as_ref().map(|counts| f64::from(u8::from(counts.counted.is_some()))),
    ),
    (
        "ds_registry_last_event_timestamp_seconds",
        "gauge",
        "The time of the registry's newest event.",
        |registry| registry.counts.as_ref()?.written_at.map(|at| at as f64 / 1000.0),
    ),
    ("ds_streams", "gauge", "The streams that exist.", |registry| of(registry, |counted| counted.streams)),
    ("ds_streams_created_total", "counter", "The streams that were created.", |registry| {
        of(registry, |counted| counted.created)
    }),
    ("ds_streams_deleted_total", "counter", "The streams that were deleted or have expired.", |registry| {
        of(registry, |counted| counted.deleted)
    }),
    ("ds_subscriptions", "gauge", "The subscriptions that exist.", |registry| {
        of(registry, |counted| counted.subscriptions)
    }),
];

fn of(registry: &Scraped, value: fn(&StreamCounts) -> u64) -> Option<f64> {
    let counts = registry.counts.as_ref()?;
    counts.counted.as_ref().map(|counted| value(counted) as f64)
}

impl Scrape<'_> {
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let (version, mode) = (escaped(self.version), escaped(self.mode));
        head(&mut text, "ds_build_info", "gauge", "The version and the access mode; always 1.");
        line(&mut text, "ds_build_info", &format!("{{version=\"{version}\",mode=\"{mode}\"}}"), 1.0);
        head(
            &mut text,
            "ds_registries_left_out",
            "gauge",
            "The projects of PROJECT_KEYS that were not asked.",
        );
        line(&mut text, "ds_registries_left_out", "", self.left_out as f64);
        for (name, kind, help, value) in METRICS {
            let values: Vec<_> =
                self.registries.iter().filter_map(|one| Some((label(one), value(one)?))).collect();
            if values.is_empty() {
                continue;
            }
            head(&mut text, name, kind, help);
            for (label, value) in values {
                line(&mut text, name, &label, value);
            }
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: f64) {
    let _infallible = writeln!(text, "{name}{labels} {value}");
}

fn label(registry: &Scraped) -> String {
    registry
        .project
        .as_deref()
        .map_or_else(String::new, |project| format!("{{project=\"{}\"}}", escaped(project)))
}

/// Escapes the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
