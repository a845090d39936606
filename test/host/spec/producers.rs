//! PROTOCOL.md 5.2.1: idempotent producers.

use super::{CLOSE, TEXT};
use crate::support::{Request, World, check};
use durable_streams::object::producers::PRODUCERS_KEPT_MAX;

/// An append by producer `p`.
fn by(epoch: u64, seq: u64) -> String {
    format!(
        "POST | content-type: text/plain | producer-id: p | producer-epoch: {epoch} | producer-seq: {seq} << {epoch}.{seq} "
    )
}

/// The same, and closes.
fn last(epoch: u64, seq: u64) -> String {
    by(epoch, seq).replace(" << ", " | stream-closed: true << ")
}

/// A close without a body.
fn close(epoch: u64, seq: u64) -> String {
    last(epoch, seq).split(" << ").next().unwrap().to_owned()
}

#[track_caller]
fn check_after(appends: &[(u64, u64)], request: &str, expected: &str) {
    let appends: Vec<String> = appends.iter().map(|(epoch, seq)| by(*epoch, *seq)).collect();
    let state: Vec<&str> = [TEXT].into_iter().chain(appends.iter().map(String::as_str)).collect();
    check(&state, request, expected);
}

#[test]
fn accepts_in_order() {
    check_after(
        &[],
        &by(0, 0),
        "200 | producer-epoch: 0 | producer-seq: 0 | stream-next-offset: @0_4 | !stream-closed <<",
    );
    check_after(&[(0, 0)], &by(0, 1), "200 | producer-epoch: 0 | producer-seq: 1 | stream-next-offset: @0_8");
    // A producer's first life may have any epoch.
    check_after(&[], &by(7, 0), "200 | producer-epoch: 7 | producer-seq: 0");
}

#[test]
fn a_duplicate_is_answered_with_the_highest_seq_and_not_stored() {
    let accepted = [(0, 0), (0, 1), (0, 2)];
    for seq in 0..=2 {
        check_after(
            &accepted,
            &by(0, seq),
            "204 | producer-epoch: 0 | producer-seq: 2 | stream-next-offset: @0_12 <<",
        );
    }
    let mut world = World::after(&[TEXT, &by(0, 0), &by(0, 1), &by(0, 0)]);
    world.ask("GET").assert_is("200 << 0.0 0.1 ");
}

#[test]
fn a_gap_names_what_is_expected() {
    check_after(
        &[(0, 0)],
        &by(0, 2),
        "409 | error: producer_gap | producer-expected-seq: 1 | producer-received-seq: 2 | !stream-closed",
    );
    // A producer that nobody knows begins at 0: pipelined batches that arrive in the wrong order heal.
    check_after(
        &[],
        &by(0, 3),
        "409 | error: producer_gap | producer-expected-seq: 0 | producer-received-seq: 3",
    );
    check_after(&[], &close(2, 1), "409 | producer-expected-seq: 0 | producer-received-seq: 1");
}

#[test]
fn epochs_only_grow() {
    check_after(&[(0, 0), (0, 1)], &by(1, 0), "200 | producer-epoch: 1 | producer-seq: 0");
    check_after(&[(0, 0)], &by(5, 0), "200 | producer-epoch: 5 | producer-seq: 0");
    check_after(&[(0, 0)], &by(1, 1), "400 | error: epoch_starts_at_zero");
    check_after(&[(0, 0), (1, 0)], &by(0, 1), "403 | error: stale_epoch | producer-epoch: 1 | !producer-seq");
    check_after(&[(0, 0), (1, 0)], &by(0, 0), "403 | producer-epoch: 1");
    // The new epoch counts from its own 0.
    check_after(
        &[(0, 0), (0, 1), (1, 0)],
        &by(1, 2),
        "409 | producer-expected-seq: 1 | producer-received-seq: 2",
    );
    check_after(&[(0, 0), (0, 1), (1, 0)], &by(1, 0), "204 | producer-epoch: 1 | producer-seq: 0");
}

#[test]
fn the_largest_numbers() {
    let most = 9_007_199_254_740_991;
    check_after(&[(most, 0)], &by(most, 1), "200 | producer-epoch: 9007199254740991");
    check_after(
        &[(0, 0)],
        &by(0, most),
        "409 | producer-expected-seq: 1 | producer-received-seq: 9007199254740991",
    );
}

#[test]
fn producers_do_not_know_each_other() {
    let other = by(0, 0).replace("id: p", "id: q");
    check_after(&[(3, 0), (3, 1)], &other, "200 | producer-epoch: 0 | producer-seq: 0");
    // Case and every byte count.
    check_after(&[(0, 0)], &by(0, 1).replace("id: p", "id: P"), "409 | producer-expected-seq: 0");
}

