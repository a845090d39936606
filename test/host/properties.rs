//! Properties that hold for all inputs: offsets, JSON, event text, tags, paths and segments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durable_streams::protocol::SAFE_INTEGER_MAX;
use durable_streams::protocol::content_type::Format;
use durable_streams::protocol::etag;
use durable_streams::protocol::json::{Messages, after, each_message, first};
use durable_streams::protocol::offset::{Offset, ReadFrom};
use durable_streams::protocol::path::StreamPath;
use durable_streams::protocol::sse::{Control, Events};
use durable_streams::protocol::text::may_part;
use durable_streams::storage::segment_file::{BLOCK_BYTES, Encoded, Writer};
use durable_streams::storage::segments::{key, parse_key};
use durable_streams::stream::content::Content;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{all_messages, compact, event_source};

const DIGITS_MAX: u64 = 9_999_999_999_999_999;

/// Prints failures instead of saving them. The number of cases suits a debug build.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

fn offset() -> impl Strategy<Value = Offset> {
    let number = || prop_oneof![0..3u64, 0..=DIGITS_MAX];
    (number(), number()).prop_map(|(segment, position)| Offset { segment, position })
}

/// JSON of every shape, written with whitespace, duplicate keys and odd numbers.
fn json() -> impl Strategy<Value = String> {
    let space = || prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r ")];
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\u00e9\\/\\ud83d\\ude00\"".to_owned()),
        Just("\"],[\\\\\\\"\"".to_owned()),
    ];
    let number = prop_oneof![
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("1e3".to_owned()),
        any::<i64>().prop_map(|n| n.to_string())
    ];
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, string.clone()];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let padded =
            (space(), inner, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let member = (string.clone(), padded.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(padded, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Text with unusually many line ends, colons and spaces.
fn lines() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just(" ".to_owned()),
        Just(":".to_owned()),
        Just("data: ".to_owned()),
        Just("\u{feff}".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Bytes that are mostly valid UTF-8.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"a".to_vec()),
        Just("\u{e9}".as_bytes().to_vec()),
        Just("\u{20ac}".as_bytes().to_vec()),
        Just("\u{1f600}".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..3),
        Just(vec![0xf0, 0x9f]),
        Just(vec![0xed, 0xa0]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn messages_of(joined: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    each_message(joined, &mut |message| {
        messages.push(String::from_utf8(message.to_vec()).unwrap());
        true
    });
    messages
}

fn events_of(format: Format, data: &[u8], next: Offset) -> Vec<event_source::Event> {
    let mut out = Vec::new();
    let control = Control { next, cursor: 1, up_to_date: true, closed: false };
    Events::of(format, data, &[]).write(&mut out, control);
    event_source::parse(&out)
}

/// Messages, some so large that a few of them need several blocks. Their bytes repeat their number.
fn segment_messages() -> impl Strategy<Value = Vec<String>> {
    let length = prop_oneof![4 => 1..40usize, 2 => 1000..30_000usize, 1 => BLOCK_BYTES - 8..BLOCK_BYTES + 8, 1 => 70_000..200_000usize];
    prop::collection::vec(length, 1..14).prop_map(|lengths| {
        let digits = |n: usize, length| format!("{:x}", n + 1).chars().cycle().take(length).collect();
        lengths.into_iter().enumerate().map(|(n, length)| digits(n, length)).collect()
    })
}

fn segment_of(format: Format, messages: &[String]) -> Encoded {
    let mut writer = Writer::new("a/b", 0, 0);
    for message in messages {
        writer.push(message.as_bytes(), span_of(format, message));
    }
    writer.finish()
}

fn span_of(format: Format, message: &str) -> u64 {
    if format == Format::Json { 1 } else { message.len() as u64 }
}

/// Whether a position is one byte after the beginning of a longer message.
fn is_one_inside(messages: &[String], until: u64, position: usize) -> bool {
    let mut begins = 0;
    messages.iter().any(|message| {
        let end = (begins + message.len()).min(until as usize);
        let is_inside = position == begins + 1 && position < end;
        begins += message.len();
        is_inside
    })
}

/// Chunk sizes around nothing, a message, a block, and everything.
fn chunk_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![1..50usize, 1000..20_000usize, BLOCK_BYTES - 2..BLOCK_BYTES + 2, 100_000..2_000_000usize]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn offset_round_trips(offset in offset()) {
        let text = offset.to_string();
        prop_assert_eq!(text.len(), Offset::TEXT_BYTES);
        prop_assert_eq!(Offset::parse(&text), Some(offset));
        let expected = ReadFrom::At(offset);
        prop_assert_eq!(ReadFrom::parse(&text), Some(expected));
    }

    #[test]
    fn text_order_is_offset_order(one in offset(), other in offset()) {
        prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
    }

    #[test]
    fn only_canonical_text_is_an_offset(text in "[0-9_+x -]{30,36}|\\PC{0,40}") {
        if let Some(offset) = Offset::parse(&text) {
            prop_assert_eq!(offset.to_string(), text);
        }
    }

    /// The messages are the elements that serde_json finds, with their original bytes but no white space
    /// between tokens.
    #[test]
    fn json_messages_are_the_elements_of_the_array(items in prop::collection::vec(json(), 1..6)) {
        let body = format!(" [{}]\n", items.join(" ,\t"));
        let messages = Messages::parse(body.as_bytes()).unwrap();
        prop_assert_eq!(messages.count, items.len() as u64);
        let found = messages_of(&messages.joined);
        let items: Vec<String> = items.iter().map(|item| compact(item)).collect();
        prop_assert_eq!(&found, &items);
        let content = Content::of_body(Format::Json, body.as_bytes()).unwrap();
        let mut visited = Vec::new();
        content.each_json_message(&mut |message| visited.push(String::from_utf8(message.to_vec()).unwrap()));
        prop_assert_eq!(&visited, &items);
        let whole: Vec<Value> = serde_json::from_str(&body).unwrap();
        let stored: Vec<Value> = serde_json::from_str(&format!("[{}]", found.join(","))).unwrap();
        prop_assert_eq!(stored, whole);
        for skip in 0..=items.len() {
            let rest = after(&messages.joined, skip as u64);
            prop_assert_eq!(messages_of(rest), &found[skip..]);
            prop_assert!(messages.joined.ends_with(rest));
            prop_assert_eq!(messages_of(first(&messages.joined, skip as u64)), &found[..skip]);
        }
    }

    /// A body is accepted exactly if serde_json parses it as a `Value`. (A `Value` also excludes lone
    /// surrogates and huge numbers, which do not occur here.)
    #[test]
    fn json_is_accepted_as_by_serde_json(body in prop_oneof![json(), "[\\[\\]{},:\"01ae. -]{0,12}"]) {
        let value = serde_json::from_str::<Value>(&body);
        match (Messages::parse(body.as_bytes()), value) {
            (Ok(messages), Ok(Value::Array(items))) => prop_assert_eq!(messages.count, items.len() as u64),
            (Ok(messages), Ok(_)) => {
                prop_assert_eq!(messages.count, 1);
                prop_assert_eq!(String::from_utf8_lossy(&messages.joined), compact(&body));
            }
            (Err(_), Err(_)) => {}
            (taken, value) => prop_assert!(false, "{:?}: {:?} but {:?}", body, taken, value),
        }
    }

    /// Stored rows that are not JSON do not panic either.
    #[test]
    fn json_functions_never_panic(body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), "[\\[\\]{},:\"\\\\01ae. -]{0,24}".prop_map(String::into_bytes)], count in 0..9u64) {
        let _any = Messages::parse(&body);
        let (rest, begin) = (after(&body, count), first(&body, count));
        prop_assert!(body.ends_with(rest) && body.starts_with(begin));
    }

    /// One data event carries the whole text, apart from the kind of its line ends.
    #[test]
    fn text_round_trips_through_events(text in lines(), next in offset()) {
        let events = events_of(Format::Text, text.as_bytes(), next);
        let normalised = text.replace("\r\n", "\n").replace('\r', "\n");
        if text.is_empty() {
            prop_assert_eq!(events.len(), 1);
        } else {
            prop_assert_eq!(events.len(), 2);
            prop_assert_eq!(&events[0].data, &normalised);
            prop_assert_eq!(&events[0].name, "data");
        }
        prop_assert!(events.iter().all(|event| event.id == next.to_string()));
        let control: Value = serde_json::from_str(&events.last().unwrap().data).unwrap();
        prop_assert_eq!(&control["streamNextOffset"], &Value::String(next.to_string()));
    }

    #[test]
    fn json_round_trips_through_events(items in prop::collection::vec(json(), 1..4), next in offset()) {
        let body = format!("[{}]", items.join(","));
        let events = events_of(Format::Json, body.as_bytes(), next);
        prop_assert_eq!(events.len(), 2);
        prop_assert_eq!(serde_json::from_str::<Value>(&events[0].data).unwrap(), serde_json::from_str::<Value>(&body).unwrap());
    }

    #[test]
    fn bytes_round_trip_through_events(bytes in prop::collection::vec(any::<u8>(), 1..200), next in offset()) {
        let events = events_of(Format::Binary, &bytes, next);
        prop_assert_eq!(STANDARD.decode(&events[0].data).unwrap(), bytes);
    }

    /// `bytes_at_most` decides whether new messages are pushed, so it must be an upper bound.
    #[test]
    fn events_are_within_their_upper_bound(text in lines(), bytes in nearly_text(), next in offset()) {
        for (format, data) in [(Format::Json, text.as_bytes()), (Format::Text, text.as_bytes()), (Format::Binary, &bytes[..])] {
            // An array has brackets, so it is never empty.
            let data = &[b"[", data, b"]"].concat();
            let (mut out, events) = (Vec::new(), Events::of(format, data, &[]));
            events.write(&mut out, Control { next, cursor: u64::MAX, up_to_date: true, closed: false });
            prop_assert!(out.len() <= events.bytes_at_most());
        }
    }

    /// Splitting text where `may_part` allows it does not change what a reader receives. Such a point is at
    /// most four bytes away.
    #[test]
    fn split_text_reads_as_the_whole(text in nearly_text(), more in nearly_text(), at in any::<prop::sample::Index>()) {
        let at_once = [&text[..], &more].concat();
        let cut = at.index(at_once.len() + 1);
        let is_known = at.index(2) == 0;
        let may_part_at = |at: usize| may_part(&at_once[..at], at_once.get(at).copied().filter(|_| is_known || at < cut));
        let nearest = (cut.saturating_sub(3)..=cut).rev().find(|at| may_part_at(*at));
        let near = nearest.expect("text may be split within four bytes").min(cut);
        let (head, tail) = at_once.split_at(near);
        let in_parts = String::from_utf8_lossy(head).into_owned() + &String::from_utf8_lossy(tail);
        prop_assert_eq!(in_parts, String::from_utf8_lossy(&at_once));
        prop_assert!(!(head.ends_with(b"\r") && tail.starts_with(b"\n")));
    }

    #[test]
    fn valid_text_is_split_between_characters(text in any::<String>(), at in any::<prop::sample::Index>()) {
        let cut = at.index(text.len() + 1);
        let after = text.as_bytes().get(cut).copied();
        let is_line_end = cut > 0 && text[..].as_bytes()[cut - 1] == b'\r' && after == Some(b'\n');
        let is_known = after.is_none_or(|after| may_part(&text.as_bytes()[..cut], Some(after)));
        prop_assert_eq!(is_known, text.is_char_boundary(cut) && !is_line_end);
    }

    /// A list matches a tag exactly if one of its members is the tag, weak or not.
    #[test]
    fn if_none_match_matches_any_tag_of_its_list(others in prop::collection::vec("(W/)?\"[!#-+\\--~]{0,8}\"", 0..4), at in any::<prop::sample::Index>(), weak in any::<bool>(), start in offset(), end in offset(), closed in any::<bool>()) {
        let tag = etag::of_range(1, start, end, closed);
        prop_assert!(!etag::matches(&others.join(","), &tag));
        let mut list = others;
        list.insert(at.index(list.len() + 1), if weak { format!("W/{tag}") } else { tag.clone() });
        prop_assert!(etag::matches(&list.join(" , "), &tag));
        prop_assert!(!etag::matches(&list.join(","), &etag::of_range(2, start, end, closed)));
        prop_assert!(!etag::matches(&list.join(","), &etag::of_range(1, start, end, !closed)));
    }

    /// A normalised path parses to itself, however it is escaped.
    #[test]
    fn normalised_path_parses_to_itself(raw in prop_oneof!["([a-z.%/]|%2[fFeE]|%25|__ds|/__ds|__registry__){0,12}", "\\PC{0,24}"]) {
        if let Ok(path) = StreamPath::parse(&raw) {
            let escaped = utf8_percent_encode(path.as_str(), NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(StreamPath::parse(&escaped).unwrap(), path.clone());
            let text = path.as_str();
            prop_assert!(!text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control));
            prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            let is_servers = match text.split('/').collect::<Vec<_>>()[..] {
                ["__registry__"] => false,
                ["__ds" | "__registry__", ..] | [_, "__ds", ..] => true,
                _ => false,
            };
            prop_assert_eq!(path.is_reserved(), is_servers);
        }
    }

    /// A key parses back to its segment, and no other text does.
    #[test]
    fn segment_key_round_trips(raw in "[^\\\\%]{1,24}", incarnation in 1..=SAFE_INTEGER_MAX, segment in 0..=DIGITS_MAX, at in any::<prop::sample::Index>(), other in "[0-9A-Za-z/+_=.-]") {
        let Some(path) = StreamPath::of_text(raw).ok().filter(|path| !path.is_reserved()) else { return Ok(()) };
        let segment = segment.min(SAFE_INTEGER_MAX);
        let text = key(path.as_str(), incarnation, segment);
        prop_assert_eq!(parse_key(&text), Some((path, incarnation, segment)));
        let at = at.index(text.len());
        for damaged in [format!("{}{}", &text[..at], &text[at + 1..]), format!("{}{other}{}", &text[..at], &text[at..])] {
            if let Some((path, incarnation, segment)) = parse_key(&damaged) {
                prop_assert_eq!(key(path.as_str(), incarnation, segment), damaged);
            }
        }
    }

    #[test]
    fn only_canonical_text_is_a_segment_key(text in "([A-Za-z0-9_=-]{0,6}/[0-9+]{0,3}/[0-9+-]{0,18})|\\PC{0,40}") {
        if let Some((path, incarnation, segment)) = parse_key(&text) {
            prop_assert_eq!(key(path.as_str(), incarnation, segment), text);
        }
    }

    /// A range consists of whole blocks: at least `max_bytes` from the position on, and at most about two
    /// blocks more. A block is smaller than `BLOCK_BYTES` plus one message.
    #[test]
    fn range_consists_of_whole_blocks(messages in segment_messages(), json in any::<bool>(), at in any::<prop::sample::Index>(), max_bytes in chunk_bytes()) {
        let format = if json { Format::Json } else { Format::Binary };
        let Encoded { index, .. } = segment_of(format, &messages);
        let mut bounds: Vec<u64> = index.blocks.iter().map(|block| block.at_byte).collect();
        bounds.push(index.end_byte);
        let largest_message = messages.iter().map(String::len).max().unwrap();
        let largest_block = bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        prop_assert!(largest_block < (BLOCK_BYTES + 4 + largest_message) as u64);
        let end: u64 = messages.iter().map(|message| span_of(format, message)).sum();
        let position = at.index(end as usize) as u64;
        let range = index.range(format, position, max_bytes);
        let first = bounds.iter().position(|bound| *bound == range.start).expect("a range begins with a block");
        prop_assert!(bounds[first + 1..].contains(&range.end), "a range ends with a block");
        prop_assert!(index.blocks[first].position <= position);
        prop_assert!(index.blocks.get(first + 1).is_none_or(|next| next.position > position));
        let fetched = range.end - range.start;
        prop_assert!(fetched < max_bytes as u64 + 2 * largest_block);
        prop_assert!(fetched >= max_bytes as u64 || range.end == index.end_byte);
    }

    /// Reading chunk by chunk from any position returns the written bytes. A chunk ends at `max_bytes` or at
    /// the range's end.
    #[test]
    fn bytes_round_trip_through_segments(
        messages in segment_messages(),
        at in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
        max_bytes in chunk_bytes(),
    ) {
        let file = segment_of(Format::Binary, &messages);
        let whole = messages.concat();
        let mut position = at.index(whole.len());
        // A fork's inherited part may end at any byte.
        let until = (position + 1 + end.index(whole.len())) as u64;
        // A large segment is not read to its end in chunks of a few bytes.
        let stop = whole.len().min(position + 200 * max_bytes).min(until as usize);
        while position < stop {
            let range = file.index.range(Format::Binary, position as u64, max_bytes);
            let fetched = &file.pieces.concat()[range.start as usize..range.end as usize];
            let found = all_messages(&file.index, Format::Binary, range.start, fetched).unwrap();
            let (last_at, last) = found.last().unwrap();
            let from = Offset { segment: 3, position: position as u64 };
            let chunk =
                file.index.read(Format::Binary, from, until, range.start, fetched, max_bytes).unwrap();
            let begin = if is_one_inside(&messages, until, position) { position - 1 } else { position };
            let end = (begin + max_bytes).min(*last_at as usize + last.len()).min(until as usize);
            let end = match is_one_inside(&messages, until, end) {
                true if end - 1 > begin => end - 1,
                true => end + 1,
                false => end,
            };
            prop_assert!(end > position );
            prop_assert!(chunk.body == whole.as_bytes()[begin..end], "from {} to {}", begin, end);
            prop_assert_eq!(chunk.next, Offset { segment: 3, position: end as u64 });
            position = end;
        }
    }

    /// Reading chunk by chunk from any position returns each message once. A chunk is at most `max_bytes` plus
    /// its brackets, or a single message, and has as many fetched messages as fit.
    #[test]
    fn json_round_trips_through_segments(
        messages in segment_messages(),
        at in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
        max_bytes in chunk_bytes(),
    ) {
        let file = segment_of(Format::Json, &messages);
        let mut position = at.index(messages.len());
        let until = messages.len().min(position + 1 + end.index(messages.len()));
        while position < until {
            let range = file.index.range(Format::Json, position as u64, max_bytes);
            let fetched = &file.pieces.concat()[range.start as usize..range.end as usize];
            let found = all_messages(&file.index, Format::Json, range.start, fetched).unwrap();
            let from = Offset { segment: 3, position: position as u64 };
            let chunk =
                file.index.read(Format::Json, from, until as u64, range.start, fetched, max_bytes).unwrap();
            let end = chunk.next.position as usize;
            prop_assert!(end > position && end <= until && chunk.next.segment == 3);
            let array = |end: usize| format!("[{}]", messages[position..end].join(","));
            prop_assert!(chunk.body == array(end).as_bytes(), "from {} to {}", position, end);
            prop_assert!(end == position + 1 || chunk.body.len() <= max_bytes + 2);
            let was_fetched = found.last().unwrap().0 as usize >= end;
            prop_assert!(end == until || !was_fetched || array(end + 1).len() > max_bytes + 2);
            position = end;
        }
    }

    /// A changed byte is detected in every block.
    #[test]
    fn changed_byte_is_detected(messages in segment_messages(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let Encoded { pieces, index, .. } = segment_of(Format::Binary, &messages);
        let mut bytes = pieces.concat();
        let begins = index.blocks[0].at_byte;
        let at = begins as usize + at.index((index.end_byte - begins) as usize);
        bytes[at] ^= 1 << bit;
        let found = all_messages(&index, Format::Binary, begins, &bytes[begins as usize..index.end_byte as usize]);
        prop_assert!(found.is_err());
    }
}
