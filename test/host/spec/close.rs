//! PROTOCOL.md 4.1 and 5.3: closing.

use super::{BYTES, CLOSE, HELLO, JSON, TEXT};
use crate::support::check;

#[test]
fn closes_once_and_for_all() {
    check(
        &[TEXT, HELLO],
        CLOSE,
        "204 | stream-closed: true | stream-next-offset: @0_5 | cache-control: no-store <<",
    );
    check(&[TEXT, HELLO, CLOSE], CLOSE, "204 | stream-closed: true | stream-next-offset: @0_5");
    check(&[TEXT], "POST | stream-closed: TrUe", "204 | stream-closed: true | stream-next-offset: @0_0");
    check(&[], CLOSE, "404 | error: stream_not_found");
}

/// A close-only request may carry any type: libraries attach one.
#[test]
fn the_type_of_nothing_does_not_matter() {
    for content_type in ["application/json", "nonsense", "text/plain"] {
        check(
            &[BYTES],
            &format!("POST | stream-closed: true | content-type: {content_type}"),
            "204 | stream-closed: true",
        );
    }
    // A JSON body is not empty even when it holds nothing.
    check(
        &[JSON],
        "POST | stream-closed: true | content-type: application/json << []",
        "400 | error: empty_batch",
    );
}

/// Readers see the end only where they have reached it.
#[test]
fn closure_shows_at_the_tail() {
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
