//! The control API of subscriptions in the Worker: every route and method, every scope and `stream` claim, the settings
//! of webhooks, and every reply.

use std::collections::BTreeSet;

use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use durable_streams::edge::access::{Access, delivery_rules};
use durable_streams::edge::admin::Admin;
use durable_streams::edge::admit::{Admission, CountsAgainst, Decision, Head, Known, Rules};
use durable_streams::edge::grant::{Grant, Scope, Streams};
use durable_streams::edge::host::is_authority;
use durable_streams::edge::keyring::{Check, Keyring, Learnt};
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::subscriptions::{Action, Context, ControlRequest, Endpoint};
use durable_streams::edge::target::Target;
use durable_streams::edge::webhooks::WebhookSettings;
use durable_streams::protocol::Millis;
use durable_streams::protocol::names::STREAM_PREFIXES;
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::reply::Reply;
use durable_streams::protocol::subscription::SubscriptionName;
use durable_streams::protocol::subscription::answer::{
    Claimed, Shown, ShownLink, Signing, SubscriptionAnswer,
};
use durable_streams::protocol::subscription::glob::Pattern;
use durable_streams::protocol::subscription::keys::PublicKey;
use durable_streams::protocol::subscription::refusal::SubscriptionRefusal;
use durable_streams::protocol::subscription::request::SubscriptionRequest;
use durable_streams::protocol::subscription::wake_token::WakeClaims;
use durable_streams::protocol::subscription::webhook_url::UrlRules;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::Response;

const NOW: Millis = 1_893_456_000_000;
const TOKEN: &str = "a-token-of-32-characters-and-so-";

// Routes.

/// An endpoint in one word, with its root and id.
fn word(endpoint: &Endpoint) -> String {
    let root = endpoint.root().unwrap_or("-");
    match endpoint {
        Endpoint::Subscription { name, action } => format!("{root} {} {action:?}", name.id),
        Endpoint::List { .. } => format!("{root} list"),
        Endpoint::Keys { .. } => format!("{root} keys"),
    }
}

/// The endpoint, or the status of the refusal with its code or its `Allow`.
fn routed(method: &str, path: &str) -> String {
    let url = format!("https://x{path}");
    match route(&method.parse().unwrap(), &Target::of(&url)) {
        Route::Subscriptions(endpoint) => word(&endpoint),
        Route::Reply(reply) => {
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            let what = reply.header("allow").or(body["error"]["code"].as_str()).unwrap();
            format!("{} {what}", reply.status.as_u16())
        }
        Route::Forward(path) => format!("stream {}", path.as_str()),
        other @ (Route::Preflight
        | Route::Health
        | Route::Description
        | Route::LongPoll(_)
        | Route::Sse(_)
        | Route::Listing
        | Route::Ready
        | Route::Metrics
        | Route::Console(_)
        | Route::Details(_)
        | Route::Orphans) => panic!("{other:?}"),
    }
}

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"];

