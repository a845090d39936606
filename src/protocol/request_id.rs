//! The id of a request, which its response and the log lines about it carry.

use super::names::header;
use super::reply::Reply;

/// The longest id that the platform may give, in bytes.
pub const ID_MAX_BYTES: usize = 64;

/// The platform's id of a request if it is well-formed, otherwise a random one. An `X-Request-Id` of the client is
/// ignored: clients could send the same id twice, and a log line would no longer identify one request.
pub fn request_id(ray: Option<String>, random: &dyn Fn() -> String) -> String {
    ray.filter(|ray| is_well_formed(ray)).unwrap_or_else(random)
}

fn is_well_formed(ray: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=ID_MAX_BYTES).contains(&ray.len()) && ray.bytes().all(is_part)
}

impl Reply {
    /// Adds the id of the request. A 5xx also names it in its body, because the client may report only that.
    pub fn identified(mut self, id: &str) -> Reply {
        if self.status.is_server_error()
            && let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&self.body)
            && let Some(error) = body.get_mut("error").and_then(serde_json::Value::as_object_mut)
        {
            error.insert("request".to_owned(), id.into());
            self.body = body.to_string().into_bytes();
        }
        self.with(header::X_REQUEST_ID, id)
    }
}
