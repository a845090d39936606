//! Golden texts of subscriptions: the calls between their objects, and their stored form. During a deployment, the
//! other object may run an older or a newer build, and stored data outlives every build. So these texts never change.

use durable_streams::protocol::call::{Answered, Call};
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::subscription::answer::{
    Claimed, LastError, Shown, ShownLink, ShownWebhook, Signing, SubscriptionAnswer, WokenStream,
};
use durable_streams::protocol::subscription::config::{Patch, SubscriptionConfig, WakeChannel};
use durable_streams::protocol::subscription::keys::{PublicKey, SigningKey};
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::{Ack, SubscriptionRequest, WakeRequest};
use durable_streams::protocol::subscription::summary::WakeTotals;
use durable_streams::protocol::subscription::wake_token::WakeClaims;
use durable_streams::protocol::subscription::watch::{
    Enlist, Enlisted, Noted, Notify, Progress, Unwatch, WakeAppend, WakeAppended, Watch, WatchAnswer,
    WatchFrom, Watcher,
};
use durable_streams::storage::schema;
use durable_streams::subscription::event::{SubscriptionEvent, Transition};
use durable_streams::subscription::link::StreamLink;
use durable_streams::subscription::summarized::Summarized;
use durable_streams::subscription::wake::{Snapshot, Wake, WakeStep};
use durable_streams::subscription::{Phase, State, StoredError};
use serde::de::DeserializeOwned;

const NAME: &str = "p/__ds/subscriptions/s";
const NEXT: Offset = Offset { segment: 3, position: 42 };
const START: Progress = Progress { offset: Offset { segment: 3, position: 5 }, closed: false };
const END: Progress = Progress { offset: NEXT, closed: true };
const FROM: &str = r#"{"offset":{"read_seq":3,"position":5},"closed":false}"#;
const TO: &str = r#"{"offset":{"read_seq":3,"position":42},"closed":true}"#;

fn config() -> SubscriptionConfig {
    SubscriptionConfig {
        channel: WakeChannel::Webhook { url: "https://x/".into() },
        pattern: Some("a/*".into()),
        streams: vec!["p/a".into()],
        lease_ttl_ms: 30_000,
        description: None,
    }
}

const CONFIG: &str = r#"{"channel":{"webhook":{"url":"https://x/"}},"pattern":"a/*","streams":["p/a"],"lease_ttl_ms":30000,"description":null}"#;

