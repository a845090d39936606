//! Golden texts of the calls from the Worker and between objects. During a deployment the other side may run
//! the build before or after this one. So each text stays as it is, and unknown additions to it are ignored.

use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::details::{
    Details, ForksDetails, Inspected, ProducerDetails, ProducersDetails, ReadersDetails, RetentionDetails,
    SegmentDetails, SegmentsDetails, SourceDetails, SubscriptionsDetails,
};
use durable_streams::protocol::fork::{
    Goal, Inherit, Inheritance, InheritedEvents, Owner, Reference, Referenced, Release, Seek, Sought, Walk,
    Walked,
};
use durable_streams::protocol::fork_refusal::ForkRefusal;
use durable_streams::protocol::lifetime::Lifetime;
use durable_streams::protocol::listing::{Described, ListQuery, ListedStreams};
use durable_streams::protocol::metrics::{RegistryCounts, StreamCounts, SummaryCounts};
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::registry::{Record, RegistryEvent};
use durable_streams::protocol::sse::Mark;
use durable_streams::protocol::subscription::summary::{SubscriptionSummary, WakeTotals};
use serde_json::{Value, json};

const START: Offset = Offset { segment: 3, position: 5 };
const NEXT: Offset = Offset { segment: 3, position: 42 };
const AT: &str = r#"{"read_seq":3,"position":5}"#;
const TO: &str = r#"{"read_seq":3,"position":42}"#;

const TOTALS: WakeTotals = WakeTotals { wakes: 7, succeeded: 5, failed: 3, unsent: 1 };
const TOTALS_TEXT: &str = r#"{"wakes":7,"succeeded":5,"failed":3,"unsent":1}"#;

