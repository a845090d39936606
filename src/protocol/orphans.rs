//! Orphans, page by page: the administrator's query, and what a page has. An orphan is an object of the bucket whose key is
//! that of a stream's segment, but which the stream does not know.

use serde::Serialize;

use super::Millis;
use super::command::query_of;
use super::lifetime::rfc3339;
use super::names::{TRUE, query};
use super::refusal::Refusal;

/// The longest key of the bucket, and so the longest cursor.
pub const KEY_MAX_BYTES: usize = 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrphansQuery {
    /// The key to begin after; absent for the first page. It is a key and not a cursor of the bucket, so that a page may end
    /// anywhere.
    pub after: Option<String>,
    /// Whether orphans are deleted.
    pub deletes: bool,
}

impl OrphansQuery {
    /// Reads a URL's query.
    pub fn parse(url: &str) -> Result<OrphansQuery, Refusal> {
        let (mut after, mut deletes) = (None, None);
        for (name, value) in form_urlencoded::parse(query_of(url).as_bytes()) {
            let (slot, name) = match &*name {
                query::CURSOR => (&mut after, query::CURSOR),
                query::DELETE => (&mut deletes, query::DELETE),
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Refusal::InvalidQuery { name, why: "it must be given once" });
            }
        }
        if after.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_MAX_BYTES) {
            let why = "it must be the cursor of the last page";
            return Err(Refusal::InvalidQuery { name: query::CURSOR, why });
        }
        match deletes.as_deref() {
            None | Some("false") => Ok(OrphansQuery { after, deletes: false }),
            Some(TRUE) => Ok(OrphansQuery { after, deletes: true }),
            Some(_) => Err(Refusal::InvalidQuery { name: query::DELETE, why: "it must be true or false" }),
        }
    }
}

/// What one page of the bucket has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OrphansPage {
    /// Segments that their streams do not know. If the query deletes, they have been deleted.
    pub orphans: Vec<Stored>,
    /// Segments whose streams did not answer: they may be orphans.
    pub unchecked: Vec<Stored>,
    /// Keys that are not of a segment. The server never deletes those.
    pub foreign: Vec<String>,
    /// How many segments were checked, including orphans.
    pub checked: usize,
    /// Where the next page begins; `None` on the last.
    pub cursor: Option<String>,
}

/// A segment by its key, as it is in the bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    pub key: String,
    /// The stream it is of.
    pub path: String,
    pub incarnation: u64,
    #[serde(rename = "readSeq")]
    pub segment: u64,
    /// How large it is.
    pub bytes: u64,
    /// When it was put there.
    #[serde(serialize_with = "as_rfc3339")]
    pub uploaded: Millis,
}

fn as_rfc3339<S: serde::Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

impl OrphansPage {
    /// Adds the segments of one stream. `unknown` are the keys that the stream does not know; `None` if it did not answer.
    pub fn take(&mut self, segments: Vec<Stored>, unknown: Option<&[String]>) {
        let Some(unknown) = unknown else { return self.unchecked.extend(segments) };
        self.checked += segments.len();
        self.orphans.extend(segments.into_iter().filter(|stored| unknown.contains(&stored.key)));
    }
}