fn of_client(request: SubscriptionRequest, text: &str) -> (Call, String) {
    (Call::Subscription(request), format!(r#"{{"Subscription":{text}}}"#))
}

/// The JSON of the calls of clients.
fn calls_of_clients() -> Vec<(Call, String)> {
    let wake = WakeRequest {
        token: "t".into(),
        wake_id: "w".into(),
        generation: 7,
        acks: vec![Ack { path: "p/a".into(), offset: Some(NEXT) }, Ack { path: "p/b".into(), offset: None }],
        done: true,
    };
    let wake_text = r#"{"token":"t","wake_id":"w","generation":7,"acks":[{"path":"p/a","offset":{"read_seq":3,"position":42}},{"path":"p/b","offset":null}],"done":true}"#;
    let patch = Patch { url: Some("u".into()), lease_ttl_ms: None, description: Some(Some("d".into())) };
    let put = SubscriptionRequest::Put { config: config(), base: "b".into() };
    vec![
        of_client(put, &format!(r#"{{"Put":{{"config":{CONFIG},"base":"b"}}}}"#)),
        of_client(SubscriptionRequest::Get, r#""Get""#),
        of_client(SubscriptionRequest::Summarize, r#""Summarize""#),
        of_client(SubscriptionRequest::Delete, r#""Delete""#),
        of_client(SubscriptionRequest::AddStreams(vec!["p/a".into()]), r#"{"AddStreams":["p/a"]}"#),
        of_client(SubscriptionRequest::RemoveStream("p/a".into()), r#"{"RemoveStream":"p/a"}"#),
        of_client(SubscriptionRequest::Claim { holder: "w".into() }, r#"{"Claim":{"holder":"w"}}"#),
        of_client(SubscriptionRequest::Callback(wake.clone()), &format!(r#"{{"Callback":{wake_text}}}"#)),
        of_client(SubscriptionRequest::Ack(wake.clone()), &format!(r#"{{"Ack":{wake_text}}}"#)),
        of_client(SubscriptionRequest::Release(wake), &format!(r#"{{"Release":{wake_text}}}"#)),
        of_client(
            SubscriptionRequest::Patch(patch),
            r#"{"Patch":{"url":"u","lease_ttl_ms":null,"description":"d"}}"#,
        ),
        of_client(SubscriptionRequest::Resume, r#""Resume""#),
    ]
}

/// The JSON of the calls between objects.
fn calls_of_objects() -> Vec<(Call, String)> {
    let watch = |from| Watch { subscription: NAME.into(), incarnation: 2, glob: true, from, added_at: None };
    let watch_text = |from: &str| {
        format!(r#"{{"Watch":{{"subscription":"{NAME}","incarnation":2,"glob":true,"from":{from}}}}}"#)
    };
    let enlist = |pattern: Option<&str>| {
        Call::Enlist(Enlist {
            watcher: Watcher { subscription: NAME.into(), incarnation: 2 },
            pattern: pattern.map(str::to_owned),
        })
    };
    let enlist_text = |pattern: &str| {
        format!(
            r#"{{"Enlist":{{"watcher":{{"subscription":"{NAME}","incarnation":2}},"pattern":{pattern}}}}}"#
        )
    };
    let notify = Notify {
        incarnation: 2,
        path: "p/a".into(),
        start: START,
        tail: END,
        has_ended: true,
        created_at: None,
    };
    let live = Notify { has_ended: false, created_at: Some(8), ..notify.clone() };
    let append = WakeAppend { producer: NAME.into(), generation: 7, message: "{}".into() };
    vec![
        (
            Call::Notify(notify),
            format!(
                r#"{{"Notify":{{"incarnation":2,"path":"p/a","start":{FROM},"tail":{TO},"has_ended":true}}}}"#
            ),
        ),
        (
            Call::Notify(live),
            format!(
                r#"{{"Notify":{{"incarnation":2,"path":"p/a","start":{FROM},"tail":{TO},"has_ended":false,"created_at":8}}}}"#
            ),
        ),
        (Call::Watch(watch(WatchFrom::Tail)), watch_text(r#""Tail""#)),
        (
            Call::Watch(Watch { added_at: Some(8), ..watch(WatchFrom::Tail) }),
            watch_text(r#""Tail","added_at":8"#),
        ),
        (Call::Watch(watch(WatchFrom::Since(9))), watch_text(r#"{"Since":9}"#)),
        (Call::Watch(watch(WatchFrom::Acked(START))), watch_text(&format!(r#"{{"Acked":{FROM}}}"#))),
        (
            Call::Unwatch(Unwatch { subscription: NAME.into(), incarnation: 2, has_ended: true }),
            format!(r#"{{"Unwatch":{{"subscription":"{NAME}","incarnation":2,"has_ended":true}}}}"#),
        ),
        (
            Call::Wake(append),
            format!(r#"{{"Wake":{{"producer":"{NAME}","generation":7,"message":"{{}}"}}}}"#),
        ),
        (enlist(Some("p/a/*")), enlist_text(r#""p/a/*""#)),
        (enlist(None), enlist_text("null")),
        (Call::SigningKey, r#""SigningKey""#.to_owned()),
        (Call::PublicKeys, r#""PublicKeys""#.to_owned()),
    ]
}

/// The JSON of each call.
pub(crate) fn calls() -> Vec<(Call, String)> {
    calls_of_clients().into_iter().chain(calls_of_objects()).collect()
}

fn shown() -> (Shown, &'static str) {
    let shown = Shown {
        id: "s".into(),
        subscription_id: "s".into(),
        kind: "webhook".into(),
        pattern: None,
        streams: vec![ShownLink { path: "a".into(), link_type: "glob".into(), acked_offset: "0_1".into() }],
        webhook: Some(ShownWebhook {
            url: "https://x/".into(),
            signing: Some(Signing { alg: "ed25519".into(), kid: "k".into(), jwks_url: "j".into() }),
        }),
        wake_stream: None,
        lease_ttl_ms: 5,
        created_at: "c".into(),
        status: "failed".into(),
        description: Some("d".into()),
        phase: "active".into(),
        generation: 7,
        holder: Some("w".into()),
        pending: vec!["a".into()],
        last_error: Some(LastError { at: "t".into(), message: "m".into() }),
        next_attempt_at: Some("n".into()),
        has_more_streams: true,
        stream_count: 7,
    };
    let text = r#"{"id":"s","subscription_id":"s","type":"webhook","pattern":null,"streams":[{"path":"a","link_type":"glob","acked_offset":"0_1"}],"webhook":{"url":"https://x/","signing":{"alg":"ed25519","kid":"k","jwks_url":"j"}},"wake_stream":null,"lease_ttl_ms":5,"created_at":"c","status":"failed","description":"d","phase":"active","generation":7,"holder":"w","pending":["a"],"last_error":{"at":"t","message":"m"},"next_attempt_at":"n","has_more_streams":true,"stream_count":7}"#;
    (shown, text)
}

fn to_client(answer: SubscriptionAnswer, text: &str) -> (Answered, String) {
    (Answered::Subscription(answer), format!(r#"{{"Subscription":{text}}}"#))
}

/// The JSON of each answer.
pub(crate) fn answers() -> Vec<(Answered, String)> {
    let (shown, shown_text) = shown();
    let shown = Box::new(shown);
    let woken = |closed| WokenStream {
        path: "a".into(),
        link_type: "explicit".into(),
        acked_offset: "0_1".into(),
        tail_offset: "0_2".into(),
        has_pending: true,
        closed,
    };
    let claimed = Claimed {
        wake_id: "w".into(),
        generation: 7,
        token: "t".into(),
        streams: vec![woken(false), woken(true)],
        lease_ttl_ms: 5,
    };
    let claimed_text = r#"{"Claimed":{"wake_id":"w","generation":7,"token":"t","streams":[{"path":"a","link_type":"explicit","acked_offset":"0_1","tail_offset":"0_2","has_pending":true},{"path":"a","link_type":"explicit","acked_offset":"0_1","tail_offset":"0_2","has_pending":true,"closed":true}],"lease_ttl_ms":5}}"#;
    let watcher = Watcher { subscription: NAME.into(), incarnation: 2 };
    let key = SigningKey { kid: "k".into(), x: "x".into(), d: "d".into() };
    let answers = vec![
        to_client(SubscriptionAnswer::Created(shown.clone()), &format!(r#"{{"Created":{shown_text}}}"#)),
        to_client(SubscriptionAnswer::Confirmed(shown.clone()), &format!(r#"{{"Confirmed":{shown_text}}}"#)),
        to_client(SubscriptionAnswer::Shown(shown), &format!(r#"{{"Shown":{shown_text}}}"#)),
        to_client(SubscriptionAnswer::Done, r#""Done""#),
        to_client(SubscriptionAnswer::Acked { next_wake: true }, r#"{"Acked":{"next_wake":true}}"#),
        to_client(SubscriptionAnswer::Claimed(claimed), claimed_text),
        (Answered::Noted(Noted::Taken), r#"{"Noted":"Taken"}"#.to_owned()),
        (Answered::Noted(Noted::Acked(END)), format!(r#"{{"Noted":{{"Acked":{TO}}}}}"#)),
        (Answered::Noted(Noted::Gone), r#"{"Noted":"Gone"}"#.to_owned()),
        (
            Answered::Watched(WatchAnswer::From { acked: START, tail: END }),
            format!(r#"{{"Watched":{{"From":{{"acked":{FROM},"tail":{TO}}}}}}}"#),
        ),
        (Answered::Watched(WatchAnswer::TooMany), r#"{"Watched":"TooMany"}"#.to_owned()),
        (Answered::Unwatched, r#""Unwatched""#.to_owned()),
        (Answered::Woken(WakeAppended::Done), r#"{"Woken":"Done"}"#.to_owned()),
        (Answered::Woken(WakeAppended::Refused("r".into())), r#"{"Woken":{"Refused":"r"}}"#.to_owned()),
        (Answered::Enlisted(Enlisted::Done), r#"{"Enlisted":"Done"}"#.to_owned()),
        (Answered::Enlisted(Enlisted::TooMany), r#"{"Enlisted":"TooMany"}"#.to_owned()),
        (
            Answered::RecordedFor(vec![watcher]),
            format!(r#"{{"RecordedFor":[{{"subscription":"{NAME}","incarnation":2}}]}}"#),
        ),
        (Answered::SigningKey(key), r#"{"SigningKey":{"kid":"k","x":"x","d":"d"}}"#.to_owned()),
        (
            Answered::PublicKeys(vec![PublicKey { kid: "k".into(), x: "x".into() }]),
            r#"{"PublicKeys":[{"kid":"k","x":"x"}]}"#.to_owned(),
        ),
    ];
    let refused = refusals().map(|(refusal, text)| {
        to_client(SubscriptionAnswer::Refused(refusal), &format!(r#"{{"Refused":{text}}}"#))
    });
    answers.into_iter().chain(refused).collect()
}

/// The JSON of each refusal.
fn refusals() -> [(SubscriptionRefusal, &'static str); 15] {
    let why = || "y".to_owned();
    [
        (SubscriptionRefusal::InvalidRequest { why: why() }, r#"{"InvalidRequest":{"why":"y"}}"#),
        (SubscriptionRefusal::WebhookUrlRejected { why: why() }, r#"{"WebhookUrlRejected":{"why":"y"}}"#),
        (SubscriptionRefusal::TokenInvalid, r#""TokenInvalid""#),
        (SubscriptionRefusal::TokenExpired, r#""TokenExpired""#),
        (SubscriptionRefusal::NotFound, r#""NotFound""#),
        (SubscriptionRefusal::AlreadyExists, r#""AlreadyExists""#),
        (SubscriptionRefusal::Fenced, r#""Fenced""#),
        (
            SubscriptionRefusal::AlreadyClaimed { current_holder: "w".into(), generation: 7 },
            r#"{"AlreadyClaimed":{"current_holder":"w","generation":7}}"#,
        ),
        (SubscriptionRefusal::NoPendingWork, r#""NoPendingWork""#),
        (SubscriptionRefusal::InvalidOffset { why: why() }, r#"{"InvalidOffset":{"why":"y"}}"#),
        (SubscriptionRefusal::TooManyWatchers { path: "a".into() }, r#"{"TooManyWatchers":{"path":"a"}}"#),
        (SubscriptionRefusal::TooManyPatterns, r#""TooManyPatterns""#),
        (SubscriptionRefusal::TooManyStreams, r#""TooManyStreams""#),
        (SubscriptionRefusal::StreamsTooLong, r#""StreamsTooLong""#),
        (SubscriptionRefusal::NoRegistry, r#""NoRegistry""#),
    ]
}

/// The code of each refusal in an error body. Clients compare it.
#[test]
fn refusals_keep_their_codes() {
    let codes = refusals().map(|(refusal, _)| refusal.code());
    let expected = [
        "INVALID_REQUEST",
        "WEBHOOK_URL_REJECTED",
        "TOKEN_INVALID",
        "TOKEN_EXPIRED",
        "SUBSCRIPTION_NOT_FOUND",
        "SUBSCRIPTION_ALREADY_EXISTS",
        "FENCED",
        "ALREADY_CLAIMED",
        "NO_PENDING_WORK",
        "INVALID_OFFSET",
        "LIMIT_EXCEEDED",
        "LIMIT_EXCEEDED",
        "LIMIT_EXCEEDED",
        "LIMIT_EXCEEDED",
        "INVALID_REQUEST",
    ];
    assert_eq!(codes, expected);
}

/// Asserts the stored text of a value, that a build reads text with later additions, and that fields missing in
/// `oldest` have defaults.
#[track_caller]
fn assert_stored<T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    value: &T,
    text: &str,
) {
    assert_eq!(serde_json::to_string(value).unwrap(), text);
    assert_eq!(&serde_json::from_str::<T>(text).unwrap(), value);
    if text.starts_with("{\"") && !text.starts_with("{\"webhook") && !text.starts_with("{\"pull") {
        let later = text.replacen('{', "{\"later\":[1],", 1);
        assert_eq!(&serde_json::from_str::<T>(&later).unwrap(), value);
    }
}

fn state() -> State {
    State {
        incarnation: 2,
        created_at: 5,
        phase: Phase::Active,
        base: "b".into(),
        generation: 7,
        wake: Some(Wake {
            id: "w".into(),
            generation: 7,
            step: WakeStep::Due,
            streams: vec![Snapshot { path: "p/a".into(), tail: END }],
            holder: None,
            lease_until: Some(9),
            unclaimed_until: None,
        }),
        not_before: Some(8),
        failures: 1,
        failing_since: Some(6),
        idle_wakes: 3,
        unclaimed_events: 4,
        last_error: Some(StoredError { at: 6, message: "m".into() }),
        token_key: "k".into(),
        enlisted: true,
        spilled: false,
        spilled_pending: false,
        was_linking: false,
        unreported: vec![SubscriptionEvent { number: 3, transition: Transition::Failed, at: 6 }],
        events: 3,
        registry: Some("r".into()),
        totals: WakeTotals::default(),
        other_totals: WakeTotals::default(),
        summarized: None,
        ended_at: Some(9),
    }
}

#[test]
fn stored_states() {
    let text = format!(
        r#"{{"incarnation":2,"created_at":5,"phase":"Active","base":"b","generation":7,"wake":{{"id":"w","generation":7,"step":"Due","streams":[{{"path":"p/a","tail":{TO}}}],"holder":null,"lease_until":9,"unclaimed_until":null}},"not_before":8,"failures":1,"failing_since":6,"idle_wakes":3,"unclaimed_events":4,"last_error":{{"at":6,"message":"m"}},"token_key":"k","enlisted":true,"registry":"r","spilled":false,"spilled_pending":false,"was_linking":false,"unreported":[{{"number":3,"transition":"failed","at":6}}],"events":3,"ended_at":9}}"#
    );
    assert_stored(&state(), &text);
    let measured = State {
        totals: WakeTotals { wakes: 4, succeeded: 3, failed: 2, unsent: 1 },
        other_totals: WakeTotals { wakes: 1, ..WakeTotals::default() },
        summarized: Some(Summarized { at: 8, sum: 10 }),
        ..state()
    };
    let totals = r#""totals":{"wakes":4,"succeeded":3,"failed":2,"unsent":1},"other_totals":{"wakes":1,"succeeded":0,"failed":0,"unsent":0},"summarized":{"at":8,"sum":10}"#;
    assert_stored(&measured, &format!("{},{totals}}}", text.strip_suffix('}').unwrap()));
    let oldest = r#"{"incarnation":2,"created_at":5,"phase":"Active","base":"b","generation":7,"wake":null,"token_key":"k"}"#;
    let read: State = serde_json::from_str(oldest).unwrap();
    assert_eq!((read.not_before, read.failures, read.enlisted, read.events), (None, 0, false, 0));
    let linking = Phase::Linking { after: "p/a".into(), is_listed: false };
    let text = r#"{"Linking":{"after":"p/a","is_listed":false}}"#;
    assert_eq!(serde_json::to_string(&linking).unwrap(), text);
    assert_eq!(serde_json::from_str::<Phase>(text).unwrap(), linking);
    for (phase, text) in [(Phase::Parked, r#""Parked""#), (Phase::Ended, r#""Ended""#)] {
        assert_stored(&phase, text);
    }
    assert_stored(&WakeStep::Delivered, r#""Delivered""#);
    for (transition, text) in [
        (Transition::Created, r#""created""#),
        (Transition::Changed, r#""changed""#),
        (Transition::Recovered, r#""recovered""#),
        (Transition::Parked, r#""parked""#),
        (Transition::Resumed, r#""resumed""#),
        (Transition::Deleted, r#""deleted""#),
    ] {
        assert_stored(&transition, text);
    }
}

#[test]
fn stored_links() {
    let link = StreamLink {
        explicit: true,
        glob: false,
        acked: Some(START),
        tail: Some(END),
        settled: false,
        removed: true,
        failing_since: None,
        added_at: None,
    };
    let text = format!(
        r#"{{"explicit":true,"glob":false,"acked":{FROM},"tail":{TO},"settled":false,"removed":true}}"#
    );
    assert_stored(&link, &text);
    let added = StreamLink { added_at: Some(8), ..link.clone() };
    assert_stored(&added, &format!(r#"{},"added_at":8}}"#, text.trim_end_matches('}')));
    let failing = StreamLink { failing_since: Some(9), ..link };
    assert_stored(&failing, &format!(r#"{},"failing_since":9}}"#, text.trim_end_matches('}')));
    let oldest = r#"{"explicit":true,"glob":false,"acked":null,"tail":null,"settled":false}"#;
    assert_eq!(serde_json::from_str::<StreamLink>(oldest).unwrap(), StreamLink::explicit());
}

#[test]
fn stored_configurations() {
    assert_stored(&config(), CONFIG);
    let pull = WakeChannel::PullWake { wake_stream: "p/w".into() };
    assert_stored(&pull, r#"{"pull-wake":{"wake_stream":"p/w"}}"#);
}

#[test]
fn wake_tokens() {
    let claims = WakeClaims { subscription: NAME.into(), incarnation: 2, generation: 7, expires_at: 9 };
    assert_stored(&claims, &format!(r#"{{"s":"{NAME}","i":2,"g":7,"e":9}}"#));
    let token = claims.sign("key");
    assert_eq!(token, TOKEN);
    assert_eq!(WakeClaims::verify("key", TOKEN), Some(claims));
}

const TOKEN: &str = "eyJzIjoicC9fX2RzL3N1YnNjcmlwdGlvbnMvcyIsImkiOjIsImciOjcsImUiOjl9.65NB44p6AVSGoSvNvNfTlbaBUKqMReaZzKE--6ZoBMY";

#[test]
fn schema_of_subscriptions() {
    let tables = [
        (
            schema::CREATE_SUBSCRIPTION,
            "subscription ( id INTEGER PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT NULL, config TEXT NOT NULL, state TEXT NOT NULL, links TEXT NOT NULL )",
        ),
        (
            schema::CREATE_SUBSCRIPTION_LINKS,
            "subscription_links ( path TEXT PRIMARY KEY, owes INTEGER NOT NULL, link TEXT NOT NULL ) WITHOUT ROWID",
        ),
        (
            schema::CREATE_WATCHERS,
            "watchers ( subscription TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, glob INTEGER NOT NULL, start_segment INTEGER NOT NULL, start_position INTEGER NOT NULL, start_closed INTEGER NOT NULL ) WITHOUT ROWID",
        ),
        (
            schema::CREATE_PATTERNS,
            "patterns ( subscription TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, pattern TEXT NOT NULL ) WITHOUT ROWID",
        ),
        (
            schema::CREATE_SUMMARIES,
            "subscription_summaries ( subscription TEXT NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, status TEXT NOT NULL, wakes INTEGER NOT NULL, succeeded INTEGER NOT NULL, failed INTEGER NOT NULL, unsent INTEGER NOT NULL, PRIMARY KEY (subscription, kind) ) WITHOUT ROWID",
        ),
        (
            schema::CREATE_WEBHOOK_KEYS,
            "webhook_keys ( kid TEXT PRIMARY KEY, created_at INTEGER NOT NULL, x TEXT NOT NULL, d TEXT NOT NULL ) WITHOUT ROWID",
        ),
    ];
    for (statement, columns) in tables {
        let text = statement.replacen('(', "( ", 1).replace("\n)", " )");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(text, format!("CREATE TABLE IF NOT EXISTS {columns}"));
    }
}
