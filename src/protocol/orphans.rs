//! Orphans: the administrator's query, and the content of a page. An orphan is an object of the bucket whose
//! key names a segment that its stream does not have.

use serde::Serialize;

use super::Millis;
use super::command::query_of;
use super::lifetime::rfc3339;
use super::names::{TRUE, query};
use super::refusal::Refusal;

/// The longest key in the bucket, in bytes, and so the longest cursor.
pub const KEY_MAX_BYTES: usize = 1024;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrphansQuery {
    /// List keys after this one; absent for the first page. It is a key and not a cursor of R2, so that a page
    /// may end after any key.
    pub after: Option<String>,
    /// Whether to delete the orphans found.
    pub deletes: bool,
}

impl OrphansQuery {
    /// Parses a URL's query. Refuses repeated parameters and malformed values.
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

/// The orphans of one page of the bucket.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OrphansPage {
    /// Segments that their streams do not have. If the query deletes, they are deleted.
    pub orphans: Vec<Stored>,
    /// Segments whose streams did not answer, so they may be orphans.
    pub unchecked: Vec<Stored>,
    /// Keys that name no segment; the server never deletes them.
    pub foreign: Vec<String>,
    /// The number of segments checked, including orphans.
    pub checked: usize,
    /// The cursor of the next page; `None` on the last page.
    pub cursor: Option<String>,
}

/// A segment in the bucket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    pub key: String,
    /// The path of its stream.
    pub path: String,
    pub incarnation: u64,
    #[serde(rename = "readSeq")]
    pub segment: u64,
    pub bytes: u64,
    #[serde(serialize_with = "as_rfc3339")]
    pub uploaded: Millis,
}

fn as_rfc3339<S: serde::Serializer>(at: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

impl OrphansPage {
    /// Adds the segments of one stream. `unknown` are the keys that the stream does not have; `None` if it did
    /// not answer.
    pub fn take(&mut self, segments: Vec<Stored>, unknown: Option<&[String]>) {
        let Some(unknown) = unknown else { return self.unchecked.extend(segments) };
        self.checked += segments.len();
        self.orphans.extend(segments.into_iter().filter(|stored| unknown.contains(&stored.key)));
    }
}