#[test]
fn all_three_headers_or_none() {
    let headers = ["producer-id: p", "producer-epoch: 0", "producer-seq: 0"];
    for bits in 1..7 {
        let chosen: Vec<&str> = (0..3).filter(|at| bits >> at & 1 == 1).map(|at| headers[at]).collect();
        let request = format!("POST | content-type: text/plain | {} << x", chosen.join(" | "));
        check(&[TEXT], &request, "400 | error: invalid_header");
    }
}

#[test]
fn numbers_that_are_none() {
    for value in ["", "-1", "+1", "1.0", "1e3", "x", " 1", "9007199254740992", "18446744073709551616"] {
        for name in ["producer-epoch", "producer-seq"] {
            let mut request = Request::parse(&by(0, 0));
            request.headers.iter_mut().find(|(found, _)| found == name).unwrap().1 = value.to_owned();
            World::after(&[TEXT]).send_answered(&request).assert_is("400 | error: invalid_header");
        }
    }
}

#[test]
fn ids_have_bounds() {
    for (id, expected) in [("", "400"), (&"p".repeat(1024), "200"), (&"p".repeat(1025), "400")] {
        let mut request = Request::parse(&by(0, 0));
        request.headers.iter_mut().find(|(name, _)| name == "producer-id").unwrap().1 = id.to_owned();
        World::after(&[TEXT]).send_answered(&request).assert_is(expected);
    }
}

#[test]
fn closes_with_a_last_append_and_its_retry() {
    check_after(
        &[(0, 0)],
        &last(0, 1),
        "200 | stream-closed: true | producer-seq: 1 | stream-next-offset: @0_8",
    );
    let (first, end) = (by(0, 0), last(0, 1));
    let closed = [TEXT, &first, &end];
    check(
        &closed,
        &end,
        "204 | stream-closed: true | producer-epoch: 0 | producer-seq: 1 | stream-next-offset: @0_8",
    );
    // The tuple is what is compared.
    check(&closed, &by(0, 1), "204 | stream-closed: true");
    check(&closed, &close(0, 1), "204 | stream-closed: true | producer-seq: 1");
    for other in [
        by(0, 0),
        by(0, 2),
        last(0, 2),
        by(1, 0),
        close(0, 0),
        close(1, 0),
        by(0, 1).replace("id: p", "id: q"),
    ] {
        check(&closed, &other, "409 | error: stream_closed | stream-closed: true | stream-next-offset: @0_8");
    }
    check(&closed, CLOSE, "204 | stream-closed: true | !producer-seq");
    check(&closed, "GET", "200 | stream-closed: true << 0.0 0.1 ");
}

#[test]
fn closes_without_a_body_and_its_retry() {
    let (first, end) = (by(0, 0), close(0, 1));
    check(
        &[TEXT, &first],
        &end,
        "204 | stream-closed: true | producer-epoch: 0 | producer-seq: 1 | stream-next-offset: @0_4",
    );
    check(&[TEXT, &first, &end], &end, "204 | stream-closed: true | producer-seq: 1");
    check(&[TEXT, &first, &end], &by(0, 2), "409 | error: stream_closed");
    check(&[TEXT, &first, CLOSE], &end, "409 | error: stream_closed | stream-closed: true");
}

#[test]
fn a_close_is_fenced_like_an_append() {
    check_after(&[(1, 0)], &close(0, 1), "403 | producer-epoch: 1 | !stream-closed");
    check_after(&[(1, 0)], &close(1, 2), "409 | producer-expected-seq: 1");
    check_after(&[(1, 0)], &close(2, 1), "400 | error: epoch_starts_at_zero");
    // A duplicate of an accepted append closes nothing.
    check_after(&[(1, 0)], &close(1, 0), "204 | producer-seq: 0 | !stream-closed");
}

/// The stream that is created again knows none of them.
#[test]
fn producers_end_with_the_stream() {
    check(&[TEXT, &by(3, 0), "DELETE", TEXT], &by(0, 0), "200 | producer-epoch: 0 | producer-seq: 0");
}

/// More of them than memory keeps: those that were dropped are still known.
#[test]
fn many_producers_write_in_turn() {
    let mut world = World::after(&[TEXT]);
    let request = |id: usize, seq: u64| by(0, seq).replace("id: p", &format!("id: p{id}"));
    for seq in 0..3 {
        for id in 0..=PRODUCERS_KEPT_MAX {
            world.ask(&request(id, seq)).assert_is("200");
        }
        for id in [0, 1, PRODUCERS_KEPT_MAX] {
            world.ask(&request(id, seq)).assert_is(&format!("204 | producer-seq: {seq}"));
            world.ask(&request(id, seq + 2)).assert_is("409 | error: producer_gap");
        }
    }
}
