//! The bodies of requests to subscriptions (PROTOCOL.md 6.2, 6.4, 7.1 and 7.2).

use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::config::{Patch, STREAMS_MAX, SubscriptionConfig, WakeChannel};
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::{ACKS_MAX, Ack, SubscriptionRequest, WakeRequest};
use durable_streams::protocol::subscription::webhook_url::UrlRules;
use serde_json::{Value, json};

fn name(text: &str) -> SubscriptionName {
    SubscriptionName::parse(text).expect("a name")
}

fn parse(body: &Value) -> Result<SubscriptionConfig, SubscriptionRefusal> {
    SubscriptionConfig::parse(
        &name("__ds/subscriptions/s"),
        body.to_string().as_bytes(),
        &UrlRules::default(),
    )
}

fn valid() -> Value {
    json!({ "type": "webhook", "streams": ["a"], "webhook": { "url": "https://example.com/" } })
}

/// A valid body with one member replaced.
fn with(member: &str, value: Value) -> Value {
    let mut body = valid();
    body[member] = value;
    body
}

#[test]
fn names_are_paths_that_no_stream_has() {
    let parsed = |text: &str| {
        SubscriptionName::parse(text).map(|name| (name.root.clone(), name.id.clone(), name.object()))
    };
    let of = |root: Option<&str>, id: &str, text: &str| {
        Some((root.map(str::to_owned), id.to_owned(), text.to_owned()))
    };
    for (text, expected) in [
        ("__ds/subscriptions/a", of(None, "a", "__ds/subscriptions/a")),
        ("p/__ds/subscriptions/a:b", of(Some("p"), "a:b", "p/__ds/subscriptions/a:b")),
        ("__ds/subscriptions/a/b", of(None, "a/b", "__ds/subscriptions/a/b")),
        ("__ds/subscriptions/", None),
        ("__ds/a", None),
        ("a/b/__ds/subscriptions/c", None),
        ("a", None),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
    assert!(SubscriptionName::parse(&format!("__ds/subscriptions/{}", "a".repeat(256))).is_some());
    assert!(SubscriptionName::parse(&format!("__ds/subscriptions/{}", "a".repeat(257))).is_none());
}

#[test]
fn configurations_are_normalised() {
    let config = parse(&json!({
        "type": "webhook", "pattern": "/events/*/", "streams": ["b", "/a/", "b"], "later": 1,
        "webhook": { "url": "https://example.com/hook" }, "description": "d",
    }));
    let expected = SubscriptionConfig {
        channel: WakeChannel::Webhook { url: "https://example.com/hook".into() },
        pattern: Some("events/*".into()),
        streams: vec!["a".into(), "b".into()],
        lease_ttl_ms: 30_000,
        description: Some("d".into()),
    };
    assert_eq!(config, Ok(expected));
    let pull = json!({ "type": "pull-wake", "pattern": "**", "wake_stream": "/wake/pool/" });
    let config = SubscriptionConfig::parse(
        &name("p/__ds/subscriptions/s"),
        pull.to_string().as_bytes(),
        &UrlRules::default(),
    );
    let config = config.expect("a configuration");
    assert_eq!(config.channel, WakeChannel::PullWake { wake_stream: "p/wake/pool".into() });
    assert_eq!(config.whole_pattern(&name("p/__ds/subscriptions/s")).as_deref(), Some("p/*/**"));
}

#[test]
fn configurations_that_mean_the_same_are_equal() {
    let parsed = |body: &Value| parse(body).expect("a configuration");
    let base = parsed(&valid());
    for same in [
        with("streams", json!(["/a", "a/"])),
        with("pattern", json!("")),
        with("pattern", Value::Null),
        with("lease_ttl_ms", json!(30_000)),
        with("lease_ttl_ms", Value::Null),
        with("description", Value::Null),
        with("wake_stream", json!("w")),
    ] {
        assert_eq!(parsed(&same), base, "{same}");
    }
    let others = [
        with("streams", json!(["a", "b"])),
        with("pattern", json!("a")),
        with("lease_ttl_ms", json!(30_001)),
        with("description", json!("")),
        with("webhook", json!({ "url": "https://example.com/b" })),
        json!({ "type": "pull-wake", "streams": ["a"], "wake_stream": "w" }),
    ];
    for other in others {
        assert_ne!(parsed(&other), base, "{other}");
    }
}

#[test]
fn a_refusal_quotes_the_path_that_no_stream_can_have() {
    let refused = parse(&with("streams", json!(["a", ""]))).unwrap_err();
    assert_eq!(refused.message(), "The request is invalid: \"\" in streams is not the path of a stream.");
}

#[test]
fn malformed_configurations_are_refused() {
    let pull = |member: &str, value: Value| {
        let mut body = json!({ "type": "pull-wake", "streams": ["a"], "wake_stream": "w" });
        body[member] = value;
        body
    };
    let long = "a".repeat(1_025);
    for body in [
        json!(null),
        json!([]),
        json!("a"),
        json!({}),
        with("type", Value::Null),
        with("type", json!("Webhook")),
        with("type", json!("push")),
        with("type", json!(1)),
        with("streams", json!([])),
        with("streams", json!("a")),
        with("streams", json!([1])),
        with("streams", json!([""])),
        with("streams", json!(["/"])),
        with("streams", json!(["__ds/a"])),
        with("streams", json!(["__ds"])),
        with("streams", json!(["a/__ds/b"])),
        with("streams", json!(["a".repeat(800)])),
        with("pattern", json!(1)),
        with("pattern", json!("//")),
        with("pattern", json!("a/".repeat(65))),
        with("pattern", json!("a".repeat(742))),
        with("webhook", Value::Null),
        with("webhook", json!("https://example.com/")),
        with("webhook", json!({})),
        with("webhook", json!({ "url": 1 })),
        with("lease_ttl_ms", json!(999)),
        with("lease_ttl_ms", json!(600_001)),
        with("lease_ttl_ms", json!(1000.5)),
        with("lease_ttl_ms", json!(-1000)),
        with("lease_ttl_ms", json!("30000")),
        with("description", json!(1)),
        with("description", json!(long)),
        pull("wake_stream", Value::Null),
        pull("wake_stream", json!("")),
        pull("wake_stream", json!(1)),
        pull("wake_stream", json!("__ds/w")),
        pull("wake_stream", json!("__registry__")),
        // Each of the wake events would wake the subscription again.
        pull("streams", json!(["a", "w"])),
    ] {
        let refused = parse(&body).expect_err(&body.to_string());
        assert_eq!(refused.code(), "INVALID_REQUEST", "{body}: {refused:?}");
        assert!(refused.message().ends_with('.'), "{}", refused.message());
    }
}

#[test]
fn limits_of_a_configuration() {
    let rules = UrlRules::default();
    let refused =
        SubscriptionConfig::parse(&name("__ds/subscriptions/s"), b"{", &rules).expect_err("no JSON");
    assert_eq!(refused.code(), "INVALID_REQUEST");
    let local = parse(&with("webhook", json!({ "url": "http://10.0.0.1/" })));
    assert_eq!(local.map_err(|refusal| refusal.code()), Err("WEBHOOK_URL_REJECTED"));
    let many: Vec<String> = (0..=STREAMS_MAX).map(|number| format!("s{number}")).collect();
    assert_eq!(parse(&with("streams", json!(many))), Err(SubscriptionRefusal::TooManyStreams));
    for limit in [1_000, 600_000] {
        assert_eq!(parse(&with("lease_ttl_ms", json!(limit))).map(|config| config.lease_ttl_ms), Ok(limit));
    }
    assert!(parse(&with("streams", json!(["__registry__"]))).is_ok());
}

#[test]
fn a_patch_changes_the_url_the_lease_and_the_description() {
    let patch = |body: Value| Patch::parse(body.to_string().as_bytes(), &UrlRules::default());
    assert_eq!(patch(json!({})), Ok(Patch::default()));
    let all =
        json!({ "webhook": { "url": "https://example.com/b" }, "lease_ttl_ms": 5000, "description": null });
    let expected = Patch {
        url: Some("https://example.com/b".into()),
        lease_ttl_ms: Some(5_000),
        description: Some(None),
    };
    assert_eq!(patch(all), Ok(expected));
    for refused in [
        json!({ "pattern": "a" }),
        json!({ "streams": [] }),
        json!({ "type": "webhook" }),
        json!({ "webhook": null }),
        json!({ "webhook": { "url": "https://localhost/" } }),
        json!({ "lease_ttl_ms": 1 }),
        json!([]),
    ] {
        assert!(patch(refused.clone()).is_err(), "{refused}");
    }
}

#[test]
fn wake_requests_name_their_wake_and_their_acks() {
    let parse = |body: Value| {
        WakeRequest::parse(&name("p/__ds/subscriptions/s"), Some("t"), body.to_string().as_bytes())
    };
    let offset = Offset { segment: 1, position: 2 };
    let body = json!({
        "wake_id": "w", "generation": 7, "done": true,
        "acks": [{ "stream": "/a/b", "offset": offset.to_string() }, { "path": "c", "offset": "-1" }],
    });
    let expected = WakeRequest {
        token: "t".into(),
        wake_id: "w".into(),
        generation: 7,
        acks: vec![
            Ack { path: "p/a/b".into(), offset: Some(offset) },
            Ack { path: "p/c".into(), offset: None },
        ],
        done: true,
    };
    assert_eq!(parse(body), Ok(expected));
    let bare = parse(json!({ "wake_id": "w", "generation": 0 })).expect("a request");
    assert!(bare.acks.is_empty() && !bare.done);
    let many: Vec<Value> = (0..=ACKS_MAX).map(|_| json!({ "stream": "a", "offset": "0_0" })).collect();
    for refused in [
        json!({ "generation": 1 }),
        json!({ "wake_id": "w" }),
        json!({ "wake_id": 1, "generation": 1 }),
        json!({ "wake_id": "w", "generation": "1" }),
        json!({ "wake_id": "w", "generation": -1 }),
        json!({ "wake_id": "w", "generation": 1, "done": "true" }),
        json!({ "wake_id": "w", "generation": 1, "acks": {} }),
        json!({ "wake_id": "w", "generation": 1, "acks": ["a"] }),
        json!({ "wake_id": "w", "generation": 1, "acks": [{ "offset": "a" }] }),
        json!({ "wake_id": "w", "generation": 1, "acks": [{ "stream": "a" }] }),
        json!({ "wake_id": "w", "generation": 1, "acks": many }),
    ] {
        let code = parse(refused.clone()).map_err(|refusal| refusal.code());
        assert_eq!(code.err(), Some("INVALID_REQUEST"), "{refused:.200}");
    }
}

#[test]
fn claims_name_a_worker_and_added_streams_are_an_array() {
    let claim = |body: &str| SubscriptionRequest::claim(body.as_bytes());
    assert_eq!(claim(r#"{"worker":"w"}"#), Ok(SubscriptionRequest::Claim { holder: "w".into() }));
    let long = format!(r#"{{"worker":"{}"}}"#, "w".repeat(257));
    for refused in ["", "{}", "[]", r#"{"worker":""}"#, r#"{"worker":1}"#, &long] {
        assert!(claim(refused).is_err(), "{refused}");
    }
    let add = |body: &str| SubscriptionRequest::add_streams(&name("__ds/subscriptions/s"), body.as_bytes());
    let added = SubscriptionRequest::AddStreams(vec!["a".into(), "b".into()]);
    assert_eq!(add(r#"{"streams":["b","a","b"]}"#), Ok(added));
    assert_eq!(add(r#"{"streams":[]}"#), Ok(SubscriptionRequest::AddStreams(Vec::new())));
    for refused in ["{}", r#"{"streams":null}"#, r#"{"streams":"a"}"#, r#"{"streams":[""]}"#] {
        assert!(add(refused).is_err(), "{refused}");
    }
}
