//! PROTOCOL.md 4.1 and 5.3: closure.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::check;

#[test]
fn close_is_permanent_and_idempotent() {
    check(
        &[TEXT, HELLO],
        CLOSE,
        "204 | stream-closed: true | stream-next-offset: @0_5 | cache-control: no-store <<",
    );
    check(&[TEXT, HELLO, CLOSE], CLOSE, "204 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT], "POST | stream-closed: TrUe", "204 | stream-closed: true | stream-next-offset: @0_0");
    check(&[], CLOSE, "404 | error: stream_not_found");
}

/// HTTP libraries add a content type of their own, so a close without a body may carry any.
#[test]
fn content_type_of_a_close_without_a_body_is_ignored() {
    for content_type in ["application/json", "nonsense", "text/plain"] {
        check(
            &[BYTES],
            &format!("POST | stream-closed: true | content-type: {content_type}"),
            "204 | stream-closed: true",
        );
    }
    // The body `[]` is not empty, although it holds no message.
    check(
        &[JSON],
        "POST | stream-closed: true | content-type: application/json << []",
        "400 | error: empty_batch",
    );
}

/// Readers see the closure only in the response that reaches the tail.
#[test]
fn closure_shows_at_the_tail_only() {
    let state = [TEXT, HELLO, CLOSE];
    check(&state, "HEAD", "200 | stream-closed: true | stream-next-offset: @0_5");
    check(
        &state,
        "GET ?offset=@0_5",
        "200 | stream-closed: true | stream-up-to-date: true | stream-next-offset: @0_5 <<",
    );
    check(&state, "GET ?offset=@0_2", "200 | stream-closed: true << llo");
    check(&[JSON, CLOSE], "GET", "200 | stream-closed: true << []");
}
