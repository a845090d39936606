//! Access control: modes, tokens, projects, keys, CORS, and requests without a valid token.

use std::collections::HashMap;
use std::rc::Rc;

use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use durable_streams::edge::access::Access;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::admit::{Decision, Head, Known, Rules};
use durable_streams::edge::auth::{Credential, Source, network_of, network_of_client};
use durable_streams::edge::cors::Cors;
use durable_streams::edge::host::{check as check_host, is_authority};
use durable_streams::edge::kept::Kept;
use durable_streams::edge::keyring::{
    Check, KEY_SET_ASKED_AGAIN, KEY_SET_KEPT, KEY_SET_STALE, Keyring, Learnt, NO_PROJECT_KEPT, PROJECT_KEPT,
    PROJECT_STALE, TOKEN_KEPT, TOKEN_REJECTED_KEPT, counted_as,
};
use durable_streams::edge::project::{Key, Project, parse_all, parse_public};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::strangers::{ADDRESSES_KEPT_MAX, MISSES_MAX, MISSES_PERIOD, Strangers};
use durable_streams::edge::target::Target;
use durable_streams::protocol::Millis;
use durable_streams::protocol::names::STREAM_PREFIXES;
use durable_streams::protocol::refusal::Refusal;
use jwt_compact::Algorithm as _;
use jwt_compact::AlgorithmSignature as _;
use jwt_compact::alg::{Hs256, Hs256Key};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::{Response, World};
use durable_streams::protocol::reply::Reply;

/// 2030-01-01T00:00:00Z, in milliseconds and in seconds.
const NOW: Millis = 1_893_456_000_000;
const NOW_SECONDS: u64 = 1_893_456_000;
const AUTH_TOKEN: &str = "a-token-of-32-characters-and-so-";

fn secret(of: &str) -> Vec<u8> {
    of.bytes().cycle().take(32).collect()
}

