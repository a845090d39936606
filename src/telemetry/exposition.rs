//! The body of `GET /metrics`, in Prometheus's text format 0.0.4. Names and labels are an interface for operators
//! (docs/operate.md).

use std::fmt::Write as _;

use crate::protocol::metrics::{RegistryCounts, StreamCounts, SummaryCounts};
use crate::protocol::subscription::summary::WakeTotals;

/// What a scrape found.
pub struct Scrape<'s> {
    pub version: &'s str,
    pub mode: &'s str,
    pub registries: Vec<Scraped>,
    /// How many registries of `PROJECT_KEYS` were not asked.
    pub left_out: usize,
    /// `None` without a segment index.
    pub index: Option<ScrapedIndex>,
}

/// One registry with its answer.
pub struct Scraped {
    /// Its project; `None` for the registry of all streams.
    pub project: Option<String>,
    /// `None` if it did not answer.
    pub counts: Option<RegistryCounts>,
}

/// The answer of the segment index to a write that changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScrapedIndex {
    pub is_up: bool,
    /// The size of its database in bytes, if it is known.
    pub bytes: Option<u64>,
}

/// A value with the labels of its line besides the project.
type Sample = (Vec<(&'static str, String)>, f64);

/// A metric of each registry.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// A registry without a value has no line.
    samples: fn(&Scraped) -> Vec<Sample>,
}

const METRICS: [Metric; 10] = [
    Metric {
        name: "ds_registry_up",
        kind: "gauge",
        help: "Whether the registry answered.",
        samples: |registry| one(Some(f64::from(u8::from(registry.counts.is_some())))),
    },
    Metric {
        name: "ds_registry_counted",
        kind: "gauge",
        help: "Whether the registry was small enough to be counted. If not, it has no counts below.",
        samples: |registry| {
            let counts = registry.counts.as_ref();
            one(counts.map(|counts| f64::from(u8::from(counts.counted.is_some()))))
        },
    },
    Metric {
        name: "ds_registry_last_event_timestamp_seconds",
        kind: "gauge",
        help: "The time of the registry's newest event.",
        samples: |registry| one(registry.counts.as_ref().and_then(|counts| seconds(counts.written_at))),
    },
    Metric {
        name: "ds_registry_lag_seconds",
        kind: "gauge",
        help: "The longest delay of the registry's newest events. It has none without an event in the last hour.",
        samples: |registry| one(registry.counts.as_ref().and_then(|counts| seconds(counts.lag))),
    },
    Metric {
        name: "ds_streams",
        kind: "gauge",
        help: "The streams that exist.",
        samples: |registry| of_streams(registry, |counted| counted.streams),
    },
    Metric {
        name: "ds_streams_created_total",
        kind: "counter",
        help: "The streams that were created.",
        samples: |registry| of_streams(registry, |counted| counted.created),
    },
    Metric {
        name: "ds_streams_deleted_total",
        kind: "counter",
        help: "The streams that were deleted or have expired.",
        samples: |registry| of_streams(registry, |counted| counted.deleted),
    },
    Metric {
        name: "ds_subscriptions",
        kind: "gauge",
        help: "The subscriptions that exist, by their last reported status.",
        samples: by_status,
    },
    Metric {
        name: "ds_wakes_total",
        kind: "counter",
        help: "The wakes of subscriptions.",
        samples: |registry| by_type(registry, |totals| vec![(Vec::new(), totals.wakes as f64)]),
    },
    Metric {
        name: "ds_deliveries_total",
        kind: "counter",
        help: "The attempts to deliver wakes.",
        samples: |registry| {
            by_type(registry, |totals| {
                let results =
                    [("ok", totals.succeeded), ("failed", totals.failed), ("unsent", totals.unsent)];
                results.map(|(result, count)| (vec![("result", result.to_owned())], count as f64)).to_vec()
            })
        },
    },
];

/// Each status that a subscription reports. The others are `unknown`.
const STATUSES: [&str; 3] = ["active", "failed", "parked"];
/// Each type of subscription, so that every counter exists before its first event.
const TYPES: [&str; 2] = ["webhook", "pull-wake"];

fn one(value: Option<f64>) -> Vec<Sample> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

fn seconds(millis: Option<u64>) -> Option<f64> {
    millis.map(|millis| millis as f64 / 1000.0)
}

fn counted(registry: &Scraped) -> Option<(&StreamCounts, &[SummaryCounts])> {
    let counts = registry.counts.as_ref()?;
    counts.counted.as_ref().map(|counted| (counted, counts.summaries.as_slice()))
}

fn of_streams(registry: &Scraped, value: fn(&StreamCounts) -> u64) -> Vec<Sample> {
    one(counted(registry).map(|(counted, _)| value(counted) as f64))
}

fn by_status(registry: &Scraped) -> Vec<Sample> {
    let Some((counted, summaries)) = counted(registry) else { return Vec::new() };
    let count = |status: &str| {
        let of_status = summaries.iter().filter(|summary| summary.status == status);
        of_status.map(|summary| summary.subscriptions).sum::<u64>()
    };
    let known: u64 = STATUSES.into_iter().map(count).sum();
    let counts = STATUSES.into_iter().map(|status| (status, count(status)));
    counts
        .chain([("unknown", counted.subscriptions.saturating_sub(known))])
        .map(|(status, count)| (vec![("status", status.to_owned())], count as f64))
        .collect()
}

fn by_type(registry: &Scraped, samples: fn(&WakeTotals) -> Vec<Sample>) -> Vec<Sample> {
    let Some((_, summaries)) = counted(registry) else { return Vec::new() };
    let of_type = |kind: &'static str| {
        let totals = summaries.iter().filter(|summary| summary.kind == kind).map(|summary| summary.totals);
        let total = totals.fold(WakeTotals::default(), WakeTotals::plus);
        samples(&total).into_iter().map(move |(mut labels, value)| {
            labels.insert(0, ("type", kind.to_owned()));
            (labels, value)
        })
    };
    TYPES.into_iter().flat_map(of_type).collect()
}

impl Scrape<'_> {
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let build = [("version", self.version.to_owned()), ("mode", self.mode.to_owned())];
        head(&mut text, "ds_build_info", "gauge", "The version and the access mode; always 1.");
        line(&mut text, "ds_build_info", &build, 1.0);
        let help = "The projects of PROJECT_KEYS that were not asked.";
        head(&mut text, "ds_registries_left_out", "gauge", help);
        line(&mut text, "ds_registries_left_out", &[], self.left_out as f64);
        if let Some(ScrapedIndex { is_up, bytes }) = self.index {
            head(&mut text, "ds_index_up", "gauge", "Whether the segment index could be written.");
            line(&mut text, "ds_index_up", &[], f64::from(u8::from(is_up)));
            if let Some(bytes) = bytes {
                head(&mut text, "ds_index_size_bytes", "gauge", "The size of the segment index's database.");
                line(&mut text, "ds_index_size_bytes", &[], bytes as f64);
            }
        }
        for Metric { name, kind, help, samples } in METRICS {
            let found: Vec<_> =
                self.registries.iter().map(|registry| (registry, samples(registry))).collect();
            if found.iter().all(|(_, samples)| samples.is_empty()) {
                continue;
            }
            head(&mut text, name, kind, help);
            for (registry, samples) in found {
                for (mut labels, value) in samples {
                    if let Some(project) = &registry.project {
                        labels.insert(0, ("project", project.clone()));
                    }
                    line(&mut text, name, &labels, value);
                }
            }
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, String)], value: f64) {
    let labels: Vec<_> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _infallible = writeln!(text, "{name}{labels} {value}");
}

/// Escapes the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