#[test]
fn every_route_takes_its_methods_only() {
    let table: [(&str, &[(&str, &str)]); 10] = [
        ("jwks.json", &[("GET", "keys")]),
        ("subscriptions", &[("GET", "list")]),
        (
            "subscriptions/s",
            &[("GET", "s Get"), ("PUT", "s Put"), ("DELETE", "s Delete"), ("PATCH", "s Patch")],
        ),
        ("subscriptions/s/streams", &[("POST", "s AddStreams")]),
        ("subscriptions/s/streams/a%2Fb", &[("DELETE", "s RemoveStream(\"{root}a/b\")")]),
        ("subscriptions/s/callback", &[("POST", "s Callback")]),
        ("subscriptions/s/claim", &[("POST", "s Claim")]),
        ("subscriptions/s/ack", &[("POST", "s Ack")]),
        ("subscriptions/s/release", &[("POST", "s Release")]),
        ("subscriptions/s/resume", &[("POST", "s Resume")]),
    ];
    for prefix in STREAM_PREFIXES {
        for root in ["", "p/"] {
            for (path, methods) in table {
                for method in METHODS {
                    for query in ["", "?x=1&x=2"] {
                        let found = routed(method, &format!("{prefix}{root}__ds/{path}{query}"));
                        let expected = methods.iter().find(|(allowed, _)| *allowed == method);
                        match expected {
                            Some((_, word)) => {
                                let shown = if root.is_empty() { "-" } else { "p" };
                                let word = word.replace("{root}", root);
                                assert_eq!(found, format!("{shown} {word}"), "{method} {root}{path}");
                            }
                            None => {
                                let allow: BTreeSet<&str> =
                                    found.strip_prefix("405 ").unwrap().split(", ").collect();
                                let expected = methods.iter().map(|(method, _)| *method).chain(["OPTIONS"]);
                                assert_eq!(allow, expected.collect(), "{method} {root}{path}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn control_root_cannot_be_reached_by_another_spelling_of_a_stream() {
    let (unknown, invalid, path) = ("404 SUBSCRIPTION_NOT_FOUND", "400 INVALID_REQUEST", "400 invalid_path");
    let table = [
        ("%5f%5fds/subscriptions/s", "- s Get"),
        ("__%64s/subscriptions/s", "- s Get"),
        ("p/%5F_ds/subscriptions/s", "p s Get"),
        ("%70/__ds/subscriptions/s", "p s Get"),
        ("__ds", unknown),
        ("__ds/", unknown),
        ("__ds/x", unknown),
        ("__ds/jwks.json/", unknown),
        ("__ds/JWKS.json", unknown),
        ("__ds/subscriptions/", invalid),
        ("__ds/subscriptions/s/", unknown),
        ("__ds/subscriptions/s/x", unknown),
        ("__ds/subscriptions/s/claim/x", unknown),
        ("__ds//subscriptions/s", unknown),
        ("__ds/__ds/subscriptions/s", unknown),
        ("__ds%2Fsubscriptions%2Fs", unknown),
        ("p/__ds", unknown),
        ("p/__ds%2Fsubscriptions/s", unknown),
        ("p%2F__ds/subscriptions/s", unknown),
        ("p%2f%5f%5fds%2fsubscriptions%2fs", unknown),
        ("/__ds/subscriptions/s", path),
        ("p//__ds/subscriptions/s", path),
        ("./__ds/subscriptions/s", path),
        ("%2e%2e/__ds/subscriptions/s", path),
        ("__registry__/__ds/subscriptions/s", path),
        ("*/__ds/subscriptions/s", path),
        // The patterns of these roots would match the streams of other roots.
        ("**/__ds/subscriptions/s", invalid),
        ("p%2A/__ds/subscriptions/s", invalid),
        ("p%252A/__ds/subscriptions/s", invalid),
        // All other paths belong to streams.
        ("__DS/subscriptions/s", "stream __DS/subscriptions/s"),
        ("__dsx/subscriptions/s", "stream __dsx/subscriptions/s"),
        ("%255f_ds/subscriptions/s", "stream %5f_ds/subscriptions/s"),
        ("p/q/__ds/subscriptions/s", "stream p/q/__ds/subscriptions/s"),
        ("p%2Fq/__ds/subscriptions/s", "stream p/q/__ds/subscriptions/s"),
    ];
    for prefix in STREAM_PREFIXES {
        for (raw, expected) in table {
            assert_eq!(routed("GET", &format!("{prefix}{raw}")), expected, "{prefix}{raw}");
        }
    }
}

#[test]
fn id_is_one_segment_of_1_to_256_bytes() {
    let ok = |id: &str| format!("p {id} Get");
    let invalid = || "400 INVALID_REQUEST".to_owned();
    let (longest, long) = ("x".repeat(256), "x".repeat(257));
    let table = [
        ("runner:abc:01", ok("runner:abc:01")),
        ("a%2Fb", ok("a/b")),
        ("%C3%A9", ok("\u{e9}")),
        ("a%3Fb%23c%25", ok("a?b#c%")),
        ("__ds", ok("__ds")),
        (&longest, ok(&longest)),
        (&long, invalid()),
        ("%2F", invalid()),
        ("a%2F%2Fb", invalid()),
        ("%2e%2e", invalid()),
        ("a%2F..%2Fb", invalid()),
        ("a%00", invalid()),
        ("*", invalid()),
        ("%ff", invalid()),
        ("%zz", invalid()),
        ("%", invalid()),
        ("a\\b", invalid()),
    ];
    for (id, expected) in table {
        assert_eq!(routed("GET", &format!("/v1/stream/p/__ds/subscriptions/{id}")), expected, "{id}");
    }
    // The object's name must be a valid path, too.
    let root = "r".repeat(741 - "/__ds/subscriptions/".len() - 2);
    let of_root = |id: &str| routed("GET", &format!("/v1/stream/{root}/__ds/subscriptions/{id}"));
    assert_eq!(of_root("ab"), format!("{root} ab Get"));
    assert_eq!(of_root("abc"), "400 INVALID_REQUEST");
}

#[test]
fn removed_stream_is_encoded_or_has_raw_slashes() {
    let removed = |path: &str| routed("DELETE", &format!("/v1/stream/p/__ds/subscriptions/s/streams/{path}"));
    let of = |path: &str| format!("p s RemoveStream({path:?})");
    for (path, expected) in [
        ("a", of("p/a")),
        ("a%2Fb", of("p/a/b")),
        ("a/b", of("p/a/b")),
        ("a/b/", of("p/a/b")),
        ("%2Fa%2F", of("p/a")),
        ("a%20b", of("p/a b")),
        ("__registry__", of("p/__registry__")),
    ] {
        assert_eq!(removed(path), expected, "{path}");
    }
    for path in ["", "%2F", "a//b", "../a", "a%2F..", "__ds/subscriptions/x", "%5f_ds", "%zz", "a%00"] {
        assert_eq!(removed(path), "400 INVALID_REQUEST", "{path}");
    }
}

// Rights.

fn settings(mode: &str) -> EdgeSettings {
    let some = |text: &str| Some(text.to_owned());
    let key = |secret: &str| json!({ "keys": [{ "kty": "oct", "kid": "1", "k": URL_SAFE_NO_PAD.encode(secret.repeat(32)) }] });
    match mode {
        "open" => EdgeSettings { allow_open: some("1"), ..EdgeSettings::default() },
        "local" => EdgeSettings::default(),
        "token" => EdgeSettings { auth_token: some(TOKEN), ..EdgeSettings::default() },
        "projects" => EdgeSettings {
            project_keys: Some(json!({ "p": key("p"), "q": key("q") }).to_string()),
            ..EdgeSettings::default()
        },
        _ => panic!("no mode {mode}"),
    }
}

fn rules(mode: &str) -> Rules {
    let settings = settings(mode);
    let (access, admin) = (Access::of(&settings), Admin::of(&settings));
    Rules { access, admin, is_limited: true, hides_public: false, lists: true, has_console: true }
}

/// A project's token with these scopes and an optional `stream` claim.
fn token(project: &str, scope: &str, stream: Option<&str>) -> String {
    let mut claims = json!({ "sub": project, "scope": scope, "exp": NOW / 1000 + 60 });
    if let Some(stream) = stream {
        claims["stream"] = json!(stream);
    }
    let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "kid": "1" }).to_string());
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut hash = Hmac::<Sha256>::new_from_slice(project.repeat(32).as_bytes()).unwrap();
    hash.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hash.finalize().into_bytes()))
}

fn admit(rules: &Rules, keyring: &Keyring, request: (&str, &str), headers: &[(&str, &str)]) -> Admission {
    let method: Method = request.0.parse().unwrap();
    let header =
        |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let known = Known::All { header: &header, is_host: &is_authority, peer: &|| None };
    rules.admit(keyring, &Head { method: &method, target: &Target::of(request.1), known }, true, NOW)
}

/// The text `yes`, or the status of the refusal.
fn verdict(mode: &str, request: (&str, &str), headers: &[(&str, &str)]) -> String {
    match admit(&rules(mode), &Keyring::new(false), request, headers).decision {
        Decision::Subscriptions(_) => "yes".to_owned(),
        Decision::Reply(reply) => reply.status.as_u16().to_string(),
        other @ (Decision::Forward(_)
        | Decision::Listing(_)
        | Decision::Orphans(_)
        | Decision::Ready
        | Decision::Metrics(_)
        | Decision::Console(_)
        | Decision::Learn { .. }
        | Decision::Inspect(_)
        | Decision::Look) => format!("{other:?}"),
    }
}

/// Every endpoint, with the scope that it needs.
const ENDPOINTS: [(&str, &str, &str); 13] = [
    ("PUT", "subscriptions/s", "manage"),
    ("GET", "subscriptions/s", "read"),
    ("DELETE", "subscriptions/s", "manage"),
    ("PATCH", "subscriptions/s", "manage"),
    ("POST", "subscriptions/s/streams", "manage"),
    ("DELETE", "subscriptions/s/streams/a", "manage"),
    ("POST", "subscriptions/s/resume", "manage"),
    ("GET", "subscriptions", "manage"),
    ("POST", "subscriptions/s/claim", "write"),
    ("POST", "subscriptions/s/callback", ""),
    ("POST", "subscriptions/s/ack", ""),
    ("POST", "subscriptions/s/release", ""),
    ("GET", "jwks.json", ""),
];

/// The verdict on a request to an endpoint of a root, with this bearer token.
fn verdict_of(mode: &str, root: &str, (method, path): (&str, &str), token: Option<&str>) -> String {
    let url = format!("https://x/v1/stream/{root}__ds/{path}");
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    verdict(mode, (method, &url), &headers)
}

#[test]
fn endpoints_need_the_one_token_unless_the_server_is_open() {
    for (method, path, needed) in ENDPOINTS {
        let ask = |mode: &str, root: &str, token: Option<&str>| verdict_of(mode, root, (method, path), token);
        let open = if needed.is_empty() { "yes" } else { "401" };
        for root in ["", "p/", "nobody/"] {
            assert_eq!(ask("open", root, None), "yes", "{method} {path}");
            assert_eq!(ask("open", root, Some("guess")), "yes", "{method} {path}");
            assert_eq!(ask("token", root, Some(TOKEN)), "yes", "{method} {path}");
            assert_eq!(ask("token", root, None), open, "{method} {path}");
            assert_eq!(ask("token", root, Some("guess")), open, "{method} {path}");
        }
    }
}

#[test]
fn every_endpoint_needs_its_scope_in_its_project() {
    for (method, path, needed) in ENDPOINTS {
        let ask = |mode: &str, root: &str, token: Option<&str>| verdict_of(mode, root, (method, path), token);
        let open = if needed.is_empty() { "yes" } else { "401" };
        assert_eq!(ask("projects", "p/", None), open, "{method} {path}");
        assert_eq!(ask("projects", "p/", Some("guess")), open, "{method} {path}");
        for scope in
            ["", "read", "write", "manage", "read write", "read manage", "write manage", "read write manage"]
        {
            let is_enough = needed.is_empty() || scope.split(' ').any(|scope| scope == needed);
            for claim in [None, Some("p/a"), Some("p/*")] {
                let token = token("p", scope, claim);
                let expected = if is_enough { "yes" } else { "403" };
                assert_eq!(ask("projects", "p/", Some(&token)), expected, "{method} {path} {scope}");
                // The root of another project, and no root.
                let elsewhere = if needed.is_empty() { "yes" } else { "403" };
                assert_eq!(ask("projects", "q/", Some(&token)), elsewhere, "{method} {path} {scope}");
                assert_eq!(ask("projects", "", Some(&token)), "403", "{method} {path} {scope}");
            }
        }
        assert_eq!(
            ask("projects", "", None),
            if needed.is_empty() { "403" } else { "401" },
            "{method} {path}"
        );
        // A project that does not exist has neither subscriptions nor keys.
        assert_eq!(
            ask("projects", "nobody/", None),
            if needed.is_empty() { "404" } else { "401" },
            "{method} {path}"
        );
    }
}

#[test]
fn token_in_query_or_cookie_does_not_count() {
    let cookie = format!("stream-token={TOKEN}");
    for (method, path, needed) in ENDPOINTS.into_iter().filter(|(.., needed)| !needed.is_empty()) {
        let url = format!("https://x/v1/stream/p/__ds/{path}");
        let in_query = format!("{url}?token={TOKEN}");
        assert_eq!(verdict("token", (method, &in_query), &[]), "401", "{method} {path} {needed}");
        assert_eq!(verdict("token", (method, &url), &[("cookie", &cookie)]), "401", "{method} {path}");
        let basic = format!("Basic {TOKEN}");
        assert_eq!(verdict("token", (method, &url), &[("authorization", &basic)]), "401", "{method} {path}");
    }
}

#[test]
fn open_server_of_the_local_machine_refuses_others() {
    for (method, path, _) in ENDPOINTS {
        let at = |host: &str| format!("http://{host}/v1/stream/__ds/{path}");
        assert_eq!(verdict("local", (method, &at("127.0.0.1:8787")), &[]), "yes", "{method} {path}");
        assert_eq!(verdict("local", (method, &at("x")), &[]), "503", "{method} {path}");
        assert_eq!(
            verdict("local", (method, &at("localhost")), &[("cf-ray", "1")]),
            "503",
            "{method} {path}"
        );
    }
}

#[test]
fn request_counts_by_its_token_or_else_by_its_address() {
    let (bearer, wake) = (format!("Bearer {TOKEN}"), "Bearer a.wake-token");
    for (method, path, needed) in ENDPOINTS {
        let url = format!("https://x/v1/stream/p/__ds/{path}");
        let counted = |authorization: &str| {
            admit(&rules("token"), &Keyring::new(false), (method, &url), &[("authorization", authorization)])
                .counts
        };
        let by_token = CountsAgainst::Token(TOKEN.to_owned());
        let expected = if needed.is_empty() { CountsAgainst::Address } else { by_token };
        assert_eq!(counted(&bearer), expected, "{method} {path}");
        assert_eq!(counted(wake), CountsAgainst::Address, "{method} {path}");
    }
}

/// Invented roots are looked up before they reach an object, and each lookup counts against the client's address.
#[test]
fn root_without_token_must_be_a_project() {
    let mut rules = rules("projects");
    rules.access = Access::of(&EdgeSettings { has_registry: true, ..EdgeSettings::default() });
    let mut keyring = Keyring::new(true);
    let request = ("GET", "https://x/v1/stream/p/__ds/jwks.json");
    let Admission { counts, decision } = admit(&rules, &keyring, request, &[]);
    let check = Check::NeedsProject("p".to_owned());
    assert_eq!((counts, decision), (CountsAgainst::Address, Decision::Learn { check, token: String::new() }));
    keyring.learn_project("p", Learnt::Nothing, NOW);
    let status = |keyring: &Keyring| {
        let Decision::Reply(reply) = admit(&rules, keyring, request, &[]).decision else { return None };
        Some(reply.status.as_u16())
    };
    assert_eq!(status(&keyring), Some(404));
    let mut keyring = Keyring::new(true);
    keyring.learn_project("p", Learnt::Failed, NOW);
    assert_eq!(status(&keyring), Some(503));
}

#[test]
fn list_needs_a_registry() {
    let rules = Rules { lists: false, ..rules("open") };
    for (method, path, _) in ENDPOINTS {
        let url = format!("https://x/v1/stream/__ds/{path}");
        let decision = admit(&rules, &Keyring::new(false), (method, &url), &[]).decision;
        if let Decision::Reply(reply) = decision {
            assert_eq!((reply.status.as_u16(), path), (501, "subscriptions"));
        } else {
            assert!(matches!(decision, Decision::Subscriptions(_)) && path != "subscriptions");
        }
    }
}

#[test]
fn registry_is_that_of_the_project() {
    for (mode, root, expected) in [
        ("open", "", "__registry__"),
        ("open", "p/", "__registry__"),
        ("token", "p/", "__registry__"),
        ("projects", "p/", "p/__registry__"),
    ] {
        let url = format!("https://x/v1/stream/{root}__ds/subscriptions/s");
        let token = if mode == "token" { TOKEN.to_owned() } else { token("p", "read", None) };
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let Decision::Subscriptions(control) =
            admit(&rules(mode), &Keyring::new(false), ("GET", &url), &headers).decision
        else {
            panic!("{mode} {root}");
        };
        assert_eq!(control.registry, expected);
    }
}

/// Objects sign with the keys of this registry (`without_registries_there_is_one_key_set`).
#[test]
fn without_registries_the_keys_are_those_of_the_server() {
    let rules = Rules { lists: false, ..rules("projects") };
    let authorization = format!("Bearer {}", token("p", "read", None));
    let headers = [("authorization", authorization.as_str())];
    let url = "https://x/v1/stream/p/__ds/subscriptions/s";
    let decision = admit(&rules, &Keyring::new(false), ("GET", url), &headers).decision;
    let Decision::Subscriptions(control) = decision else { panic!("{decision:?}") };
    assert_eq!(control.registry, "__registry__");
}

/// The Worker has no key, but most invented tokens are no token of the subscription at all.
#[test]
fn a_token_that_cannot_be_a_wake_token_calls_no_object() {
    let object = "p/__ds/subscriptions/s";
    let claims = |subscription: &str| WakeClaims {
        subscription: subscription.into(),
        incarnation: 1,
        generation: 1,
        expires_at: 5,
    };
    let made = claims(object).sign("any key");
    let (_, signature) = made.split_once('.').unwrap();
    assert!(WakeClaims::may_be_of(object, &made));
    let others = [
        String::new(),
        "a.b".to_owned(),
        format!("e30.{signature}"),
        made.trim_end_matches(char::is_alphanumeric).to_owned(),
        claims("p/__ds/subscriptions/t").sign("any key"),
        format!("{made}{}", "a".repeat(5000)),
    ];
    let of = |token: &str| {
        let control = control("*", Action::Ack);
        let Endpoint::Subscription { name, action } = &control.endpoint else { panic!("no subscription") };
        let context = Context { rules: &UrlRules::default(), base: "b", token: Some(token) };
        control.request(name, action, br#"{"wake_id":"w","generation":1}"#, &context)
    };
    assert!(of(&made).is_ok());
    for token in others {
        assert!(!WakeClaims::may_be_of(object, &token), "{token:.80}");
        assert_eq!(of(&token), Err(SubscriptionRefusal::TokenInvalid.into()));
    }
}

// The streams that a token with a `stream` claim covers.

fn control(claim: &str, action: Action) -> ControlRequest {
    let name = SubscriptionName { root: Some("p".to_owned()), id: "s".to_owned() };
    let scopes = vec![Scope::Read, Scope::Write, Scope::Manage];
    let project = Some("p".to_owned());
    let grant = Grant { project, scopes, streams: Streams::parse(claim), expires_at: None };
    let endpoint = Endpoint::Subscription { name, action };
    ControlRequest { endpoint, grant, registry: "p/__registry__".to_owned() }
}

fn requested(control: &ControlRequest, body: &Value) -> Result<SubscriptionRequest, Refusal> {
    let Endpoint::Subscription { name, action } = &control.endpoint else { panic!("no subscription") };
    let context =
        Context { rules: &UrlRules::default(), base: "https://x/v1/stream/p/__ds", token: Some("t") };
    control.request(name, action, body.to_string().as_bytes(), &context)
}

#[test]
fn stream_claim_covers_all_that_a_body_names() {
    let webhook = |others: Value| {
        let mut body = json!({ "type": "webhook", "webhook": { "url": "https://hooks.example.com" } });
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        body
    };
    let pull = |wake_stream: &str, stream: &str| json!({ "type": "pull-wake", "wake_stream": wake_stream, "streams": [stream] });
    let table = [
        ("*", webhook(json!({ "pattern": "**" })), true),
        ("p/*", webhook(json!({ "pattern": "**" })), true),
        ("p/*", webhook(json!({ "pattern": "**/x" })), true),
        ("p/*", webhook(json!({ "pattern": "a/*", "streams": ["b"] })), true),
        ("p/a/*", webhook(json!({ "pattern": "a/*" })), true),
        ("p/a/*", webhook(json!({ "pattern": "a/b/**" })), true),
        // The pattern also matches `p/a`.
        ("p/a/*", webhook(json!({ "pattern": "a/**" })), false),
        ("p/a/*", webhook(json!({ "pattern": "a/*/**" })), true),
        ("p/a/*", webhook(json!({ "pattern": "*/b" })), false),
        ("p/a/*", webhook(json!({ "pattern": "**" })), false),
        ("p/a/*", webhook(json!({ "pattern": "ab/*" })), false),
        ("p/a/*", webhook(json!({ "pattern": "a/*", "streams": ["a/b", "b"] })), false),
        ("p/a/*", webhook(json!({ "streams": ["a/b", "/a/c/"] })), true),
        ("p/a/*", webhook(json!({ "streams": ["a"] })), false),
        ("p/a/*", webhook(json!({ "streams": ["__registry__"] })), false),
        ("p/a", webhook(json!({ "streams": ["a"] })), true),
        ("p/a", webhook(json!({ "pattern": "a" })), true),
        ("p/a", webhook(json!({ "pattern": "a/**" })), false),
        ("p/a", webhook(json!({ "streams": ["a", "b"] })), false),
        ("q/*", webhook(json!({ "streams": ["a"] })), false),
        ("p/a/*", pull("a/wake", "a/b"), true),
        ("p/a/*", pull("wake", "a/b"), false),
        ("p/a/*", pull("a/wake", "b"), false),
    ];
    for (claim, body, is_covered) in table {
        let control = control(claim, Action::Put);
        match requested(&control, &body) {
            Ok(SubscriptionRequest::Put { .. }) => assert!(is_covered, "{claim} {body}"),
            Err(Refusal::Forbidden { needs: "manage" }) => assert!(!is_covered, "{claim} {body}"),
            other => panic!("{claim} {body}: {other:?}"),
        }
    }
    for (claim, streams, is_covered) in
        [("p/a/*", json!(["a/b"]), true), ("p/a/*", json!(["a/b", "b"]), false), ("*", json!(["b"]), true)]
    {
        let control = control(claim, Action::AddStreams);
        assert_eq!(requested(&control, &json!({ "streams": streams })).is_ok(), is_covered, "{claim}");
    }
    for (claim, path, is_covered) in [("p/a/*", "p/a/b", true), ("p/a/*", "p/b", false)] {
        let control = control(claim, Action::RemoveStream(path.to_owned()));
        assert_eq!(requested(&control, &Value::Null).is_ok(), is_covered, "{claim}");
    }
}

/// A token limited to some streams reaches a subscription only if it covers all its streams.
#[test]
fn stream_claim_covers_the_subscription_that_exists() {
    let link = |path: &str| ShownLink { path: path.to_owned(), ..ShownLink::default() };
    let shown = |pattern: Option<&str>, streams: &[&str], wake_stream: Option<&str>| Shown {
        id: "s".to_owned(),
        pattern: pattern.map(str::to_owned),
        streams: streams.iter().map(|path| link(path)).collect(),
        wake_stream: wake_stream.map(str::to_owned),
        ..Shown::default()
    };
    let table = [
        (shown(Some("a/*"), &["a/b"], None), true),
        (shown(None, &["a/b"], Some("a/wake")), true),
        (shown(None, &["a/b"], Some("wake")), false),
        (shown(None, &["a/b", "b"], None), false),
        (shown(Some("*"), &[], None), false),
        // Streams that the description leaves out may not be covered.
        (Shown { has_more_streams: true, ..shown(Some("a/*"), &["a/b"], None) }, false),
    ];
    for (shown, is_covered) in table {
        for action in [
            Action::Put,
            Action::Get,
            Action::Delete,
            Action::Patch,
            Action::AddStreams,
            Action::Claim,
            Action::Resume,
        ] {
            let narrowed = control("p/a/*", action.clone());
            assert!(narrowed.needs_look(), "{action:?}");
            assert_eq!(narrowed.covers_shown(&shown), is_covered, "{shown:?}");
            let whole = control("*", action);
            assert!(!whole.needs_look());
            assert!(whole.covers_shown(&shown), "{shown:?}");
        }
    }
    for action in [Action::Callback, Action::Ack, Action::Release] {
        assert!(!control("p/a/*", action).needs_look(), "the wake token decides");
    }
}

#[test]
fn list_stays_below_its_root() {
    for (root, names) in [(None, "__ds/subscriptions/"), (Some("p"), "p/__ds/subscriptions/")] {
        let endpoint = Endpoint::List { root: root.map(str::to_owned) };
        let control = ControlRequest { endpoint, grant: Grant::of_everything(), registry: String::new() };
        let query = |query: &str| control.list_query(&format!("https://x/?{query}"));
        let found = query("prefix=a&after=b/c&limit=7").unwrap();
        assert_eq!((found.prefix, found.after), (format!("{names}a"), format!("{names}b/c")));
        assert!(found.subscriptions && found.limit == 7);
        let found = query("").unwrap();
        assert_eq!((found.prefix.as_str(), found.after.as_str(), found.limit), (names, "", 40));
        for wrong in ["limit=0", "after=", "token=t", "prefix=a&prefix=b"] {
            assert!(matches!(query(wrong), Err(Refusal::InvalidQuery { .. })), "{wrong}");
        }
    }
}

#[test]
fn root_itself_is_not_below_the_root() {
    let name = |root: Option<&str>| SubscriptionName { root: root.map(str::to_owned), id: "s".to_owned() };
    for (pattern, whole) in [("**", "p/*/**"), ("**/**", "p/*/**"), ("**/a", "p/**/a"), ("a/**", "p/a/**")] {
        assert_eq!(name(Some("p")).whole_pattern(pattern), whole);
        assert_eq!(name(None).whole_pattern(pattern), pattern);
    }
}

// Webhooks.

#[test]
fn loopback_webhooks_are_for_the_local_machine() {
    let local = Access::of(&settings("local"));
    let table = [
        ("local", None, true),
        ("open", None, false),
        ("token", None, false),
        ("projects", None, false),
        ("open", Some("1"), true),
        ("token", Some("true"), true),
        ("projects", Some("0"), false),
        ("projects", Some(""), false),
    ];
    for (mode, allowed, expected) in table {
        let settings = EdgeSettings { allow_local_webhooks: allowed.map(str::to_owned), ..settings(mode) };
        let webhooks = WebhookSettings::of(&settings).unwrap();
        let rules =
            webhooks.url_rules(Access::of(&settings).is_local(), "http://localhost:8787/v1/stream/__ds");
        assert_eq!(rules.allows_loopback, expected, "{mode} {allowed:?}");
        assert_eq!(rules.check("http://127.0.0.1:9000/hook").is_ok(), expected, "{mode} {allowed:?}");
        assert!(rules.check("http://10.0.0.1/hook").is_err());
    }
    assert!(matches!(local, Access::Open { everywhere: false }));
    let wrong = EdgeSettings { allow_local_webhooks: Some("yes".to_owned()), ..settings("token") };
    assert_eq!(Access::of(&wrong).mode(), "locked");
}

#[test]
fn wrong_public_url_locks_the_server() {
    let mode = |url: &str| {
        Access::of(&EdgeSettings { public_url: Some(url.to_owned()), ..settings("projects") }).mode()
    };
    for url in [
        "streams.example.com",
        "ftp://streams.example.com",
        "https://",
        "https://a@b",
        "https://a?b",
        "https://a#b",
        "https://a\\b",
        "https://a/{b}",
        // The project is the whole first label of the host, once.
        "https://{project}",
        "https://{project}.",
        "https://{project}/a.example.com",
        "https://{project}example.com",
        "https://a-{project}.example.com",
        "https://a.{project}.example.com",
        "https://{project}.{project}.example.com",
        "https://example.com/{project}.",
        "https://{Project}.example.com",
        "https://{id}.example.com",
        "{project}.example.com",
        // The rest of the host is a name that has hosts below it.
        "https://{project}..example.com",
        "https://{project}.com",
        "https://{project}.127.0.0.1",
        "https://{project}.[::1]",
        "https://{project}.example.com:99999",
        "https://{project}.a@example.com",
        "https://{project}.example.com?a",
    ] {
        assert_eq!(mode(url), "locked", "{url}");
    }
    for url in [
        "",
        "https://streams.example.com",
        "http://127.0.0.1:8787/",
        "https://{project}.example.com",
        "https://{project}.streams.example.com:8443/base/",
        "http://{project}.localhost:8787",
    ] {
        assert_eq!(mode(url), "projects", "{url}");
    }
}

#[test]
fn own_hosts_and_listed_hosts() {
    let settings = |hosts: Option<&str>, url: Option<&str>| EdgeSettings {
        webhook_hosts: hosts.map(str::to_owned),
        public_url: url.map(str::to_owned),
        ..settings("token")
    };
    let check = |settings: &EdgeSettings, url: &str| {
        let rules = WebhookSettings::of(settings).unwrap().url_rules(
            Access::of(settings).is_local(),
            "https://Worker.example.COM.:8443/v1/stream/__ds/subscriptions/s",
        );
        rules.check(url).is_ok()
    };
    let with_url = settings(None, Some("https://streams.example.org/base/"));
    assert!(!check(&with_url, "https://worker.example.com/v1/stream/a"));
    assert!(!check(&with_url, "https://streams.example.org/v1/stream/a"));
    assert!(check(&with_url, "https://hooks.example.org/"));
    let below = settings(None, Some("https://{project}.Streams.example.org:8443/base"));
    assert!(!check(&below, "https://worker.example.com/v1/stream/a"));
    assert!(!check(&below, "https://a.streams.example.org/"));
    assert!(!check(&below, "https://a.b.streams.example.org/"));
    assert!(check(&below, "https://streams.example.org/") && check(&below, "https://astreams.example.org/"));
    let listed = settings(Some("hooks.example.org *.example.net"), None);
    assert!(check(&listed, "https://hooks.example.org/") && check(&listed, "https://a.example.net/"));
    assert!(!check(&listed, "https://other.example.org/"));
    assert!(check(&settings(Some(""), None), "https://other.example.org/"));
    assert!(!check(&settings(Some(" "), None), "https://other.example.org/"));
}

/// The rules at a delivery are those of now, and not those of the request that set the URL.
#[test]
fn rules_at_a_delivery_are_those_of_the_deployment() {
    let base = "https://worker.example.com/v1/stream/a/__ds";
    let check = |settings: &EdgeSettings, url: &str| {
        delivery_rules(settings, base).map(|rules| rules.check(url).is_ok())
    };
    let (listed, own) = ("https://hooks.example.org/", "https://worker.example.com/");
    for mode in ["token", "open"] {
        assert_eq!(check(&settings(mode), listed), Ok(true), "{mode}");
        assert_eq!(check(&settings(mode), own), Ok(false), "{mode}");
        for (hosts, allowed) in [("hooks.example.org", true), ("example.org", false), (" ", false)] {
            let narrowed = EdgeSettings { webhook_hosts: Some(hosts.to_owned()), ..settings(mode) };
            assert_eq!(check(&narrowed, listed), Ok(allowed), "{mode} {hosts}");
        }
    }
    let local = |allows: Option<&str>| EdgeSettings {
        allow_local_webhooks: allows.map(str::to_owned),
        ..settings("token")
    };
    assert_eq!(check(&local(Some("1")), "http://localhost:9/"), Ok(true));
    assert_eq!(check(&local(None), "http://localhost:9/"), Ok(false));
    let mistaken = check(&local(Some("yes")), listed);
    assert_eq!(
        mistaken,
        Err("the configuration has a mistake: ALLOW_LOCAL_WEBHOOKS must be 1, or not set".into())
    );
}

#[test]
fn base_is_the_control_root_of_the_origin_or_the_public_url() {
    let base = |public_url: Option<&str>, root: Option<&str>, url: &str| {
        let settings = EdgeSettings { public_url: public_url.map(str::to_owned), ..EdgeSettings::default() };
        WebhookSettings::of(&settings).unwrap().base(url, root)
    };
    let url = "http://127.0.0.1:8787/streams/p/__ds/subscriptions/s?x=/";
    assert_eq!(base(None, None, url), "http://127.0.0.1:8787/v1/stream/__ds");
    assert_eq!(base(None, Some("a b\u{e9}:"), url), "http://127.0.0.1:8787/v1/stream/a%20b%C3%A9%3A/__ds");
    for public_url in ["https://streams.example.org", "https://streams.example.org/"] {
        assert_eq!(base(Some(public_url), Some("p"), url), "https://streams.example.org/v1/stream/p/__ds");
    }
    assert_eq!(base(Some("https://x/base/"), None, url), "https://x/base/v1/stream/__ds");
    assert_eq!(base(Some(""), None, "https://x?a"), "https://x/v1/stream/__ds");

    // With a host for each project, the project is not in the path.
    let per_project = |root: Option<&str>| base(Some("https://{project}.example.org:8443/base/"), root, url);
    for project in ["p", "my-project-2", "0", &"a".repeat(63)] {
        assert_eq!(
            per_project(Some(project)),
            format!("https://{project}.example.org:8443/base/v1/stream/__ds")
        );
    }
    // A root that is no label of a host has the URL of the request.
    let long = "a".repeat(64);
    for (root, path) in
        [("P", "P"), ("a.b", "a.b"), ("-a", "-a"), ("a-", "a-"), ("a b", "a%20b"), (&long, &long)]
    {
        assert_eq!(per_project(Some(root)), format!("http://127.0.0.1:8787/v1/stream/{path}/__ds"));
    }
    assert_eq!(per_project(None), "http://127.0.0.1:8787/v1/stream/__ds");

    let settings = EdgeSettings { mount: Some("/api/s/".to_owned()), ..EdgeSettings::default() };
    let mounted = WebhookSettings::of(&settings).unwrap();
    assert_eq!(mounted.base(url, Some("p")), "http://127.0.0.1:8787/api/s/p/__ds");
}

// Replies.

fn refusals() -> [(SubscriptionRefusal, &'static str); 15] {
    let why = String::new;
    [
        (SubscriptionRefusal::InvalidRequest { why: why() }, "400 | error: INVALID_REQUEST"),
        (SubscriptionRefusal::NoRegistry, "400 | error: INVALID_REQUEST"),
        (SubscriptionRefusal::WebhookUrlRejected { why: why() }, "400 | error: WEBHOOK_URL_REJECTED"),
        (SubscriptionRefusal::TokenInvalid, "401 | www-authenticate | error: TOKEN_INVALID"),
        (SubscriptionRefusal::TokenExpired, "401 | www-authenticate | error: TOKEN_EXPIRED"),
        (SubscriptionRefusal::NotFound, "404 | error: SUBSCRIPTION_NOT_FOUND"),
        (SubscriptionRefusal::AlreadyExists, "409 | error: SUBSCRIPTION_ALREADY_EXISTS"),
        (SubscriptionRefusal::Fenced, "409 | error: FENCED"),
        (
            SubscriptionRefusal::AlreadyClaimed { current_holder: "w\"2".to_owned(), generation: 7 },
            "409 | error: ALREADY_CLAIMED",
        ),
        (SubscriptionRefusal::NoPendingWork, "409 | error: NO_PENDING_WORK"),
        (SubscriptionRefusal::InvalidOffset { why: why() }, "409 | error: INVALID_OFFSET"),
        (SubscriptionRefusal::TooManyWatchers { path: why() }, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::TooManyPatterns, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::TooManyStreams, "409 | error: LIMIT_EXCEEDED"),
        (SubscriptionRefusal::StreamsTooLong, "409 | error: LIMIT_EXCEEDED"),
    ]
}

#[test]
fn every_refusal_of_a_subscription() {
    for (refusal, expected) in refusals() {
        let expected = format!("{expected} | cache-control: no-store | !stream-closed");
        let by_answer = Reply::of_subscription(&SubscriptionAnswer::Refused(refusal.clone()));
        let reply = Reply::refused(&Refusal::Subscription(refusal.clone()));
        assert_eq!(by_answer, reply);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"]["message"], refusal.message());
        if let SubscriptionRefusal::AlreadyClaimed { .. } = refusal {
            assert_eq!(body["error"]["current_holder"], "w\"2");
            assert_eq!(body["error"]["generation"], 7);
        } else {
            assert_eq!(body["error"].as_object().unwrap().len(), 2, "{body}");
        }
        Response::of_reply(reply).assert_is(&expected);
    }
}

#[test]
fn every_answer_of_a_subscription() {
    let shown = || Box::new(Shown { id: "s".to_owned(), ..Shown::default() });
    let claimed = Claimed {
        wake_id: "w".to_owned(),
        generation: 3,
        token: "t".to_owned(),
        streams: Vec::new(),
        lease_ttl_ms: 1000,
    };
    let json = "content-type: application/json | cache-control: no-store";
    let table = [
        (SubscriptionAnswer::Created(shown()), format!("201 | {json}"), json!(shown())),
        (SubscriptionAnswer::Confirmed(shown()), format!("200 | {json}"), json!(shown())),
        (SubscriptionAnswer::Shown(shown()), format!("200 | {json}"), json!(shown())),
        (
            SubscriptionAnswer::Acked { next_wake: false },
            format!("200 | {json}"),
            json!({ "ok": true, "next_wake": false }),
        ),
        (
            SubscriptionAnswer::Acked { next_wake: true },
            format!("200 | {json}"),
            json!({ "ok": true, "next_wake": true }),
        ),
        (SubscriptionAnswer::Claimed(claimed.clone()), format!("200 | {json}"), json!(claimed)),
        (
            SubscriptionAnswer::Done,
            "204 | !content-type | cache-control: no-store <<".to_owned(),
            Value::Null,
        ),
    ];
    for (answer, expected, body) in table {
        let reply = Reply::of_subscription(&answer);
        let found =
            if reply.body.is_empty() { Value::Null } else { serde_json::from_slice(&reply.body).unwrap() };
        assert_eq!(found, body);
        Response::of_reply(reply).assert_is(&expected);
    }
    Response::of_reply(Reply::subscription_unavailable())
        .assert_is("503 | error: unavailable | retry-after: 5");
}

#[test]
fn key_set_is_cached_for_five_minutes() {
    let key = PublicKey { kid: "ds_1".to_owned(), x: "abc".to_owned() };
    let reply = Reply::keys(std::slice::from_ref(&key));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ds_1", "use": "sig", "alg": "EdDSA", "x": "abc" });
    assert_eq!(body, json!({ "keys": [jwk] }));
    let expected =
        "200 | content-type: application/jwk-set+json | cache-control: public, max-age=300 | vary: Origin";
    Response::of_reply(reply).assert_is(expected);
    let signing =
        json!({ "alg": "ed25519", "kid": "ds_1", "jwks_url": "https://x/v1/stream/__ds/jwks.json" });
    assert_eq!(json!(Signing::of(&key, "https://x/v1/stream/__ds/jwks.json")), signing);
}

#[test]
fn subscription_that_does_not_answer_is_listed_as_unknown() {
    let shown = Shown::unanswered("p/__ds/subscriptions/a/b").unwrap();
    assert_eq!((shown.id.as_str(), shown.status.as_str()), ("a/b", "unknown"));
    assert_eq!(Shown::unanswered("p/a"), None);
}

#[test]
fn paths_that_match_a_pattern_share_its_literal_prefix() {
    for (pattern, prefix, is_literal) in [
        ("a", "a", true),
        ("a/b", "a/b", true),
        ("a/%2A", "a/*", true),
        ("a/*", "a/", false),
        ("a/**", "a", false),
        ("a/**/**", "a", false),
        ("a/**/b", "a/", false),
        ("a/b/**/*", "a/b/", false),
        ("*/a", "", false),
        ("**", "", false),
    ] {
        let parsed = Pattern::parse(pattern).unwrap();
        assert_eq!(
            (parsed.literal_prefix().as_str(), parsed.is_literal()),
            (prefix, is_literal),
            "{pattern}"
        );
    }
}
