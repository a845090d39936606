//! Webhook responses: the outcome of a delivery.

use durable_streams::subscription::delivery::Delivered;
use durable_streams::subscription::response::WebhookResponse;

fn outcome(status: u16, is_done: bool) -> Delivered {
    Delivered::of(&WebhookResponse { status, is_done, text: "why", wait: Some(7000), is_unsent: false })
}

fn failed(message: &str, retry_after: Option<u64>, is_gone: bool) -> Delivered {
    Delivered::Failed { message: message.to_owned(), retry_after, is_gone }
}

#[test]
fn webhook_responses_are_done_only_if_2xx() {
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(outcome(status, true), Delivered::Done);
        assert_eq!(outcome(status, false), Delivered::Accepted);
    }
    for status in [199, 300, 302, 400, 404, 500] {
        assert!(matches!(outcome(status, true), Delivered::Failed { .. }), "{status}");
    }
}

#[test]
fn webhook_responses_that_fail_say_why_and_when_to_retry() {
    let cases = [
        (0, failed("why", None, false)),
        (302, failed("status 302 (redirects are not followed): why", None, false)),
        (399, failed("status 399 (redirects are not followed): why", None, false)),
        (404, failed("status 404: why", None, false)),
        (410, failed("status 410: why", None, true)),
        (429, failed("status 429: why", Some(7000), false)),
        (500, failed("status 500: why", None, false)),
        (503, failed("status 503: why", Some(7000), false)),
    ];
    for (status, expected) in cases {
        assert_eq!(outcome(status, false), expected);
    }
    let silent = WebhookResponse { status: 500, is_done: false, text: "", wait: None, is_unsent: false };
    assert_eq!(Delivered::of(&silent), failed("status 500", None, false));
}

/// The endpoint is not the cause if the server could not send the delivery.
#[test]
fn webhook_responses_tell_a_delivery_that_was_not_sent() {
    let unsent = WebhookResponse { status: 0, is_done: false, text: "no key", wait: None, is_unsent: true };
    assert_eq!(Delivered::of(&unsent), Delivered::Unsent { message: "no key".into() });
}
