//! Data points for Analytics Engine. The order of their fields is an interface for operators (docs/operate.md): a new field
//! comes last.

use crate::protocol::Millis;

/// The longest index that Analytics Engine accepts, in bytes.
pub const INDEX_MAX_BYTES: usize = 96;

/// At most one point of an object is sent in this time, in milliseconds.
pub const POINT_MIN: Millis = 60_000;

/// A data point, in the form of `writeDataPoint`.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// What queries are sampled by: at most [`INDEX_MAX_BYTES`].
    pub index: String,
    pub blobs: Vec<String>,
    pub doubles: Vec<f64>,
}

/// A request to the Worker that was answered.
pub struct Served<'s> {
    pub route: &'static str,
    pub method: &'s str,
    pub status: u16,
    pub mode: &'static str,
    /// Empty without projects, and for requests that were refused, because those may name any project.
    pub project: &'s str,
    /// How many requests this one stands for.
    pub weight: f64,
    /// Until the head of the response was there.
    pub seconds: f64,
    /// Declared sizes of the bodies; 0 if they are not known.
    pub bytes_in: f64,
    pub bytes_out: f64,
}

/// The methods by name; others are `other`, because clients may make them up.
const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];

impl Served<'_> {
    pub fn to_point(&self) -> Point {
        let Served { route, method, status, mode, project, weight, seconds, bytes_in, bytes_out } = *self;
        let method = if METHODS.contains(&method) { method } else { "other" };
        let class = format!("{}xx", status / 100);
        let blobs = ["request", route, method, &status.to_string(), &class, mode, project];
        Point {
            index: index(if project.is_empty() { route } else { project }),
            blobs: blobs.map(str::to_owned).to_vec(),
            doubles: vec![weight, seconds, bytes_in, bytes_out],
        }
    }
}

/// What an object measures when it sends a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectGauges {
    /// Live readers that are connected.
    pub readers: usize,
    /// Rows written since the last point.
    pub rows_written: u64,
    /// How long the registry and the segment index have been behind, in milliseconds.
    pub registry_lag: Millis,
    pub index_lag: Millis,
}

/// The totals of one object since its last point. They are in memory only.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ObjectTotals {
    sent_at: Option<Millis>,
    requests: u64,
    appends: u64,
    bytes: u64,
}

impl ObjectTotals {
    /// Counts a request, and the bytes of its body if it was an append that succeeded.
    pub fn served(&mut self, appended: Option<usize>) {
        self.requests += 1;
        self.appends += u64::from(appended.is_some());
        self.bytes += appended.unwrap_or(0) as u64;
    }

    /// Whether a point may be sent. The first request after the object was loaded sends one at once, so that a
    /// stream with few requests is counted before its object sleeps.
    pub fn is_due(&self, now: Millis) -> bool {
        self.sent_at.is_none_or(|at| now.saturating_sub(at) >= POINT_MIN)
    }

    /// The point of these totals, which begin again.
    pub fn take(&mut self, path: &str, gauges: ObjectGauges, now: Millis) -> Point {
        let ObjectTotals { requests, appends, bytes, .. } = *self;
        let ObjectGauges { readers, rows_written, registry_lag, index_lag } = gauges;
        *self = ObjectTotals { sent_at: Some(now), ..ObjectTotals::default() };
        let project = path.split('/').next().unwrap_or_default();
        Point {
            index: index(project),
            blobs: vec!["object".to_owned(), path.to_owned()],
            doubles: [requests, appends, bytes, readers as u64, rows_written]
                .map(|count| count as f64)
                .into_iter()
                .chain([registry_lag, index_lag].map(|millis| millis as f64 / 1000.0))
                .collect(),
        }
    }
}

fn index(text: &str) -> String {
    text[..text.floor_char_boundary(INDEX_MAX_BYTES)].to_owned()
}
