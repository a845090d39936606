//! PROTOCOL.md 5.2.1: idempotent producers.

use super::{CLOSE, TEXT};
use crate::support::{Request, World, check};
use durable_streams::object::producers::{PRODUCERS_KEPT_MAX, ProducerLimits, STORED_EACH_APPENDS};
use durable_streams::stream::rotate::SegmentLimits;

/// An append by producer `p`.
fn by(epoch: u64, seq: u64) -> String {
    format!(
        "POST | content-type: text/plain | producer-id: p | producer-epoch: {epoch} | producer-seq: {seq} << {epoch}.{seq} "
    )
}

/// The same append, with a closure.
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
fn appends_in_sequence_are_accepted() {
    check_after(
        &[],
        &by(0, 0),
        "200 | producer-epoch: 0 | producer-seq: 0 | stream-next-offset: @0_4 | !stream-closed <<",
    );
    check_after(&[(0, 0)], &by(0, 1), "200 | producer-epoch: 0 | producer-seq: 1 | stream-next-offset: @0_8");
    // The first epoch of a producer may be any number.
    check_after(&[], &by(7, 0), "200 | producer-epoch: 7 | producer-seq: 0");
}

#[test]
fn duplicate_is_answered_with_the_highest_seq_and_not_stored() {
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
fn gap_is_refused_with_the_expected_seq() {
    check_after(
        &[(0, 0)],
        &by(0, 2),
        "409 | error: producer_gap | producer-expected-seq: 1 | producer-received-seq: 2 | !stream-closed",
    );
    // An unknown producer must begin at 0. Pipelined batches that arrive out of order then succeed on retry.
    check_after(
        &[],
        &by(0, 3),
        "409 | error: producer_gap | producer-expected-seq: 0 | producer-received-seq: 3",
    );
    check_after(&[], &close(2, 1), "409 | producer-expected-seq: 0 | producer-received-seq: 1");
}

#[test]
fn stale_epoch_is_fenced_and_a_new_epoch_starts_at_zero() {
    check_after(&[(0, 0), (0, 1)], &by(1, 0), "200 | producer-epoch: 1 | producer-seq: 0");
    check_after(&[(0, 0)], &by(5, 0), "200 | producer-epoch: 5 | producer-seq: 0");
    check_after(&[(0, 0)], &by(1, 1), "400 | error: epoch_starts_at_zero");
    check_after(&[(0, 0), (1, 0)], &by(0, 1), "403 | error: stale_epoch | producer-epoch: 1 | !producer-seq");
    check_after(&[(0, 0), (1, 0)], &by(0, 0), "403 | producer-epoch: 1");
    // Each epoch has its own sequence.
    check_after(
        &[(0, 0), (0, 1), (1, 0)],
        &by(1, 2),
        "409 | producer-expected-seq: 1 | producer-received-seq: 2",
    );
    check_after(&[(0, 0), (0, 1), (1, 0)], &by(1, 0), "204 | producer-epoch: 1 | producer-seq: 0");
}

#[test]
fn epoch_and_seq_go_up_to_the_largest_safe_integer() {
    let most = 9_007_199_254_740_991;
    check_after(&[(most, 0)], &by(most, 1), "200 | producer-epoch: 9007199254740991");
    check_after(
        &[(0, 0)],
        &by(0, most),
        "409 | producer-expected-seq: 1 | producer-received-seq: 9007199254740991",
    );
}

#[test]
fn producers_are_independent() {
    let other = by(0, 0).replace("id: p", "id: q");
    check_after(&[(3, 0), (3, 1)], &other, "200 | producer-epoch: 0 | producer-seq: 0");
    // Producer ids are compared byte by byte.
    check_after(&[(0, 0)], &by(0, 1).replace("id: p", "id: P"), "409 | producer-expected-seq: 0");
}

#[test]
fn producer_headers_come_all_or_none() {
    let headers = ["producer-id: p", "producer-epoch: 0", "producer-seq: 0"];
    for bits in 1..7 {
        let chosen: Vec<&str> = (0..3).filter(|at| bits >> at & 1 == 1).map(|at| headers[at]).collect();
        let request = format!("POST | content-type: text/plain | {} << x", chosen.join(" | "));
        check(&[TEXT], &request, "400 | error: invalid_header");
    }
}

#[test]
fn invalid_numbers_are_refused() {
    for value in ["", "-1", "+1", "1.0", "1e3", "x", " 1", "9007199254740992", "18446744073709551616"] {
        for name in ["producer-epoch", "producer-seq"] {
            let mut request = Request::parse(&by(0, 0));
            request.headers.iter_mut().find(|(found, _)| found == name).unwrap().1 = value.to_owned();
            World::after(&[TEXT]).send_answered(&request).assert_is("400 | error: invalid_header");
        }
    }
}

#[test]
fn producer_id_has_a_maximum_length() {
    for (id, expected) in [("", "400"), (&"p".repeat(1024), "200"), (&"p".repeat(1025), "400")] {
        let mut request = Request::parse(&by(0, 0));
        request.headers.iter_mut().find(|(name, _)| name == "producer-id").unwrap().1 = id.to_owned();
        World::after(&[TEXT]).send_answered(&request).assert_is(expected);
    }
}

#[test]
fn close_with_a_last_append_is_idempotent() {
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
    // Only producer id, epoch and sequence number are compared.
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
fn close_without_a_body_is_idempotent() {
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
fn close_is_fenced_like_an_append() {
    check_after(&[(1, 0)], &close(0, 1), "403 | producer-epoch: 1 | !stream-closed");
    check_after(&[(1, 0)], &close(1, 2), "409 | producer-expected-seq: 1");
    check_after(&[(1, 0)], &close(2, 1), "400 | error: epoch_starts_at_zero");
    // A duplicate of an append does not close the stream.
    check_after(&[(1, 0)], &close(1, 0), "204 | producer-seq: 0 | !stream-closed");
}

/// A recreated stream knows no producers.
#[test]
fn next_incarnation_forgets_producers() {
    check(&[TEXT, &by(3, 0), "DELETE", TEXT], &by(0, 0), "200 | producer-epoch: 0 | producer-seq: 0");
}

/// There are more producers than memory holds. The evicted ones are still known.
#[test]
fn producers_beyond_memory_are_still_known() {
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

// How producers are stored.

fn of(id: &str, seq: u64) -> String {
    by(0, seq).replace("id: p", &format!("id: {id}"))
}

fn stored(world: &World) -> Vec<(String, u64)> {
    let mut statement = world.sql.raw().prepare("SELECT id, seq FROM producers ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(|row| row.map(|(id, seq): (String, i64)| (id, seq as u64)).unwrap()).collect()
}

/// Every accepted append is known, and no other, with memory intact and after a restart.
fn check_known(world: &mut World, accepted: &[(&str, u64)]) {
    for restart in [false, true] {
        for (id, seq) in accepted {
            if restart {
                world.restart();
            }
            world.ask(&of(id, *seq)).assert_is(&format!("204 | producer-seq: {seq}"));
            world.ask(&of(id, seq + 2)).assert_is(&format!("409 | producer-expected-seq: {}", seq + 1));
        }
    }
    world.ask(&of("nobody", 1)).assert_is("409 | producer-expected-seq: 0");
}

/// A later version may only raise this number to a multiple: stored rows depend on it.
#[test]
fn producers_table_is_updated_every_256_appends() {
    assert_eq!(STORED_EACH_APPENDS, 256);
    assert_eq!(ProducerLimits::SERVED.stored_each_appends, STORED_EACH_APPENDS);
    let mut world = World::after(&[TEXT]);
    world.sql.take_rows_written();
    for seq in 0..STORED_EACH_APPENDS {
        assert!(!world.sql.tables().contains(&"producers".to_owned()), "{seq}");
        world.run(&[&of("p", seq)]);
    }
    assert_eq!(stored(&world), [("p".to_owned(), 255)]);
    assert_eq!(world.sql.take_rows_written(), STORED_EACH_APPENDS + 1);
    world.run(&[&of("q", 0), &of("p", 256)]);
    check_known(&mut world, &[("q", 0), ("p", 256)]);
    assert_eq!(stored(&world), [("p".to_owned(), 255)]);
}

/// Appends without a producer update the table, too, even if no producer has appended since the object's start.
#[test]
fn appends_without_a_producer_update_the_table() {
    for restart in [false, true] {
        let mut world = World::new();
        world.limit_producers(ProducerLimits { kept_max: 64, stored_each_appends: 4 });
        world.run(&[TEXT, &of("p", 0), &of("q", 0), &of("p", 1)]);
        if restart {
            world.restart();
        }
        world.sql.take_rows_written();
        world.run(&["POST | content-type: text/plain << x"]);
        assert_eq!(world.sql.take_rows_written(), 3);
        assert_eq!(stored(&world), [("p".to_owned(), 1), ("q".to_owned(), 0)]);
        // Nothing is newer than the table, so nothing is written.
        for _ in 0..4 {
            world.run(&["POST | content-type: text/plain << x"]);
        }
        assert_eq!(world.sql.take_rows_written(), 4);
        check_known(&mut world, &[("p", 1), ("q", 0)]);
    }
}

/// Producers without room in memory are stored with each append, until there is room.
#[test]
fn producers_without_room_in_memory_are_stored_with_each_append() {
    let mut world = World::new();
    world.limit_producers(ProducerLimits { kept_max: 2, stored_each_appends: 8 });
    world.run(&[TEXT]);
    world.sql.take_rows_written();
    let rows = |world: &mut World, request: &str| {
        world.run(&[request]);
        world.sql.take_rows_written()
    };
    let written =
        [of("a", 0), of("b", 0), of("c", 0), of("c", 1), of("a", 1)].map(|one| rows(&mut world, &one));
    assert_eq!(written, [1, 1, 2, 2, 1]);
    assert_eq!(stored(&world), [("c".to_owned(), 1)]);
    check_known(&mut world, &[("a", 1), ("b", 0), ("c", 1)]);
    // The eighth append stores all producers, and those without recent appends make room.
    let written =
        [of("a", 2), of("b", 1), of("a", 3), of("c", 2), of("d", 0)].map(|one| rows(&mut world, &one));
    assert_eq!(written, [1, 1, 3, 1, 1]);
    check_known(&mut world, &[("a", 3), ("b", 1), ("c", 2), ("d", 0)]);
}

/// A later version may update the table less often, by a multiple of this one's number. It must not miss appends that
/// are newer than the table.
#[test]
fn update_interval_may_grow() {
    let mut world = World::new();
    world.limit_producers(ProducerLimits { kept_max: 1, stored_each_appends: 3 });
    world.run(&[TEXT, &of("a", 0), &of("b", 0), &of("c", 0), &of("d", 0), &of("a", 1)]);
    assert_eq!(stored(&world), [("a", 1), ("b", 0), ("c", 0)].map(|(id, seq)| (id.to_owned(), seq)));
    world.limit_producers(ProducerLimits { kept_max: 1, stored_each_appends: 6 });
    check_known(&mut world, &[("a", 1), ("b", 0), ("c", 0), ("d", 0)]);
}

/// Rotation deletes a segment's rows, so the producers in them are stored in the table before.
#[test]
fn rotation_does_not_lose_producers() {
    for rotates in [false, true] {
        let mut world = World::new();
        world.rotates = rotates;
        world.limit_segments(Some(SegmentLimits { appends_max: 3, bytes_max: 1000, closed_bytes_min: 1 }));
        world.run(&[TEXT, &of("p", 0), &of("q", 0), &of("p", 1), &of("q", 1)]);
        assert_eq!(stored(&world), [("p".to_owned(), 1), ("q".to_owned(), 0)]);
        check_known(&mut world, &[("p", 1), ("q", 1)]);
        world.run(&["POST | content-type: text/plain << x", "POST | content-type: text/plain << x"]);
        check_known(&mut world, &[("p", 1), ("q", 1)]);
    }
}

/// An append of many rows counts once. The object searches rows back to the last update of the table only.
#[test]
fn append_of_many_rows_counts_once() {
    let mut world = World::new();
    world.limit_producers(ProducerLimits { kept_max: 64, stored_each_appends: 4 });
    world.run(&["PUT | content-type: application/octet-stream"]);
    let large = |id: &str, seq: u64| {
        let request = of(id, seq).replace("text/plain", "application/octet-stream");
        Request::parse(&request).body(vec![b'x'; 3 << 20])
    };
    for (id, seq) in [("p", 0), ("q", 0), ("p", 1), ("p", 2), ("q", 1), ("r", 0)] {
        world.send_answered(&large(id, seq)).assert_is("200");
    }
    assert_eq!(stored(&world), [("p".to_owned(), 2), ("q".to_owned(), 0)]);
    for (id, seq) in [("p", 2), ("q", 1), ("r", 0)] {
        world.restart();
        world.send_answered(&large(id, seq)).assert_is(&format!("204 | producer-seq: {seq}"));
    }
}