/// The JSON of each call.
fn calls() -> Vec<(Call, String)> {
    let link = || "e".to_owned();
    let reference = Reference {
        link: link(),
        fork: "b".into(),
        offset: Some(START),
        at: None,
        sub_offset: 2,
        content_type: None,
        valid_until: 7,
    };
    let inherit =
        Inherit { incarnation: 1, from: START, until: NEXT, max_bytes: 9, any_size: true, events: false };
    let events = Inherit { events: true, ..inherit.clone() };
    let walk = Walk { incarnation: 1, from: START, until: NEXT, count: 4 };
    let event = RegistryEvent { incarnation: 2, seq: 1, message: "{\"a\":1}".into() };
    let query = ListQuery { prefix: "a/".into(), after: String::new(), limit: 40, subscriptions: false };
    vec![
        (
            Call::Refer(reference.clone()),
            format!(
                r#"{{"Refer":{{"edge":"e","fork":"b","offset":{AT},"sub_offset":2,"content_type":null,"valid_until":7}}}}"#
            ),
        ),
        (
            Call::Release(Release { link: link(), valid_until: 7 }),
            r#"{"Release":{"edge":"e","valid_until":7}}"#.to_owned(),
        ),
        (
            Call::Inherit(inherit),
            format!(
                r#"{{"Inherit":{{"incarnation":1,"from":{AT},"until":{TO},"max_bytes":9,"any_size":true}}}}"#
            ),
        ),
        (
            Call::Inherit(events),
            format!(
                r#"{{"Inherit":{{"incarnation":1,"from":{AT},"until":{TO},"max_bytes":9,"any_size":true,"events":true}}}}"#
            ),
        ),
        (Call::Walk(walk), format!(r#"{{"Walk":{{"incarnation":1,"from":{AT},"until":{TO},"count":4}}}}"#)),
        (
            Call::Record(Record { path: "a/b".into(), events: vec![event], summary: None }),
            r#"{"Record":{"path":"a/b","events":[{"incarnation":2,"seq":1,"message":"{\"a\":1}"}]}}"#
                .to_owned(),
        ),
        (Call::List(query), r#"{"List":{"prefix":"a/","after":"","limit":40}}"#.to_owned()),
        (Call::Describe, r#""Describe""#.to_owned()),
        (Call::Count, r#""Count""#.to_owned()),
        (Call::Inspect, r#""Inspect""#.to_owned()),
        (
            Call::Orphans { keys: vec!["YQ/1/0".into()], deletes: true },
            r#"{"Orphans":{"keys":["YQ/1/0"],"deletes":true}}"#.to_owned(),
        ),
    ]
    .into_iter()
    .chain(calls_by_time(reference))
    .chain([summary()])
    .chain(crate::golden_subscriptions::calls())
    .collect()
}

/// The call with the summary of a subscription.
fn summary() -> (Call, String) {
    (
        Call::Record(Record {
            path: "a/b".into(),
            events: Vec::new(),
            summary: Some(SubscriptionSummary {
                number: 4,
                kind: "webhook".into(),
                status: "failed".into(),
                totals: TOTALS,
            }),
        }),
        format!(
            r#"{{"Record":{{"path":"a/b","events":[],"summary":{{"number":4,"kind":"webhook","status":"failed","totals":{TOTALS_TEXT}}}}}}}"#
        ),
    )
}

/// The calls of reads and forks that begin at a time or a number of messages before the end.
fn calls_by_time(reference: Reference) -> Vec<(Call, String)> {
    let by_time = Reference { offset: None, at: Some(6), ..reference };
    let seek = |goal| Seek { incarnation: 1, from: START, until: NEXT, goal };
    vec![
        (
            Call::Refer(by_time),
            r#"{"Refer":{"edge":"e","fork":"b","offset":null,"at":6,"sub_offset":2,"content_type":null,"valid_until":7}}"#
                .to_owned(),
        ),
        (
            Call::Seek(seek(Goal::Since(6))),
            format!(r#"{{"Seek":{{"incarnation":1,"from":{AT},"until":{TO},"goal":{{"Since":6}}}}}}"#),
        ),
        (
            Call::Seek(seek(Goal::Last(4))),
            format!(r#"{{"Seek":{{"incarnation":1,"from":{AT},"until":{TO},"goal":{{"Last":4}}}}}}"#),
        ),
    ]
}

/// The JSON of each answer.
fn answers() -> Vec<(Answered, String)> {
    let refused = refusals().map(|(refusal, text)| {
        let answer = Answered::Referenced(Referenced::Refused(refusal));
        (answer, format!(r#"{{"Referenced":{{"Refused":{text}}}}}"#))
    });
    let subscriptions = crate::golden_subscriptions::answers();
    no_refusals().into_iter().chain(refused).chain(subscriptions).collect()
}

fn no_refusals() -> Vec<(Answered, String)> {
    let owner = Owner { path: "a".into(), incarnation: 1, shift: 2, until: NEXT, hot_from: 3 };
    let granted = Inheritance {
        content_type: "text/plain".into(),
        lifetime: Lifetime::Ttl { seconds: 60 },
        start: START,
        anchor: NEXT,
        at: None,
        until: None,
        owners: vec![owner],
    };
    let described = Described {
        path: "a".into(),
        content_type: Some("text/plain".into()),
        created_at: Some(5),
        closed: Some(false),
        tail: Some(NEXT),
    };
    let begins = vec![Mark { at: 1, offset: START }];
    let listed =
        |next: Option<&str>| ListedStreams { paths: vec!["a".into()], next: next.map(str::to_owned) };
    vec![
        (
            Answered::Referenced(Referenced::Granted(Box::new(granted.clone()))),
            format!(
                r#"{{"Referenced":{{"Granted":{{"content_type":"text/plain","lifetime":{{"Ttl":{{"seconds":60}}}},"start":{AT},"anchor":{TO},"until":null,"owners":[{{"path":"a","incarnation":1,"shift":2,"until":{TO},"hot_from":3}}]}}}}}}"#
            ),
        ),
        (Answered::Released, r#""Released""#.to_owned()),
        (Answered::Inherited(NEXT), format!(r#"{{"Inherited":{TO}}}"#)),
        (
            Answered::InheritedEvents(InheritedEvents { next: NEXT, begins }),
            format!(r#"{{"InheritedEvents":{{"next":{TO},"begins":[{{"at":1,"offset":{AT}}}]}}}}"#),
        ),
        (Answered::Rotated(4), r#"{"Rotated":4}"#.to_owned()),
        (Answered::Walked(Walked { at: NEXT, left: 1 }), format!(r#"{{"Walked":{{"at":{TO},"left":1}}}}"#)),
        (Answered::Recorded, r#""Recorded""#.to_owned()),
        (Answered::Listed(listed(None)), r#"{"Listed":{"paths":["a"],"next":null}}"#.to_owned()),
        (Answered::Listed(listed(Some("b"))), r#"{"Listed":{"paths":["a"],"next":"b"}}"#.to_owned()),
        (
            Answered::Described(Some(described)),
            r#"{"Described":{"path":"a","contentType":"text/plain","createdAt":5,"closed":false,"tail":"0000000000000003_0000000000000042"}}"#
                .to_owned(),
        ),
        (Answered::Described(None), r#"{"Described":null}"#.to_owned()),
        (Answered::Orphans(vec!["YQ/1/0".into()]), r#"{"Orphans":["YQ/1/0"]}"#.to_owned()),
        (Answered::Unknown, r#""Unknown""#.to_owned()),
    ]
    .into_iter()
    .chain(found(granted))
    .chain(counted())
    .collect()
}

/// The answers of a registry about its streams and subscriptions.
fn counted() -> [(Answered, String); 2] {
    [
        (
            Answered::Counted(RegistryCounts {
                counted: Some(StreamCounts { streams: 1, created: 3, deleted: 2, subscriptions: 4 }),
                written_at: Some(7),
                ..RegistryCounts::default()
            }),
            r#"{"Counted":{"counted":{"streams":1,"created":3,"deleted":2,"subscriptions":4},"written_at":7}}"#
                .to_owned(),
        ),
        (
            Answered::Counted(RegistryCounts {
                counted: None,
                written_at: None,
                summaries: vec![SummaryCounts {
                    kind: "webhook".into(),
                    status: "failed".into(),
                    subscriptions: 2,
                    totals: TOTALS,
                }],
                lag: Some(9),
            }),
            format!(
                r#"{{"Counted":{{"counted":null,"written_at":null,"summaries":[{{"kind":"webhook","status":"failed","subscriptions":2,"totals":{TOTALS_TEXT}}}],"lag":9}}}}"#
            ),
        ),
    ]
}

/// The answers about times and numbers of messages, and descriptions.
fn found(granted: Inheritance) -> Vec<(Answered, String)> {
    let granted_by_time = Inheritance { at: Some(6), owners: Vec::new(), ..granted };
    vec![
        (
            Answered::Referenced(Referenced::Granted(Box::new(granted_by_time))),
            format!(
                r#"{{"Referenced":{{"Granted":{{"content_type":"text/plain","lifetime":{{"Ttl":{{"seconds":60}}}},"start":{AT},"anchor":{TO},"at":6,"until":null,"owners":[]}}}}}}"#
            ),
        ),
        (
            Answered::Sought(Sought { at: Some(NEXT), left: 1 }),
            format!(r#"{{"Sought":{{"at":{TO},"left":1}}}}"#),
        ),
        (Answered::Sought(Sought { at: None, left: 0 }), r#"{"Sought":{"at":null,"left":0}}"#.to_owned()),
        (Answered::Inspected(Inspected::Found(Box::new(details()))), DETAILS.to_owned()),
        (Answered::Inspected(Inspected::NotFound), r#"{"Inspected":"NotFound"}"#.to_owned()),
        (Answered::Inspected(Inspected::Gone), r#"{"Inspected":"Gone"}"#.to_owned()),
    ]
}

const DETAILS: &str = r#"{"Inspected":{"Found":{"path":"a","contentType":"text/plain","createdAt":5,"writtenAt":6,"expiresAt":null,"ttlSeconds":null,"closed":false,"public":true,"retention":{"seconds":1,"bytes":null,"segments":null},"start":"s","tail":"t","messages":4,"hotMessages":3,"hotBytes":2,"segments":{"count":1,"bytes":9,"newest":[{"number":0,"messages":1,"bytes":9,"writtenAt":6}]},"forkedFrom":{"path":"b","offset":"0000000000000003_0000000000000042"},"forks":{"count":1,"paths":["c"]},"producers":{"count":1,"newest":[{"id":"p","epoch":1,"seq":2,"at":6}]},"readers":{"sse":1,"longPoll":2},"subscriptions":{"count":1,"ids":["s"]}}}}"#;

fn details() -> Details {
    Details {
        path: "a".into(),
        content_type: "text/plain".into(),
        created_at: 5,
        written_at: Some(6),
        public: true,
        retention: Some(RetentionDetails { seconds: Some(1), ..RetentionDetails::default() }),
        start: "s".into(),
        tail: "t".into(),
        messages: Some(4),
        hot_messages: 3,
        hot_bytes: 2,
        segments: SegmentsDetails {
            count: 1,
            bytes: Some(9),
            newest: vec![SegmentDetails { number: 0, messages: 1, bytes: 9, written_at: 6 }],
        },
        forked_from: Some(SourceDetails::of("b", Some(NEXT))),
        forks: ForksDetails { count: Some(1), paths: vec!["c".into()] },
        producers: ProducersDetails {
            count: Some(1),
            newest: vec![ProducerDetails { id: "p".into(), epoch: 1, seq: 2, at: Some(6) }],
        },
        readers: ReadersDetails { sse: 1, long_poll: 2 },
        subscriptions: SubscriptionsDetails { count: 1, ids: vec!["s".into()] },
        ..Details::default()
    }
}

/// The JSON of each refusal of a fork.
fn refusals() -> [(ForkRefusal, String); 7] {
    [
        (ForkRefusal::SourceNotFound, r#""SourceNotFound""#.to_owned()),
        (ForkRefusal::SourceGone, r#""SourceGone""#.to_owned()),
        (ForkRefusal::OffsetBeyond { tail: START }, format!(r#"{{"OffsetBeyond":{{"tail":{AT}}}}}"#)),
        (ForkRefusal::OffsetBefore { start: START }, format!(r#"{{"OffsetBefore":{{"start":{AT}}}}}"#)),
        (ForkRefusal::SubOffsetBeyond { max: 3 }, r#"{"SubOffsetBeyond":{"max":3}}"#.to_owned()),
        (
            ForkRefusal::ContentType { expected: "text/plain".into() },
            r#"{"ContentType":{"expected":"text/plain"}}"#.to_owned(),
        ),
        (ForkRefusal::TooDeep, r#""TooDeep""#.to_owned()),
    ]
}

#[test]
fn calls_and_answers_keep_their_texts() {
    for (call, text) in calls() {
        assert_eq!(call.to_json(), text);
        assert_eq!(Call::parse(&text), call);
    }
    for (answer, text) in answers() {
        assert_eq!(answer.to_json(), text);
        assert_eq!(Answered::parse(&text), answer);
    }
}

/// The next build may add fields anywhere.
#[test]
fn unknown_fields_are_ignored() {
    let mut places = 0;
    for (call, text) in calls() {
        for text in with_one_field_more(&text) {
            assert_eq!(Call::parse(&text), call, "{text}");
            places += 1;
        }
    }
    for (answer, text) in answers() {
        for text in with_one_field_more(&text) {
            assert_eq!(Answered::parse(&text), answer, "{text}");
            places += 1;
        }
    }
    assert!(places > 30, "{places}");
}

/// Every text that this build cannot read parses as `Unknown`, and as nothing else.
#[test]
fn unreadable_text_is_unknown() {
    let unreadable = [
        "",
        "null",
        "{}",
        "<html>",
        r#""Later""#,
        r#"{"Later":{"a":1}}"#,
        r#"{"Later":[]}"#,
        r#"{"Released":{"early":true}}"#,
        r#"{"Referenced":"Later"}"#,
        r#"{"Referenced":{"Refused":{"Later":{}}}}"#,
        r#"{"Inherited":"0_0"}"#,
        r#"{"Listed":{"next":null}}"#,
        r#"{"Walk":{"incarnation":1}}"#,
        r#"{"Orphans":{"keys":[]}}"#,
    ];
    for text in unreadable {
        assert_eq!((Call::parse(text), Answered::parse(text)), (Call::Unknown, Answered::Unknown), "{text}");
    }
    // Each variant, renamed as by the next build.
    for (_, text) in calls() {
        assert_eq!(Call::parse(&renamed(&text)), Call::Unknown);
    }
    for (_, text) in answers() {
        assert_eq!(Answered::parse(&renamed(&text)), Answered::Unknown);
    }
}

/// Variants of the JSON, each with one more field in one of its objects. An object whose only field begins with
/// a capital is an enum variant, which gets no further field.
fn with_one_field_more(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let mut paths = Vec::new();
    objects(&value, String::new(), &mut paths);
    let extended = paths.iter().map(|path| {
        let mut value = value.clone();
        value.pointer_mut(path).expect("the path was found in this value")["later"] = json!({ "a": [1] });
        value.to_string()
    });
    extended.collect()
}

fn objects(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            // A subscription's channel is a variant, too.
            let is_variant =
                fields.keys().all(|name| name.starts_with(char::is_uppercase)) || path.ends_with("/channel");
            if !is_variant {
                found.push(path.clone());
            }
            fields.iter().for_each(|(name, value)| objects(value, format!("{path}/{name}"), found));
        }
        Value::Array(values) => {
            let indexed = values.iter().enumerate();
            indexed.for_each(|(at, value)| objects(value, format!("{path}/{at}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn renamed(text: &str) -> String {
    let at = text.find(char::is_uppercase).expect("a variant");
    format!("{}Later{}", &text[..at], &text[at..])
}