fn oct(kid: &str, of: &str) -> Value {
    json!({ "kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(secret(of)) })
}

/// A token with this header and these claims, signed with the secret of `of`.
fn signed(header: &Value, claims: &Value, of: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = Hs256.sign(&Hs256Key::new(secret(of)), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}

fn header() -> Value {
    json!({ "alg": "HS256", "kid": "1" })
}

/// The claims of a token for project `a`, with `others` replaced; the value `absent` removes a claim.
fn claims(others: &Value) -> Value {
    let mut claims = json!({ "sub": "a", "scope": "read write manage", "exp": NOW_SECONDS + 60 });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| *value != json!("absent"));
    claims
}

fn token(others: &Value) -> String {
    signed(&header(), &claims(others), "a")
}

fn settings(mode: &str) -> EdgeSettings {
    let keys = json!({ "a": { "keys": [oct("1", "a")] }, "b": { "keys": [oct("1", "b")] } }).to_string();
    match mode {
        "open" => EdgeSettings { allow_open: Some("1".to_owned()), ..EdgeSettings::default() },
        "token" => EdgeSettings { auth_token: Some(AUTH_TOKEN.to_owned()), ..EdgeSettings::default() },
        "projects" => EdgeSettings { project_keys: Some(keys), ..EdgeSettings::default() },
        _ => panic!("no mode {mode}"),
    }
}

/// The decision about a request with its full head, before its object is called.
fn decide(rules: &Rules, keyring: &Keyring, request: (&str, &str), headers: &[(&str, &str)]) -> Decision {
    let (method, url): (Method, _) = (request.0.parse().unwrap(), request.1);
    let header =
        |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let known = Known::All { header: &header, is_host: &is_authority, peer: &|| None };
    let target = Target::of(url);
    rules.admit(keyring, &Head { method: &method, target: &target, known }, true, NOW).decision
}

fn rules(settings: &EdgeSettings) -> Rules {
    let (access, admin) = (Access::of(settings), Admin::of(settings));
    Rules { access, admin, is_limited: false, hides_public: true, lists: true, has_console: true }
}

/// `yes` if the request goes to its stream, or the status of the answer.
fn verdict(mode: &str, method: &str, path: &str, token: Option<&str>) -> String {
    verdict_at(mode, method, &format!("https://x/v1/stream/{path}"), token)
}

fn verdict_at(mode: &str, method: &str, url: &str, token: Option<&str>) -> String {
    let rules = rules(&settings(mode));
    assert_eq!(rules.access.mode(), mode);
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let keyring = Keyring::new(false);
    let decision = decide(&rules, &keyring, (method, url), &headers);
    assert_fast_path_agrees(&rules, &keyring, (method, url), authorization.as_deref(), &decision);
    match decision {
        Decision::Forward(forward) => {
            let decoded = percent_decode_str(url).decode_utf8().unwrap();
            assert!(decoded.ends_with(&format!("/{}", forward.path.as_str())), "{url}: {:?}", forward.path);
            assert_eq!(forward.stranger, None, "{url}");
            "yes".to_owned()
        }
        Decision::Reply(reply) => reply.status.as_u16().to_string(),
        other @ (Decision::Listing(_)
        | Decision::Orphans(_)
        | Decision::Console(_)
        | Decision::Subscriptions(_)
        | Decision::Learn { .. }
        | Decision::Look) => format!("{other:?}"),
    }
}

/// The fast path, which reads `Authorization` only, decides the same or asks for the full head.
fn assert_fast_path_agrees(
    rules: &Rules,
    keyring: &Keyring,
    (method, url): (&str, &str),
    authorization: Option<&str>,
    expected: &Decision,
) {
    let (method, target): (Method, _) = (method.parse().unwrap(), Target::of(url));
    let head = Head { method: &method, target: &target, known: Known::Authorization(authorization) };
    let found = rules.admit(keyring, &head, true, NOW).decision;
    assert!(found == *expected || found == Decision::Look, "{method} {url}: {found:?} and {expected:?}");
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
const STREAMS: [&str; 10] = ["a", "a/x", "a/xy", "a/x/y", "a/x/y/z", "a/y", "A/x", "ab/x", "b", "b/x"];

/// Every method with every token, on every stream, in every mode.
#[test]
fn scope_and_stream_claims_decide_access() {
    let of = |others: Value| Some(token(&others));
    let (own, all) = ("a a/x a/xy a/x/y a/x/y/z a/y", "GET HEAD POST PUT DELETE");
    // In mode `projects`: the methods and streams that the token covers; without streams it is not a valid
    // token there.
    let tokens = [
        ("none", None, "", ""),
        ("the one", Some(AUTH_TOKEN.to_owned()), "", ""),
        ("of another key", Some(signed(&header(), &claims(&json!({})), "b")), "", ""),
        ("read", of(json!({ "scope": "read" })), "GET HEAD", own),
        ("write", of(json!({ "scope": "write" })), "POST", own),
        ("manage", of(json!({ "scope": "manage" })), "PUT DELETE", own),
        ("read and write", of(json!({ "scope": "write read" })), "GET HEAD POST", own),
        ("nothing", of(json!({ "scope": "" })), "", own),
        ("all", of(json!({})), all, own),
        ("one stream", of(json!({ "stream": "a/x" })), all, "a/x"),
        ("read one stream", of(json!({ "stream": "a/x", "scope": "read" })), "GET HEAD", "a/x"),
        ("those below", of(json!({ "stream": "a/x/*" })), all, "a/x/y a/x/y/z"),
        ("write below", of(json!({ "stream": "a/x/*", "scope": "write" })), "POST", "a/x/y a/x/y/z"),
        ("every stream", of(json!({ "stream": "*" })), all, own),
        ("those of b", of(json!({ "stream": "b/*" })), all, "nowhere"),
    ];
    let has = |words: &str, word: &str| words.split(' ').any(|found| found == word);
    for (name, token, methods, streams) in &tokens {
        for mode in ["open", "token", "projects"] {
            for path in STREAMS {
                for method in METHODS {
                    let allowed = match mode {
                        _ if method == "OPTIONS" => "204",
                        _ if method == "PATCH" => "405",
                        "open" => "yes",
                        "token" if *name == "the one" => "yes",
                        "projects" if has(methods, method) && has(streams, path) => "yes",
                        "projects" if !streams.is_empty() => "403",
                        _ => "401",
                    };
                    let found = verdict(mode, method, path, token.as_deref());
                    assert_eq!(found, allowed, "{mode}, {name}: {method} {path}");
                }
            }
        }
    }
}

/// Claims of a token, and whether the token is accepted.
#[test]
fn token_with_invalid_claims_is_401_and_without_scope_403() {
    let table = [
        (json!({}), "yes"),
        (json!({ "exp": NOW_SECONDS }), "401"),
        (json!({ "exp": NOW_SECONDS + 1 }), "yes"),
        (json!({ "exp": NOW_SECONDS - 3600 }), "401"),
        (json!({ "exp": "absent" }), "401"),
        (json!({ "exp": null }), "401"),
        (json!({ "exp": "never" }), "401"),
        (json!({ "exp": -1 }), "401"),
        (json!({ "exp": 1e300 }), "401"),
        (json!({ "exp": NOW_SECONDS as f64 + 0.5 }), "401"),
        (json!({ "nbf": NOW_SECONDS }), "yes"),
        (json!({ "nbf": NOW_SECONDS + 5 }), "yes"),
        (json!({ "nbf": NOW_SECONDS + 6 }), "401"),
        (json!({ "nbf": "x" }), "401"),
        (json!({ "sub": "absent" }), "401"),
        (json!({ "sub": "" }), "401"),
        (json!({ "sub": 1 }), "401"),
        (json!({ "sub": ["a"] }), "401"),
        (json!({ "sub": "a/x" }), "401"),
        (json!({ "sub": "c" }), "401"),
        (json!({ "sub": "b" }), "401"),
        (json!({ "scope": "absent" }), "403"),
        (json!({ "scope": ["read"] }), "yes"),
        (json!({ "scope": ["other", "read"] }), "yes"),
        (json!({ "scope": [] }), "403"),
        (json!({ "scope": ["write", "manage"] }), "403"),
        (json!({ "scope": ["read write"] }), "403"),
        (json!({ "scope": ["read", 1] }), "403"),
        (json!({ "scope": [["read"]] }), "403"),
        (json!({ "scope": { "read": true } }), "403"),
        (json!({ "scope": null }), "403"),
        (json!({ "scope": true }), "403"),
        (json!({ "scope": 1 }), "403"),
        (json!({ "scope": "read\twrite" }), "403"),
        // If `scope` is present, `scp` is ignored, even if `scope` is malformed.
        (json!({ "scope": "absent", "scp": "read" }), "yes"),
        (json!({ "scope": "absent", "scp": "other read" }), "yes"),
        (json!({ "scope": "absent", "scp": ["read", "write"] }), "yes"),
        (json!({ "scope": "absent", "scp": ["write"] }), "403"),
        (json!({ "scope": "absent", "scp": null }), "403"),
        (json!({ "scope": "absent", "scp": { "read": "read" } }), "403"),
        (json!({ "scope": "absent", "scp": ["read", null] }), "403"),
        (json!({ "scope": "", "scp": "read" }), "403"),
        (json!({ "scope": "write", "scp": ["read"] }), "403"),
        (json!({ "scope": null, "scp": "read" }), "403"),
        (json!({ "scope": 1, "scp": "read" }), "403"),
        (json!({ "scope": "read", "scp": 1 }), "yes"),
        (json!({ "scope": "read", "scp": "write" }), "yes"),
        (json!({ "scope": "reads" }), "403"),
        (json!({ "scope": "READ" }), "403"),
        (json!({ "scope": "other read" }), "yes"),
        (json!({ "stream": null }), "401"),
        (json!({ "stream": 1 }), "401"),
        (json!({ "stream": ["a/x"] }), "401"),
        (json!({ "stream": "" }), "403"),
        (json!({ "stream": "a/x" }), "yes"),
        (json!({ "stream": "a/%78" }), "403"),
        (json!({ "stream": "a/*" }), "yes"),
        (json!({ "stream": "a*" }), "403"),
        (json!({ "stream": "/a/x" }), "403"),
        (json!({ "stream": "b/../a/*" }), "403"),
        (json!({ "aud": "somebody else" }), "401"),
        (json!({ "aud": null }), "401"),
        (json!({ "iss": "anybody" }), "yes"),
        (json!({ "iss": 1 }), "401"),
    ];
    for (others, expected) in table {
        assert_eq!(verdict("projects", "GET", "a/x", Some(&token(&others))), expected, "{others}");
    }
    let unsigned = |alg: &str| {
        let parts =
            [json!({ "alg": alg }), claims(&json!({}))].map(|v| URL_SAFE_NO_PAD.encode(v.to_string()));
        format!("{}.", parts.join("."))
    };
    let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"1"}"#);
    let twice =
        format!("{twice}.{}", URL_SAFE_NO_PAD.encode(r#"{"sub":"b","sub":"a","scope":"read","exp":9e9}"#));
    let doubled = Hs256.sign(&Hs256Key::new(secret("a")), twice.as_bytes());
    let odd = [
        unsigned("none"),
        unsigned("None"),
        unsigned("HS256"),
        signed(&json!({ "alg": "none", "kid": "1" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "HS512", "kid": "1" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "RS256", "kid": "1" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "hs256", "kid": "1" }), &claims(&json!({})), "a"),
        signed(&json!({ "kid": "1" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "HS256", "kid": "2" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "HS256", "kid": "../1" }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "HS256", "kid": "1", "crit": ["exp"] }), &claims(&json!({})), "a"),
        signed(&json!({ "alg": "HS256", "kid": "1", "cty": "CBOR" }), &claims(&json!({})), "a"),
        format!("{twice}.{}", URL_SAFE_NO_PAD.encode(doubled.as_bytes())),
        format!("{}.x", token(&json!({}))),
        format!("{}=", token(&json!({}))),
        token(&json!({ "more": "x".repeat(9000) })),
        "..".to_owned(),
        "a.b.c".to_owned(),
        String::from("x"),
    ];
    for text in odd {
        assert_eq!(verdict("projects", "GET", "a/x", Some(&text)), "401", "{text}");
    }
    // With a single key, the token need not name it.
    let nameless = signed(&json!({ "alg": "HS256" }), &claims(&json!({})), "a");
    assert_eq!(verdict("projects", "GET", "a/x", Some(&nameless)), "yes");
}

#[test]
fn tampered_token_is_401() {
    let whole = token(&json!({ "scope": "read" }));
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(verdict("projects", "GET", "a/x", Some(&text)), "401", "at {at}");
    }
}

/// An added key is valid at once, and a removed key is no longer valid.
#[test]
fn added_key_is_valid_and_removed_key_is_not() {
    let with = |keys: Value| EdgeSettings {
        project_keys: Some(json!({ "a": { "keys": keys } }).to_string()),
        ..EdgeSettings::default()
    };
    let by = |kid: &str, of: &str| signed(&json!({ "alg": "HS256", "kid": kid }), &claims(&json!({})), of);
    let believes = |settings: &EdgeSettings, token: &str| {
        let Access::Projects(projects) = Access::of(settings) else { panic!("the mode must be projects") };
        matches!(Keyring::new(false).check(&projects, token, NOW), Check::Granted(_))
    };
    let (old, new) = (by("1", "old"), by("2", "new"));
    let nameless = signed(&json!({ "alg": "HS256" }), &claims(&json!({})), "old");
    let steps = [
        (json!([oct("1", "old")]), [true, false, true]),
        (json!([oct("1", "old"), oct("2", "new")]), [true, true, false]),
        (json!([oct("2", "new")]), [false, true, false]),
    ];
    for (keys, expected) in steps {
        let settings = with(keys);
        assert_eq!([&old, &new, &nameless].map(|token| believes(&settings, token)), expected);
    }
}

#[test]
fn token_of_another_issuer_or_audience_is_refused() {
    let project = json!({ "a": { "keys": [oct("1", "a")], "issuer": "i", "audience": "us" } });
    let settings = EdgeSettings { project_keys: Some(project.to_string()), ..EdgeSettings::default() };
    let Access::Projects(projects) = Access::of(&settings) else { panic!("the mode must be projects") };
    for (others, expected) in [
        (json!({ "iss": "i", "aud": "us" }), true),
        (json!({ "iss": "i", "aud": ["them", "us"] }), true),
        (json!({ "iss": "j", "aud": "us" }), false),
        (json!({ "aud": "us" }), false),
        (json!({ "iss": "i" }), false),
        (json!({ "iss": "i", "aud": [] }), false),
        (json!({ "iss": "i", "aud": "them" }), false),
    ] {
        let check = Keyring::new(false).check(&projects, &token(&others), NOW);
        assert_eq!(matches!(check, Check::Granted(_)), expected, "{others}");
    }
}

/// A configuration error locks the server and never opens it, and the message contains no secret.
#[test]
fn configuration_error_locks_the_server() {
    let set = |name: &str, value: &str| {
        let mut settings = EdgeSettings::default();
        let slot = match name {
            "ALLOW_OPEN" => &mut settings.allow_open,
            "AUTH_TOKEN" => &mut settings.auth_token,
            "CORS_ORIGINS" => &mut settings.cors_origins,
            "CORS_CREDENTIALS" => &mut settings.cors_credentials,
            _ => &mut settings.project_keys,
        };
        *slot = Some(value.to_owned());
        settings
    };
    let short = json!({ "a": { "keys": [{ "kty": "oct", "k": "c2VjcmV0LXNlY3JldA" }] } }).to_string();
    let mixed = json!({ "a": { "keys": [{ "kty": "oct", "alg": "RS256", "k": URL_SAFE_NO_PAD.encode(secret("a")) }] } });
    let nameless = json!({ "a": { "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret("a")) }, oct("2", "b")] } });
    let http = json!({ "a": { "jwks_url": "http://x.example/" } }).to_string();
    let rsa =
        json!({ "a": { "keys": [{ "kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB" }] } }).to_string();
    let table = [
        (EdgeSettings::default(), "open"),
        (set("ALLOW_OPEN", "1"), "open"),
        (set("ALLOW_OPEN", "yes, please"), "locked"),
        (set("AUTH_TOKEN", AUTH_TOKEN), "token"),
        (set("AUTH_TOKEN", ""), "locked"),
        (set("AUTH_TOKEN", "short"), "locked"),
        (set("AUTH_TOKEN", "with a space, and long enough"), "locked"),
        (settings("projects"), "projects"),
        (EdgeSettings { has_registry: true, ..EdgeSettings::default() }, "projects"),
        (EdgeSettings { has_registry: true, ..settings("token") }, "locked"),
        (EdgeSettings { auth_token: Some(AUTH_TOKEN.to_owned()), ..settings("projects") }, "locked"),
        (EdgeSettings { allow_open: Some("1".to_owned()), ..settings("token") }, "token"),
        (set("PROJECT_KEYS", ""), "locked"),
        (set("PROJECT_KEYS", "{"), "locked"),
        (set("PROJECT_KEYS", "{}"), "projects"),
        (set("PROJECT_KEYS", r#"{"a":{}}"#), "locked"),
        (set("PROJECT_KEYS", r#"{"a":"secret-secret"}"#), "locked"),
        (set("PROJECT_KEYS", r#"{"a":{"keyz":[]}}"#), "locked"),
        (set("PROJECT_KEYS", &short), "locked"),
        (set("PROJECT_KEYS", &mixed.to_string()), "locked"),
        (set("PROJECT_KEYS", &nameless.to_string()), "locked"),
        (set("PROJECT_KEYS", &http), "locked"),
        (set("PROJECT_KEYS", &rsa), "locked"),
        (set("CORS_ORIGINS", "app.example"), "open"),
        (EdgeSettings { cors_origins: Some("app.example".to_owned()), ..settings("token") }, "token"),
        (EdgeSettings { cors_credentials: Some("1".to_owned()), ..set("CORS_ORIGINS", "*") }, "open"),
        (set("CORS_CREDENTIALS", "maybe"), "locked"),
    ];
    for (settings, expected) in table {
        let access = Access::of(&settings);
        let what = settings.project_keys.clone().or(settings.auth_token.clone()).unwrap_or_default();
        assert_eq!(access.mode(), expected, "{what}");
        if let Access::Locked { why, detail } = access {
            let why = format!("{why} {detail}");
            for secret in ["secret-secret", "c2VjcmV0", "with a space", AUTH_TOKEN] {
                assert!(!why.contains(secret), "{why}");
            }
        }
    }
}

/// An open server serves only its own machine, unless `ALLOW_OPEN` is set.
#[test]
fn open_server_refuses_remote_requests() {
    let local = Access::of(&EdgeSettings::default());
    let everywhere = Access::of(&settings("open"));
    let guarded = Access::of(&settings("token"));
    for (url, is_local) in [
        ("http://127.0.0.1:8787/v1/stream/a", true),
        ("http://localhost/v1/stream/a", true),
        ("http://[::1]:8787/v1/stream/a", true),
        ("https://streams.example.workers.dev/v1/stream/a", false),
        ("https://localhost.example/v1/stream/a", false),
        ("https://example/localhost", false),
        ("https://localhost@example/", false),
        ("https://example?@localhost/", false),
        ("https://example#localhost", false),
        ("https://127.0.0.1.nip.io/", false),
        ("http://192.168.0.2:8787/", false),
    ] {
        assert_eq!(local.serve(url, None, None).is_ok(), is_local, "{url}");
        assert!(
            local.serve(url, Some("8a1"), None).is_err(),
            "{url} with a ray of Cloudflare's network is remote"
        );
        let everybody = (url, Some("8a1"), Some("192.0.2.1:49152"));
        let is_served = |access: &Access| access.serve(everybody.0, everybody.1, everybody.2).is_ok();
        assert!(is_served(&everywhere) && is_served(&guarded));
    }
    // The address of the connection decides, whatever `Host` the request names.
    for (peer, is_local) in [
        ("127.0.0.1:49152", true),
        ("127.8.9.1:1", true),
        ("[::1]:49152", true),
        ("[::ffff:127.0.0.1]:49152", true),
        ("192.0.2.1:49152", false),
        ("[::ffff:192.0.2.1]:49152", false),
        ("[2001:db8::1]:1", false),
        ("0.0.0.0:1", false),
        ("127.0.0.1.example:1", false),
        ("localhost", false),
        ("", false),
    ] {
        assert_eq!(local.serve("http://localhost/", None, Some(peer)).is_ok(), is_local, "{peer}");
    }
    let locked = Access::of(&EdgeSettings { auth_token: Some(String::new()), ..EdgeSettings::default() });
    assert!(matches!(locked.serve("http://localhost/", None, None), Err(Refusal::NotConfigured { .. })));
}

/// All addresses of an IPv6 network share one limit.
#[test]
fn ipv6_addresses_of_one_network_share_a_key() {
    for (address, network) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("::1", "0:0:0:0::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("x", "x"),
    ] {
        assert_eq!(network_of(address), network);
    }
}

/// A client cannot choose its own key by sending an invalid address.
#[test]
fn clients_are_counted_by_cloudflares_address_or_their_peer() {
    for (connecting_ip, peer, network) in [
        (Some("192.0.2.1"), Some("198.51.100.1:49152"), "192.0.2.1"),
        (Some("2001:db8:1:2::9"), None, "2001:db8:1:2::/64"),
        (None, Some("198.51.100.1:49152"), "198.51.100.1"),
        (None, Some("[2001:db8:1:2::9]:49152"), "2001:db8:1:2::/64"),
        (None, Some("[::ffff:192.0.2.1]:1"), "192.0.2.1"),
        (Some("x"), Some("198.51.100.1:49152"), "198.51.100.1"),
        (Some("192.0.2.1, 192.0.2.2"), None, ""),
        (None, None, ""),
        (None, Some("x"), ""),
    ] {
        assert_eq!(network_of_client(connecting_ip, peer), network, "{connecting_ip:?} {peer:?}");
    }
}

/// A signature has several encodings, but the token has one limit.
#[test]
fn token_is_counted_by_its_signed_part() {
    let token = foreign("ES256", "1");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let counted = counted_as(&token);
    for other in ["", "=", "AAAA", &signature.to_ascii_uppercase(), &format!("{signature}=")] {
        assert_eq!(counted_as(&format!("{signed}.{other}")), counted, "{other}");
    }
    for other in
        [foreign("ES256", "2"), foreign("RS256", "1"), format!("{signed}x.{signature}"), signed.to_owned()]
    {
        assert_ne!(counted_as(&other), counted, "{other}");
    }
    assert_ne!(counted_as(AUTH_TOKEN), counted_as("x"));
}

/// A wrong signature is cached for a while, and a valid token with the same claims stays valid.
#[test]
fn forged_token_is_cached_for_a_while() {
    let projects = with_server();
    let mut keyring = Keyring::new(false);
    keyring.learn_keys(JWKS, Learnt::Found(keys(&json!({ "keys": [ec("1")] }))), NOW);
    let (token, forged) = (foreign("ES256", "1"), format!("{}AAAA", foreign("ES256", "1")));
    keyring.learn_token(&forged, None, NOW);
    assert_eq!(keyring.check(&projects, &forged, NOW + TOKEN_REJECTED_KEPT - 1), Check::Invalid);
    assert!(matches!(keyring.check(&projects, &forged, NOW + TOKEN_REJECTED_KEPT), Check::NeedsSignature(_)));
    assert!(matches!(keyring.check(&projects, &token, NOW), Check::NeedsSignature(_)));
}

/// A locked server names the variable in its answers, and logs the details.
#[test]
fn locked_server_reveals_no_configuration() {
    let keys = json!({ "customer-17": { "keys": [{ "kty": "oct", "kid": "key-of-17", "k": "c2hvcnQ" }] } });
    let set =
        |project_keys: String| EdgeSettings { project_keys: Some(project_keys), ..EdgeSettings::default() };
    for settings in [
        set(keys.to_string()),
        set(r#"{"__ds":{},"customer-17":{}}"#.to_owned()),
        set("customer-17".to_owned()),
    ] {
        let locked = Access::of(&settings);
        let Err(refusal) = locked.serve("http://localhost/health", None, None) else {
            panic!("the server must be locked")
        };
        let shown = refusal.message();
        assert!(shown.contains("PROJECT_KEYS"), "{shown}");
        for secret in ["customer", "17", "__ds", "kid", "c2hv"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let Access::Locked { detail, .. } = Access::of(&set(keys.to_string())) else {
        panic!("the server must be locked")
    };
    assert!(detail.contains("customer-17"), "{detail}");
}

/// A valid `Host` is one name or address, with an optional port.
#[test]
fn malformed_host_is_refused() {
    let ports = ["", ":", ":80", ":65535"];
    for host in
        ["a", "streams.example", "a_b.example", "A-1.EXAMPLE", "127.0.0.1", "[::1]", "[2001:db8::1]", "xn--a"]
    {
        for port in ports {
            assert!(is_authority(&format!("{host}{port}")), "{host}{port}");
        }
    }
    for host in [
        "",
        ":",
        ":80",
        "a/b",
        "a?x",
        "a#x",
        "a\\b",
        "a b",
        "a,b",
        "a, a",
        "a@b",
        "user:pw@a",
        "a:b",
        "a:80:80",
        "a:1e3",
        "a:-1",
        "a:123456",
        "a:65536",
        "a:99999",
        "::1",
        "[::1",
        "::1]",
        "[x]",
        "[]",
        "[::1]x",
        "a[::1]",
        "a%2fb",
        "a\u{7f}",
        "ä.example",
        "\u{fffd}",
        "a;b",
        "a&b",
        "a'b",
        "a\"b",
        "<a>",
        " a",
        "a ",
        "http://a",
    ] {
        assert!(!is_authority(host), "{host}");
        assert!(
            matches!(check_host(Some(host), is_authority), Err(Refusal::InvalidHeader { name: "Host", .. })),
            "{host}"
        );
    }
    assert_eq!((check_host(None, is_authority), check_host(Some("a:1"), is_authority)), (Ok(()), Ok(())));
}

/// The places where a token may be, by method.
#[test]
fn token_in_url_or_cookie_is_for_reads_only() {
    let url = |query: &str| format!("https://x/v1/stream/a{query}");
    let header = Some("Bearer abc");
    let cookie = Some("a=b; stream-token=abc; c=d");
    let found = |source, token: &str| Ok(Credential { source, token: Some(token.to_owned()) });
    let unusable = |source| Ok(Credential { source, token: None });
    let table = [
        ("GET", "", None, None, Ok(Credential::none())),
        ("GET", "", header, None, found(Source::Header, "abc")),
        ("GET", "", Some("bearer   abc"), None, found(Source::Header, "abc")),
        ("GET", "", Some("Basic abc"), None, unusable(Source::Header)),
        ("GET", "", Some("Bearer"), None, unusable(Source::Header)),
        ("GET", "", Some("Bearer abc, Bearer def"), None, unusable(Source::Header)),
        ("GET", "", Some("Bearer abc def"), None, unusable(Source::Header)),
        ("GET", "", Some(""), cookie, unusable(Source::Header)),
        ("GET", "?token=abc", None, None, found(Source::Query, "abc")),
        ("GET", "?%74oken=abc", None, None, found(Source::Query, "abc")),
        ("GET", "?token=", None, None, unusable(Source::Query)),
        ("GET", "?token=abc", None, cookie, found(Source::Query, "abc")),
        ("HEAD", "?offset=1&token=abc", None, None, found(Source::Query, "abc")),
        ("GET", "", None, cookie, found(Source::Cookie, "abc")),
        ("HEAD", "", None, cookie, found(Source::Cookie, "abc")),
        ("GET", "", header, cookie, found(Source::Header, "abc")),
        ("GET", "", None, Some("xstream-token=abc"), Ok(Credential::none())),
        ("GET", "?x=token", None, None, Ok(Credential::none())),
        // Another site can make a browser send these, so a cookie does not count.
        ("POST", "", None, cookie, Ok(Credential::none())),
        ("PUT", "", None, cookie, Ok(Credential::none())),
        ("DELETE", "", None, cookie, Ok(Credential::none())),
        ("GET", "?token=abc", header, None, Err(400)),
        ("GET", "?token=abc&token=abc", None, None, Err(400)),
        ("POST", "?token=abc", None, None, Err(400)),
        ("DELETE", "?%74oken=abc", None, None, Err(400)),
    ];
    for (method, query, authorization, cookie, expected) in table {
        let (method, url): (Method, _) = (method.parse().unwrap(), url(query));
        let target = Target::of(&url);
        let in_query = target.token();
        let credential =
            in_query.and_then(|in_query| Credential::of(&method, in_query, authorization, cookie));
        let credential = credential.map_err(|refusal| Reply::refused(&refusal).status.as_u16());
        assert_eq!(credential, expected, "{method} {query} {authorization:?} {cookie:?}");
    }
}

#[test]
fn url_for_the_object_has_no_token() {
    for (query, expected) in [
        ("", ""),
        ("?offset=-1", "?offset=-1"),
        ("?token=abc", "?"),
        ("?token=abc&offset=-1&live=sse", "?offset=-1&live=sse"),
        ("?offset=-1&%74oken=a%26b&live=sse#x", "?offset=-1&live=sse"),
        ("?a=token&token=x&token=y", "?a=token"),
    ] {
        assert_eq!(
            Target::of(&format!("https://x/a{query}")).url_without_token(),
            format!("https://x/a{expected}")
        );
    }
}

/// The same normalised path decides authorisation and routing.
#[test]
fn escapes_do_not_change_the_project() {
    for (raw, expected) in [
        ("a/x", Ok("yes")),
        ("%61/x", Ok("yes")),
        ("a%2Fx", Ok("yes")),
        ("a%2fx", Ok("yes")),
        ("b%2F..%2Fa%2Fx", Err(400)),
        ("a/../b/x", Err(400)),
        ("a/%2e%2e/b", Err(400)),
        ("a//x", Err(400)),
        ("/a/x", Err(400)),
        ("a/x/", Err(400)),
        ("a\\x", Err(400)),
        ("a%00/x", Err(400)),
        ("%2561/x", Ok("403")),
        ("b/x", Ok("403")),
        ("b%2Fa", Ok("403")),
        ("a.b/x", Ok("403")),
        ("A/x", Ok("403")),
        ("__ds/x", Err(404)),
        ("a/__ds/x", Err(404)),
        ("a%2F%5F%5fds", Err(404)),
        ("b/__ds/x", Err(404)),
        ("__registry__/x", Err(400)),
        ("%5f_registry__/x", Err(400)),
        ("__registry__", Err(403)),
        ("a/__registry__", Err(403)),
    ] {
        for prefix in STREAM_PREFIXES {
            let url = format!("https://x{prefix}{raw}");
            let found = verdict_at("projects", "PUT", &url, Some(&token(&json!({}))));
            let expected = match expected {
                Ok(text) => text.to_owned(),
                Err(status) => status.to_string(),
            };
            assert_eq!(found, expected, "{prefix}{raw}");
        }
    }
}

// JWKS endpoints and the KV namespace.

const JWKS: &str = "https://keys.example/jwks.json";

fn ec(kid: &str) -> Value {
    let part = URL_SAFE_NO_PAD.encode([7; 32]);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": part, "y": part })
}

fn with_server() -> HashMap<String, Rc<Project>> {
    parse_all(&json!({ "a": { "jwks_url": JWKS, "keys": [oct("own", "a")] } }).to_string()).unwrap()
}

fn keys(set: &Value) -> Vec<Rc<Key>> {
    parse_public(&set.to_string()).unwrap()
}

/// A token of the JWKS endpoint's key `kid`; its signature cannot be verified here.
fn foreign(alg: &str, kid: &str) -> String {
    signed(&json!({ "alg": alg, "kid": kid }), &claims(&json!({ "exp": NOW_SECONDS + 100_000 })), "x")
}

#[test]
fn jwks_endpoint_is_fetched_rarely() {
    let projects = with_server();
    let mut keyring = Keyring::new(false);
    let needs = Check::NeedsKeys(JWKS.to_owned());
    let check = |keyring: &Keyring, kid: &str, now| keyring.check(&projects, &foreign("ES256", kid), now);
    assert_eq!(check(&keyring, "1", NOW), needs);
    keyring.learn_keys(JWKS, Learnt::Found(keys(&json!({ "keys": [ec("1")] }))), NOW);
    assert!(matches!(check(&keyring, "1", NOW), Check::NeedsSignature(_)));
    // An unknown key causes a new fetch, but not at once.
    assert_eq!(check(&keyring, "2", NOW + KEY_SET_ASKED_AGAIN - 1), Check::Invalid);
    assert_eq!(check(&keyring, "2", NOW + KEY_SET_ASKED_AGAIN), needs);
    assert!(matches!(check(&keyring, "1", NOW + KEY_SET_KEPT - 1), Check::NeedsSignature(_)));
    assert_eq!(check(&keyring, "1", NOW + KEY_SET_KEPT), needs);
    // If the endpoint fails, the cached keys are used for a limited time.
    let mut at = NOW + KEY_SET_KEPT;
    keyring.learn_keys(JWKS, Learnt::Failed, at);
    assert!(matches!(check(&keyring, "1", at), Check::NeedsSignature(_)));
    assert_eq!(check(&keyring, "1", at + KEY_SET_ASKED_AGAIN), needs);
    at = NOW + KEY_SET_STALE;
    keyring.learn_keys(JWKS, Learnt::Failed, at);
    assert_eq!(check(&keyring, "1", at), Check::Unavailable);
}

/// The key decides the algorithm, and secret keys of a JWKS endpoint are ignored.
#[test]
fn token_with_another_algorithm_than_its_key_is_refused() {
    let projects = with_server();
    let mut keyring = Keyring::new(false);
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB" });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode([7; 32]) });
    let small =
        json!({ "kty": "RSA", "kid": "small", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" });
    let other = json!({ "kty": "EC", "crv": "secp256k1", "kid": "k1", "x": "AA", "y": "AA" });
    let for_encryption = json!({ "kty": "OKP", "crv": "Ed25519", "use": "enc", "kid": "enc", "x": "AA" });
    let set = json!({ "keys": [ec("ec"), rsa, ed, oct("oct", "x"), small, other, for_encryption, { "kty": 1 }, 7] });
    keyring.learn_keys(JWKS, Learnt::Found(keys(&set)), NOW);
    let table = [
        ("ES256", "ec", true),
        ("RS256", "rsa", true),
        ("EdDSA", "ed", true),
        ("Ed25519", "ed", true),
        ("RS256", "ec", false),
        ("HS256", "rsa", false),
        ("HS256", "ec", false),
        ("HS256", "oct", false),
        ("ES256", "rsa", false),
        ("RS256", "small", false),
        ("ES256", "k1", false),
        ("EdDSA", "enc", false),
        ("RS256", "own", false),
        ("PS256", "rsa", false),
    ];
    for (alg, kid, is_looked_at) in table {
        let check = keyring.check(&projects, &foreign(alg, kid), NOW);
        assert_eq!(matches!(check, Check::NeedsSignature(_)), is_looked_at, "{alg} {kid}");
        assert!(is_looked_at || check == Check::Invalid, "{alg} {kid}: {check:?}");
    }
    assert!(
        keys(&json!({ "keys": [oct("oct", "x")] })).is_empty(),
        "secret keys of a JWKS endpoint are ignored"
    );
    let unasked = Keyring::new(false).check(&projects, &foreign("HS256", "ec"), NOW);
    assert_eq!(unasked, Check::Invalid, "so a token with a secret key causes no fetch");
    let only = parse_all(&json!({ "a": { "keys": [ec("1")] } }).to_string()).unwrap();
    for (alg, is_looked_at) in [("ES256", true), ("RS256", false), ("HS256", false)] {
        let nameless = signed(&json!({ "alg": alg }), &claims(&json!({})), "x");
        let check = Keyring::new(false).check(&only, &nameless, NOW);
        assert_eq!(matches!(check, Check::NeedsSignature(_)), is_looked_at, "{alg} without a name");
    }
    // The project's own secret is valid, but only by name.
    let own = signed(&json!({ "alg": "HS256", "kid": "own" }), &claims(&json!({})), "a");
    assert!(matches!(keyring.check(&projects, &own, NOW), Check::Granted(_)));
    let nameless = signed(&json!({ "alg": "HS256" }), &claims(&json!({})), "a");
    assert_eq!(keyring.check(&projects, &nameless, NOW), Check::Invalid);
}

#[test]
fn verified_token_is_cached_for_a_while() {
    let projects = with_server();
    let mut keyring = Keyring::new(false);
    keyring.learn_keys(JWKS, Learnt::Found(keys(&json!({ "keys": [ec("1")] }))), NOW);
    let short =
        signed(&json!({ "alg": "ES256", "kid": "1" }), &claims(&json!({ "exp": NOW_SECONDS + 10 })), "x");
    for (token, lasts) in [(foreign("ES256", "1"), TOKEN_KEPT), (short, 10_000)] {
        let Check::NeedsSignature(unverified) = keyring.check(&projects, &token, NOW) else {
            panic!("the signature is not verified yet")
        };
        assert_eq!(unverified.message, token.rsplit_once('.').unwrap().0);
        keyring.learn_token(&token, Some(unverified.grant.clone()), NOW);
        assert_eq!(keyring.check(&projects, &token, NOW + lasts - 1), Check::Granted(unverified.grant));
        assert!(!matches!(keyring.check(&projects, &token, NOW + lasts), Check::Granted(_)));
        // The cached result applies to this signature only.
        let other = format!("{}AAAA", token);
        assert!(!matches!(keyring.check(&projects, &other, NOW), Check::Granted(_)));
    }
}

#[test]
fn project_in_kv_is_looked_up_rarely() {
    let (none, token) = (HashMap::new(), signed(&header(), &claims(&json!({ "exp": NOW_SECONDS * 2 })), "a"));
    let found =
        || Learnt::Found(Rc::new(Project::parse(&json!({ "keys": [oct("1", "a")] }).to_string()).unwrap()));
    let needs = Check::NeedsProject("a".to_owned());
    let mut keyring = Keyring::new(true);
    assert_eq!(Keyring::new(false).check(&none, &token, NOW), Check::Invalid);
    assert_eq!(keyring.check(&none, &token, NOW), needs);
    keyring.learn_project("a", Learnt::Nothing, NOW);
    assert_eq!(keyring.check(&none, &token, NOW + NO_PROJECT_KEPT - 1), Check::Invalid);
    assert_eq!(keyring.check(&none, &token, NOW + NO_PROJECT_KEPT), needs);
    keyring.learn_project("a", found(), NOW);
    assert!(matches!(keyring.check(&none, &token, NOW), Check::Granted(_)), "the project exists now");
    assert!(matches!(keyring.check(&none, &token, NOW + PROJECT_KEPT - 1), Check::Granted(_)));
    assert_eq!(keyring.check(&none, &token, NOW + PROJECT_KEPT), needs);
    // If KV fails, the cached project is used for a limited time, and KV is not called for each request.
    let at = NOW + PROJECT_KEPT;
    keyring.learn_project("a", Learnt::Failed, at);
    assert!(matches!(keyring.check(&none, &token, at), Check::Granted(_)));
    assert_eq!(keyring.check(&none, &token, at + NO_PROJECT_KEPT), needs);
    let at = NOW + PROJECT_STALE;
    keyring.learn_project("a", Learnt::Failed, at);
    assert_eq!(keyring.check(&none, &token, at), Check::Unavailable);
    keyring.learn_project("a", Learnt::Nothing, at);
    assert_eq!(keyring.check(&none, &token, at), Check::Invalid, "tokens of a deleted project are invalid");
}

/// Reserved names are never projects, wherever they are configured.
#[test]
fn reserved_names_are_not_projects() {
    for name in ["__registry__", "__ds"] {
        let keys = json!({ name: { "keys": [oct("1", "a")] } }).to_string();
        assert!(parse_all(&keys).is_err(), "{name}");
        let project = Project::parse(&json!({ "keys": [oct("1", "a")] }).to_string()).unwrap();
        let mut keyring = Keyring::new(true);
        keyring.learn_project(name, Learnt::Found(Rc::new(project)), NOW);
        let token = token(&json!({ "sub": name }));
        assert_eq!(keyring.check(&HashMap::new(), &token, NOW), Check::Invalid, "{name}");
    }
}

#[test]
fn cache_evicts_its_oldest_entry() {
    let mut kept = Kept::new(3);
    for (name, at) in [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("d", 5)] {
        kept.keep(name, at, at);
    }
    assert_eq!(kept.count(), 3);
    assert_eq!(kept.find("b", 9), None, "the oldest entry is evicted");
    assert_eq!(kept.find("a", 9), Some((&4, 5)));
    kept.forget("a");
    assert_eq!((kept.find("a", 9), kept.count()), (None, 2));
}

// CORS.

#[test]
fn only_listed_origins_are_allowed() {
    let listed = |origins: &[&str], credentials| {
        Cors::listed(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>(), credentials)
    };
    let app = "https://app.example";
    let lines = |cors: &Cors, origin: &str| -> Vec<(String, String)> {
        let lines = cors.header_lines(&Method::GET, origin);
        let lines: Vec<&str> = lines.lines().collect();
        lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    };
    let value = |cors: &Cors, origin: &str, name: &str| {
        lines(cors, origin).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    };
    let allowed = |cors: &Cors, origin: &str| value(cors, origin, "access-control-allow-origin");
    let some = listed(&[app, "http://localhost:3000"], true);
    assert_eq!(allowed(&some, app).as_deref(), Some(app));
    assert_eq!(value(&some, app, "access-control-allow-credentials").as_deref(), Some("true"));
    for origin in [
        "https://evil.example",
        "null",
        "*",
        "",
        "https://app.example.evil",
        "http://app.example",
        "https://app.example/",
    ] {
        assert_eq!(lines(&some, origin), [("vary".to_owned(), "Origin".to_owned())], "{origin}");
    }
    assert_eq!(value(&some, app, "vary").as_deref(), Some("Origin"));
    let any = listed(&["*"], false);
    assert_eq!(allowed(&any, "https://evil.example").as_deref(), Some("*"));
    assert_eq!(value(&any, app, "access-control-allow-credentials"), None);
    let nobody = Cors::of(&EdgeSettings::default()).unwrap();
    assert_eq!(allowed(&nobody, app), None);
    let two =
        EdgeSettings { cors_origins: Some(format!("{app}, https://b.example\n")), ..EdgeSettings::default() };
    assert_eq!(allowed(&Cors::of(&two).unwrap(), "https://b.example").as_deref(), Some("https://b.example"));
}

/// An entry of the list, the origins that it allows, and origins that it does not allow.
const SITES: [(&str, &[&str], &[&str]); 17] = [
    (
        "https://app.example",
        &["https://app.example"],
        &[
            "http://app.example",
            "https://app.example:8443",
            "https://app.example/",
            "https://app.example.",
            "https://app.example.evil",
            "https://evilapp.example",
            "https://x.app.example",
            "https://app.example@evil.example",
            "null",
            "*",
            "",
        ],
    ),
    ("https://app.example/", &["https://app.example"], &["https://app.example/"]),
    ("HTTPS://App.Example", &["https://app.example"], &["HTTPS://App.Example"]),
    ("https://app.example:443", &["https://app.example"], &["https://app.example:443"]),
    ("http://app.example:80/", &["http://app.example"], &["http://app.example:80"]),
    ("http://app.example:443", &["http://app.example:443"], &["http://app.example"]),
    ("http://localhost:3000", &["http://localhost:3000"], &["http://localhost", "http://localhost:30000"]),
    ("http://127.0.0.1:3000", &["http://127.0.0.1:3000"], &["http://127.0.0.1"]),
    ("http://[::1]:3000", &["http://[::1]:3000"], &["http://[::1]"]),
    ("https://[2001:DB8::1]", &["https://[2001:db8::1]"], &["https://[2001:db8::2]"]),
    (
        "https://*.app.example",
        &["https://a.app.example", "https://a.b-c.x_1.app.example", "https://xn--bcher-kva.app.example"],
        &[
            "https://app.example",
            "https://.app.example",
            "https://a..app.example",
            "https://.a.app.example",
            "https://evilapp.example",
            "https://a.app.example.evil",
            "https://a.app.example.",
            "https://a.app.example:8443",
            "https://evil.example:443.app.example",
            "https://evil.example/.app.example",
            "https://evil.example?.app.example",
            "https://evil.example#.app.example",
            "https://evil.example\\.app.example",
            "https://evil.example@a.app.example",
            "https://a b.app.example",
            "https://*.app.example",
            "https://a%2e.app.example",
            "https://b\u{fc}cher.app.example",
            "https://\u{fffd}.app.example",
            "https://a\n.app.example",
            "http://a.app.example",
            "https:a.app.example",
            "https://https://a.app.example",
            "null",
        ],
    ),
    (
        "http://*.app.example:8080/",
        &["http://a.app.example:8080"],
        &["http://a.app.example", "http://a.app.example:80801", "http://a.app.example:80:8080"],
    ),
    ("https://*.App.example:443", &["https://a.app.example"], &["https://a.app.example:443"]),
    ("http://*.localhost:3000", &["http://a.localhost:3000"], &["http://localhost:3000"]),
    ("capacitor://localhost", &["capacitor://localhost"], &["capacitor://localhost2", "https://localhost"]),
    (
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        &["chrome-extension://abcdefghijklmnopabcdefghijklmnop"],
        &["chrome-extension://abcdefghijklmnopabcdefghijklmnoq"],
    ),
    ("Tauri://localhost/", &["tauri://localhost"], &["tauri://LOCALHOST"]),
];

/// Entries of the list, and the origins that browsers send.
#[test]
fn listed_origin_allows_its_spellings_and_no_others() {
    for (listed, ours, others) in SITES {
        let cors = Cors::listed(&[listed.to_owned()], true);
        assert_eq!(cors.mistakes(), None, "{listed}");
        for origin in ours {
            let lines = cors.header_lines(&Method::GET, origin);
            assert!(
                lines.contains(&format!("access-control-allow-origin\n{origin}\n")),
                "{listed}: {origin}"
            );
        }
        for origin in others {
            assert_eq!(cors.header_lines(&Method::GET, origin), "vary\nOrigin\n", "{listed}: {origin}");
        }
        let preflight = cors.header_lines(&Method::OPTIONS, ours[0]);
        assert!(preflight.starts_with("vary\nOrigin, Access-Control-Request-Headers\n"), "{preflight}");
    }
}

const NO_SITES: [&str; 49] = [
    "app.example",
    "//app.example",
    "https:app.example",
    "https:///app.example",
    "https://",
    "https:///",
    "://app.example",
    "1://app.example",
    "ht\u{e4}ps://app.example",
    "https://app.example//",
    "https://app.example/path",
    "https://app.example?x",
    "https://app.example#x",
    "https://user@app.example",
    "https://user:secret@app.example",
    "https://app.example:",
    "https://app.example:0",
    "https://app.example:080",
    "https://app.example:65536",
    "https://app.example:*",
    "https://app.example:8443:1",
    "https://app..example",
    "https://.app.example",
    "https://app.example.",
    "https://b\u{fc}cher.example",
    "https://a%2e.example",
    "https://[::1",
    "https://[::x]",
    "https://*",
    "https://*.",
    "https://*.com",
    "https://*.*.example",
    "https://a.*.example",
    "https://a*.app.example",
    "https://**.app.example",
    "https://*app.example",
    "https://*.0.0.1",
    "https://*.[::1]",
    "*://app.example",
    "*.app.example",
    "*.*",
    "https://*.app..example",
    "capacitor://*.app.example",
    "chrome-extension://*",
    "null",
    "NULL",
    "file://",
    "data:",
    "*",
];

/// An entry that is not an origin is ignored: it neither locks the server nor allows an origin, and the other
/// entries apply.
#[test]
fn malformed_origin_is_ignored_and_reported() {
    for wrong in NO_SITES {
        let app = "https://right.example";
        for credentials in [false, true] {
            let cors = Cors::listed(&[wrong.to_owned(), app.to_owned()], credentials);
            let mistakes = cors.mistakes().unwrap_or_else(|| panic!("{wrong} is accepted as an origin"));
            assert!(mistakes.contains(&format!("ignored: {wrong};")), "{mistakes}");
            assert!(
                cors.header_lines(&Method::GET, app).contains(&format!("allow-origin\n{app}\n")),
                "{wrong}"
            );
            for origin in [
                wrong,
                "null",
                "",
                "https://app.example",
                "https://evil.example",
                "https://a.com",
                "http://127.0.0.1",
            ] {
                assert_eq!(cors.header_lines(&Method::GET, origin), "vary\nOrigin\n", "{wrong}: {origin}");
            }
        }
    }
    // `*` with credentials would allow everything, and `*` without credentials is another configuration.
    let all = Cors::listed(&["*".to_owned()], true);
    assert_eq!(all.header_lines(&Method::GET, "https://evil.example"), "vary\nOrigin\n");
    assert!(all.mistakes().is_some());
    assert_eq!(Cors::listed(&["*".to_owned()], false).mistakes(), None);
}

#[test]
fn project_has_its_own_cors() {
    let cors = json!({ "origins": ["https://a.example"] });
    let projects = parse_all(
        &json!({ "a": { "keys": [oct("1", "a")], "cors": cors }, "b": { "keys": [oct("1", "b")] } })
            .to_string(),
    );
    let (projects, keyring) = (projects.unwrap(), Keyring::new(false));
    assert!(
        keyring
            .cors(&projects, "a")
            .unwrap()
            .header_lines(&Method::GET, "https://a.example")
            .contains("allow-origin")
    );
    assert!(keyring.cors(&projects, "b").is_none() && keyring.cors(&projects, "c").is_none());
}

/// On an open server, every reply to a script and every cacheable reply allows all origins.
#[test]
fn open_server_allows_every_origin() {
    let mut world = World::after(&["PUT | content-type: text/plain << hello"]);
    for request in ["GET", "GET ?offset=now", "GET ?offset=@0_1&live=long-poll"] {
        world
            .ask(request)
            .assert_is("200 | access-control-allow-origin: * | access-control-expose-headers | !vary");
    }
    let append = "POST | content-type: text/plain";
    world.ask(&format!("{append} << x")).assert_is("204 | !access-control-allow-origin | !vary");
    world
        .ask(&format!("{append} | origin: https://a.example << x"))
        .assert_is("204 | access-control-allow-origin: *");
    world.ask("GET /nowhere | origin: https://a.example").assert_is("404 | access-control-allow-origin: *");
}

// Public streams.

const STRANGER: &str = "stream-stranger: true";

fn guarded(steps: &[&str]) -> World {
    let mut world = World::new();
    world.guard();
    world.run(steps);
    world
}

/// A client without a token gets the same answer for a private stream as for one that is missing, deleted or
/// expired.
#[test]
fn stranger_reads_public_streams_only() {
    let hidden: [&[&str]; 5] = [
        &[],
        &["PUT | content-type: text/plain << secret"],
        &["PUT | content-type: text/plain | stream-closed: true << secret"],
        &["PUT | content-type: text/plain | stream-public: true << hello", "DELETE"],
        &["PUT | content-type: text/plain | stream-public: true | stream-ttl: 1 << hello", "WAIT 2s"],
    ];
    let reads = [
        "GET",
        "HEAD",
        "GET ?offset=now",
        "GET ?offset=@0_9",
        "GET ?offset=-1&live=sse",
        "GET ?offset=now&live=long-poll",
    ];
    for state in hidden {
        for request in reads {
            let response = guarded(state).ask(&format!("{request} | {STRANGER}"));
            let unknown = Response::of_reply(Reply::refused(&Refusal::Unauthorized { given: false }));
            assert_eq!(response, unknown, "{state:?} {request}");
        }
    }
    let public = ["PUT | content-type: text/plain | stream-public: true << hello"];
    let world = || guarded(&public);
    world()
        .ask(&format!("GET | {STRANGER}"))
        .assert_is("200 | cache-control: no-cache | vary: Origin << hello");
    world().ask(&format!("HEAD | {STRANGER}")).assert_is("200 | stream-public: true");
    world().ask(&format!("GET ?offset=@0_9 | {STRANGER}")).assert_is("400 | error: offset_beyond_tail");
    for request in ["POST | content-type: text/plain", "DELETE", "POST | stream-closed: true", public[0]] {
        let request = request.split(" <<").next().unwrap();
        let request =
            format!("{request} | {STRANGER}{}", if request.contains("close") { "" } else { " << x" });
        world().ask(&request).assert_is("401");
    }
}

/// With PUBLIC_STREAMS off, streams that were created as public are private, too.
#[test]
fn all_streams_are_private_without_public_streams() {
    let (public, private) =
        ("PUT | content-type: text/plain | stream-public: true", "PUT | content-type: text/plain");
    let mut world = guarded(&[public, "POST | content-type: text/plain << hello"]);
    world.guard_all();
    let below_tail = "GET ?offset=@0_1&live=long-poll";
    for request in ["GET", "HEAD", below_tail] {
        world.ask(&format!("{request} | {STRANGER}")).assert_is("401 | !stream-next-offset");
    }
    world.ask(below_tail).assert_is("200 | cache-control: private, no-cache | x-cache: BYPASS");
    world.ask("HEAD").assert_is("200 | !stream-public | stream-reader-key");
    world.ask(private).assert_is("200 | stream-reader-key");
    for steps in [&[][..], &["DELETE"]] {
        world.run(steps);
        let refused = world.ask(public);
        refused.assert_is("400 | error: invalid_header");
        assert!(refused.text().contains("PUBLIC_STREAMS"), "{refused:?}");
    }
}

/// The reads per address and minute that may load an object and find no public stream.
#[test]
fn misses_of_an_address_are_limited() {
    let mut strangers = Strangers::default();
    let refused = |after_seconds| Err(Refusal::TooManyRequests { after_seconds });
    let name = |at: usize| format!("victim/{at}");
    // A read in flight counts, because it may miss; a second read of the same stream does not.
    for at in 0..MISSES_MAX {
        assert_eq!(strangers.ask("a", &name(at), NOW), Ok(()));
        assert_eq!(strangers.ask("a", &name(at), NOW), Ok(()));
    }
    assert_eq!(strangers.ask("a", "another", NOW), refused(60));
    assert_eq!(strangers.ask("b", "another", NOW), Ok(()), "another address");
    // A read of a public stream is no longer counted; a miss is.
    strangers.answered("a", &name(0), false, NOW);
    for at in 1..MISSES_MAX {
        strangers.answered("a", &name(at), true, NOW);
    }
    assert_eq!(strangers.ask("a", "public", NOW + 1), Ok(()));
    strangers.answered("a", "public", false, NOW + 1);
    assert_eq!(strangers.ask("a", "missing", NOW + 1), Ok(()));
    strangers.answered("a", "missing", true, NOW + 1);
    assert_eq!(strangers.ask("a", "another", NOW + MISSES_PERIOD - 1), refused(1));
    // A stream that was public recently does not count, until a read of it misses.
    for _ in 0..2 * MISSES_MAX {
        assert_eq!(strangers.ask("a", "public", NOW + MISSES_PERIOD - 1), Ok(()));
    }
    strangers.answered("b", "public", true, NOW + MISSES_PERIOD - 1);
    assert_eq!(strangers.ask("a", "public", NOW + MISSES_PERIOD - 1), refused(1));
    assert_eq!(strangers.ask("a", "public", NOW + MISSES_PERIOD), Ok(()));
    // The number of counted addresses is bounded.
    for at in 0..2 * ADDRESSES_KEPT_MAX {
        let _counted = strangers.ask(&at.to_string(), "x", NOW);
    }
    assert_eq!(strangers.count(), ADDRESSES_KEPT_MAX);
}

#[test]
fn refused_read_does_not_extend_the_ttl() {
    let mut world = guarded(&["PUT | content-type: text/plain | stream-ttl: 10 << secret"]);
    for _ in 0..3 {
        world.run(&["WAIT 4s"]);
        world.ask(&format!("GET | {STRANGER}")).assert_is("401");
    }
    world.ask("GET").assert_is("404");
}

#[test]
fn put_with_another_stream_public_is_409() {
    let (public, private) =
        ("PUT | content-type: text/plain | stream-public: true", "PUT | content-type: text/plain");
    for restarts in [false, true] {
        let mut world = guarded(&[public]);
        if restarts {
            world.restart();
        }
        world.ask(public).assert_is("200");
        world.ask(private).assert_is("409 | error: stream_exists");
        world.run(&["DELETE", private]);
        world.ask(public).assert_is("409");
        world.ask("HEAD").assert_is("200 | !stream-public");
    }
}

/// Reads that need a token stay out of shared caches.
#[test]
fn private_reads_are_not_shared() {
    let below_tail = "GET ?offset=@0_1&live=long-poll";
    let kept = "200 | cache-control: public, max-age=60, stale-while-revalidate=300, stale-if-error=0 | vary: Origin";
    let table = [
        ("GET", "200 | cache-control: private, no-cache | vary: Origin | !access-control-allow-origin"),
        (below_tail, "200 | cache-control: private, no-cache"),
        ("GET ?offset=now", "200 | cache-control: no-store"),
    ];
    for (request, expected) in table {
        guarded(&["PUT | content-type: text/plain << hello"]).ask(request).assert_is(expected);
    }
    guarded(&["PUT | content-type: text/plain | stream-public: true << hello"])
        .ask(below_tail)
        .assert_is(kept);
}

/// A public stream may be replaced by a private one while a read waits for a segment.
#[test]
fn stream_that_becomes_private_during_a_read_is_401() {
    let mut world = World::new();
    world.guard();
    world.limit_segments(Some(durable_streams::stream::rotate::SegmentLimits {
        appends_max: 1,
        bytes_max: 1 << 20,
        closed_bytes_min: 1,
    }));
    world.run(&[
        "PUT | content-type: text/plain | stream-public: true << one",
        "POST | content-type: text/plain << two",
    ]);
    world.ask(&format!("GET | {STRANGER}")).assert_is("200");
    world.meanwhile = crate::support::world::Meanwhile::AnotherLife;
    world.ask(&format!("GET | {STRANGER}")).assert_is("401 | !stream-next-offset");
}
