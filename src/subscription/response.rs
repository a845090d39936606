//! Interprets a webhook's response (PROTOCOL.md 7.1). The status codes here are the endpoint's, not this server's.

use super::delivery::Delivered;
use crate::protocol::Millis;

/// The response of a webhook, or the reason why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebhookResponse<'a> {
    /// Zero if there is no response.
    pub status: u16,
    /// Whether the body is `{"done":true}`.
    pub is_done: bool,
    /// The printable beginning of the body, or the reason.
    pub text: &'a str,
    /// The wait in `Retry-After`.
    pub wait: Option<Millis>,
    /// Whether the server could not send the delivery, so that the endpoint is not the cause.
    pub is_unsent: bool,
}

impl Delivered {
    /// The outcome of a delivery with this response.
    pub fn of(response: &WebhookResponse<'_>) -> Delivered {
        let WebhookResponse { status, is_done, text, wait, is_unsent } = *response;
        match status {
            _ if is_unsent => Delivered::Unsent { message: text.to_owned() },
            200..=299 if is_done => Delivered::Done,
            200..=299 => Delivered::Accepted,
            _ => Delivered::Failed {
                message: message(status, text),
                retry_after: wait.filter(|_| status == 429 || status == 503),
                is_gone: status == 410,
            },
        }
    }
}

fn message(status: u16, text: &str) -> String {
    if status == 0 {
        return text.to_owned();
    }
    let redirects = if (300..400).contains(&status) { " (redirects are not followed)" } else { "" };
    let separator = if text.is_empty() { "" } else { ": " };
    format!("status {status}{redirects}{separator}{text}")
}
