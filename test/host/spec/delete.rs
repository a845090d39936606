//! PROTOCOL.md 5.4 and 5.5: DELETE, a URL's next incarnation, and HEAD.

use super::{CLOSE, HELLO, JSON, TEXT};
use crate::support::check;

#[test]
fn deleted_stream_is_not_found() {
    check(&[TEXT, HELLO], "DELETE", "204 | cache-control: no-store | !stream-next-offset <<");
    check(&[], "DELETE", "404");
    for request in [
        "GET",
        "HEAD",
        HELLO,
        CLOSE,
        "DELETE",
        "GET ?offset=@0_5",
        "GET ?offset=now&live=long-poll",
        "GET ?offset=-1&live=sse",
    ] {
        check(&[TEXT, HELLO, "DELETE"], request, "404 | error: stream_not_found | !stream-next-offset");
    }
}

/// The next incarnation continues the segment numbers, so that no offset of an earlier one is valid in it.
#[test]
fn offsets_of_an_earlier_incarnation_are_gone() {
    let again = [TEXT, HELLO, "DELETE", JSON];
    check(
        &[TEXT, HELLO, "DELETE"],
        "PUT | content-type: text/html << x",
        "201 | location | stream-next-offset: @1_1",
    );
    check(&again, "GET", "200 | content-type: application/json | stream-next-offset: @1_0 << []");
    check(&again, "GET ?offset=@0_5", "410 | error: offset_gone | stream-next-offset: @1_0");
    check(&again, "GET ?offset=@0_2", "410");
    check(&again, "GET ?offset=@0_5&live=long-poll", "410");
    check(&again, "GET ?offset=@0_5&live=sse", "410");
    check(&again, "GET ?offset=@1_1", "400 | error: offset_beyond_tail");
    check(&again, "GET ?offset=@2_0", "400 | error: offset_beyond_tail");
    check(&again, "GET ?offset=@0_0", "410 | error: offset_gone | stream-next-offset: @1_0");
    // `-1` is the start of the current incarnation.
    check(&again, "GET ?offset=-1", "200 | stream-next-offset: @1_0 << []");
    check(
        &[TEXT, "DELETE", TEXT, HELLO, "DELETE", TEXT, HELLO],
        "GET ?offset=@1_5",
        "410 | stream-next-offset: @2_0",
    );
    check(
        &[TEXT, "DELETE", TEXT, HELLO, "DELETE", TEXT, HELLO],
        "GET",
        "200 | stream-next-offset: @2_5 << hello",
    );
}

#[test]
fn next_incarnation_inherits_no_state() {
    let seq = "POST | content-type: text/plain | stream-seq: z << x";
    check(&[TEXT, seq, "DELETE", TEXT], "POST | content-type: text/plain | stream-seq: a << x", "204");
    check(&[TEXT, CLOSE, "DELETE", TEXT], HELLO, "204 | !stream-closed");
    check(&["PUT | stream-ttl: 9", "DELETE", TEXT], "HEAD", "200 | !stream-ttl");
}

#[test]
fn head_returns_metadata_without_a_body() {
    check(
        &[TEXT, HELLO],
        "HEAD",
        "200 | content-type: text/plain | stream-next-offset: @0_5 | !stream-closed | !stream-ttl | \
         !stream-expires-at | cache-control: no-store | !etag <<",
    );
    check(&["PUT | stream-ttl: 3600"], "HEAD", "200 | stream-ttl: 3600 | !stream-expires-at");
    check(
        &["PUT | stream-expires-at: 2031-01-01T02:00:00+02:00"],
        "HEAD",
        "200 | stream-expires-at: 2031-01-01T00:00:00Z | !stream-ttl",
    );
    check(&[], "HEAD", "404");
}
