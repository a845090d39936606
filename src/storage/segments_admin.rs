//! Builds the statements that keep the index in `migrations/0001_segments_admin.sql` in step with a stream's
//! segments. Each statement is idempotent, and a late one does not overwrite newer data.

use super::outbox::{Notice, NoticeKind};

const PUT: &str = "INSERT INTO segments_admin (path, incarnation, read_seq, object_key, content_type, end_position, \
    message_count, object_bytes, written_at) SELECT ?1, value ->> 'incarnation', value ->> 'read_seq', \
    value ->> 'object_key', value ->> 'content_type', value ->> 'end_position', value ->> 'message_count', \
    value ->> 'object_bytes', value ->> 'written_at' FROM json_each(?2) WHERE value ->> 'read_seq' > \
    coalesce((SELECT through_read_seq FROM segments_admin_forgotten WHERE path = ?1), -1) ON CONFLICT DO NOTHING";
const FORGET: &str = "INSERT INTO segments_admin_forgotten (path, through_read_seq) \
    SELECT ?1, max(value ->> 'through_read_seq') FROM json_each(?2) WHERE true ON CONFLICT (path) DO UPDATE \
    SET through_read_seq = excluded.through_read_seq WHERE excluded.through_read_seq > through_read_seq";
const DELETE: &str = "DELETE FROM segments_admin WHERE path = ?1 AND read_seq <= \
    (SELECT max(value ->> 'through_read_seq') FROM json_each(?2))";

/// Statements that write no row, and fail if the index cannot be written. No stream has an empty path.
pub const PROBES: [&str; 2] = [
    "UPDATE segments_admin SET object_bytes = object_bytes WHERE path = ''",
    "DELETE FROM segments_admin_forgotten WHERE path = ''",
];

/// A statement for the segment index. Its two parameters are the stream's path and `notices`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    pub text: &'static str,
    /// A JSON array of notices.
    pub notices: String,
}

/// The statements that apply notices. Their order does not matter, because a deleted segment never comes
/// back.
pub fn statements(notices: &[Notice]) -> Vec<Statement> {
    let of_kind = |kind| {
        let texts: Vec<&str> =
            notices.iter().filter(|notice| notice.kind == kind).map(|notice| notice.text.as_str()).collect();
        (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
    };
    let (forgotten, rotated) = (of_kind(NoticeKind::Forgotten), of_kind(NoticeKind::Rotated));
    // Deletions come first, so that no row is inserted only to be deleted.
    [(FORGET, &forgotten), (DELETE, &forgotten), (PUT, &rotated)]
        .into_iter()
        .filter_map(|(text, notices)| Some(Statement { text, notices: notices.clone()? }))
        .collect()
}
