//! The description of the HTTP API (`GET /openapi.json`) against the code: routes, names, errors, headers, members of
//! bodies, limits and scopes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use http::Method;
use serde_json::{Value, json};

use durable_streams::edge::admin::Admin;
use durable_streams::edge::description::DESCRIPTION;
use durable_streams::edge::grant::Scope;
use durable_streams::edge::metrics::METRICS_PROJECTS_MAX;
use durable_streams::edge::route::{Route, route};
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::subscriptions::{Action, Endpoint};
use durable_streams::edge::target::Target;
use durable_streams::protocol::SAFE_INTEGER_MAX;
use durable_streams::protocol::cache_policy::{Audience, CachePolicy};
use durable_streams::protocol::command::LAST_MAX;
use durable_streams::protocol::content_type::{CONTENT_TYPE_MAX_BYTES, ContentType};
use durable_streams::protocol::details::{Details, LagDetails};
use durable_streams::protocol::lifetime::{Lifetime, TTL_SECONDS_MAX};
use durable_streams::protocol::listing::{Described, LIMIT_DEFAULT, LIMIT_MAX, Page};
use durable_streams::protocol::names::{STREAM_PREFIXES, TOKEN_COOKIE, header};
use durable_streams::protocol::offset::Offset;
use durable_streams::protocol::orphans::{KEY_MAX_BYTES, OrphansPage, Stored};
use durable_streams::protocol::path::PATH_MAX_BYTES;
use durable_streams::protocol::producer::Producer;
use durable_streams::protocol::read_head::ReadHead;
use durable_streams::protocol::readiness::ReadyCheck;
use durable_streams::protocol::refusal::Refusal;
use durable_streams::protocol::reply::Reply;
use durable_streams::protocol::retention::Retention;
use durable_streams::protocol::subscription::ID_MAX_BYTES;
use durable_streams::protocol::subscription::answer::{
    Claimed, LastError, Shown, ShownLink, ShownWebhook, Signing, SubscriptionAnswer, SubscriptionPage,
    WakeEvent, WebhookBody, WokenStream,
};
use durable_streams::protocol::subscription::config::{
    DESCRIPTION_MAX_BYTES, LEASE_TTL_MAX, LEASE_TTL_MIN, STREAMS_MAX,
};
use durable_streams::protocol::subscription::keys::PublicKey;
use durable_streams::protocol::subscription::request::{ACKS_MAX, WORKER_MAX_BYTES};

use crate::spec::errors::{every_error, every_refusal};
use crate::tidy::{assert_none, root};

const METHODS: [&str; 8] = ["get", "head", "put", "post", "patch", "delete", "options", "trace"];
const TAIL: Offset = Offset { segment: 1, position: 5 };

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// Follows a reference.
fn resolved<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => description
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// The operations, with path and method.
fn operations(description: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let of_method = item.as_object().unwrap().iter();
            of_method.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .filter(|(_, method, _)| METHODS.contains(method))
        .collect()
}

fn operation<'d>(description: &'d Value, id: &str) -> &'d Value {
    let mut found = operations(description).into_iter().map(|(_, _, operation)| operation);
    found.find(|operation| operation["operationId"] == id).unwrap_or_else(|| panic!("there is no {id}"))
}

/// A URL of the path.
fn url_of(path: &str) -> String {
    let filled = [
        ("{path}", "my-project/chat/42"),
        ("{root}", "my-project"),
        ("{id}", "work"),
        ("{stream}", "jobs%2F1"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!filled.contains('{'), "{path} has a parameter that is unknown here");
    format!("https://streams.test{filled}")
}

fn routed(method: &str, url: &str) -> Route {
    let method: Method = method.to_uppercase().parse().unwrap();
    let found = route(&method, &Target::of(url));
    // The URLs of the administrator do not exist without a token, so their methods are checked later.
    let token = "0123456789abcdef";
    let settings = EdgeSettings { admin_token: Some(token.to_owned()), ..EdgeSettings::default() };
    let (admin, bearer) = (Admin::of(&settings), format!("Bearer {token}"));
    let checked = match &found {
        Route::Orphans => admin.orphans(&method, url, Some(&bearer)).map(|_| ()),
        Route::Metrics => admin.metrics(&method, Some(&bearer)),
        Route::Preflight
        | Route::Reply(_)
        | Route::Health
        | Route::Ready
        | Route::Description
        | Route::Forward(_)
        | Route::LongPoll(_)
        | Route::Sse(_)
        | Route::Listing
        | Route::Details(_)
        | Route::Console(_)
        | Route::Subscriptions(_) => Ok(()),
    };
    match checked {
        Ok(()) => found,
        Err(refusal) => Route::Reply(Reply::refused(&refusal)),
    }
}

/// A number for each kind of route. A kind that is missing here does not compile; `KINDS` is their number.
fn kind_of(route: &Route) -> Option<usize> {
    Some(match route {
        // A page for people, and no part of the API.
        Route::Reply(_) | Route::Console(_) => return None,
        Route::Preflight => 0,
        Route::Health => 1,
        Route::Description => 2,
        Route::Forward(_) => 3,
        // Forms of a read.
        Route::LongPoll(_) | Route::Sse(_) => 3,
        Route::Listing => 4,
        Route::Details(_) => 19,
        Route::Ready => 20,
        Route::Metrics => 21,
        Route::Orphans => 5,
        Route::Subscriptions(Endpoint::List { .. }) => 6,
        Route::Subscriptions(Endpoint::Keys { .. }) => 7,
        Route::Subscriptions(Endpoint::Subscription { action, .. }) => match action {
            Action::Put => 8,
            Action::Get => 9,
            Action::Delete => 10,
            Action::Patch => 11,
            Action::AddStreams => 12,
            Action::RemoveStream(_) => 13,
            Action::Callback => 14,
            Action::Claim => 15,
            Action::Ack => 16,
            Action::Release => 17,
            Action::Resume => 18,
        },
    })
}

const KINDS: usize = 22;

#[test]
fn description_has_every_route_and_method() {
    let description = description();
    let mut seen = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let described: Vec<&str> = METHODS.into_iter().filter(|method| item.get(method).is_some()).collect();
        for method in METHODS {
            let found = routed(method, &url_of(path));
            match (kind_of(&found), &found, described.contains(&method)) {
                (Some(kind), _, true) => {
                    seen.insert(kind);
                }
                (None, Route::Reply(reply), false) => {
                    let allowed = reply.header("allow").unwrap_or_default().to_lowercase();
                    let allowed: BTreeSet<&str> = allowed.split(", ").collect();
                    assert_eq!(allowed, described.iter().copied().collect(), "Allow of {method} {path}");
                }
                (_, found, is_described) => panic!("{method} {path} is described: {is_described}, {found:?}"),
            }
        }
    }
    assert_eq!(seen, (0..KINDS).collect(), "every kind of route is described");
}

/// The constants of a module of names.rs: `pub const NAME: &str = "value";`.
fn constants<'t>(names: &'t str, module: &str) -> Vec<(&'t str, &'t str)> {
    let start = names.find(&format!("pub mod {module} {{")).unwrap();
    let end = start + names[start..].find("\n}").unwrap();
    strings_of(&names[start..end])
}

fn strings_of(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = \""))
        .map(|(name, value)| (name, value.trim_end_matches("\";")))
        .collect()
}

fn names() -> String {
    fs::read_to_string(root().join("src/protocol/names.rs")).unwrap()
}

#[test]
fn description_has_every_reserved_path() {
    let (description, names) = (description(), names());
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    let fixed =
        strings_of(&names).into_iter().filter(|(name, _)| name.ends_with("_PATH") && *name != "CONSOLE_PATH");
    let missing = fixed.filter(|(_, path)| !paths.iter().any(|known| known == path));
    assert_none(&missing.map(|(_, path)| path.to_owned()).collect::<Vec<_>>(), "every path is described");
    for (_, segment) in constants(&names, "control") {
        assert!(
            paths.iter().any(|path| path.split('/').any(|part| part == segment)),
            "no path has {segment}"
        );
    }
    let aliases = description["paths"]["/v1/stream/{path}"]["x-aliases"].as_array().unwrap();
    let forms = STREAM_PREFIXES[1..].iter().map(|prefix| json!(format!("{prefix}{{path}}")));
    assert_eq!(*aliases, forms.collect::<Vec<_>>());
}

/// The names of all parameters in this place that operations have.
fn parameters(description: &Value, place: &str) -> BTreeSet<String> {
    let of_paths = description["paths"].as_object().unwrap().values();
    let of_operations = operations(description).into_iter().map(|(_, _, operation)| operation);
    of_paths
        .chain(of_operations)
        .filter_map(|holder| holder["parameters"].as_array())
        .flatten()
        .map(|parameter| resolved(description, parameter))
        .filter(|parameter| parameter["in"] == place)
        .map(|parameter| parameter["name"].as_str().unwrap().to_lowercase())
        .collect()
}

/// All responses, each with its status.
fn responses(description: &Value) -> Vec<(u16, &Value)> {
    let of_operations = operations(description).into_iter().map(|(_, _, operation)| &operation["responses"]);
    of_operations
        .chain([&description["x-other-requests"]])
        .flat_map(|responses| responses.as_object().unwrap())
        .map(|(status, response)| (status.parse().unwrap(), resolved(description, response)))
        .collect()
}

/// The headers of a response, in lower case, and whether each is required.
fn headers(description: &Value, response: &Value) -> BTreeMap<String, bool> {
    let headers = response["headers"].as_object().unwrap().iter();
    headers
        .map(|(name, header)| (name.to_lowercase(), resolved(description, header)["required"] == true))
        .collect()
}

/// Headers of requests that are no parameters in OpenAPI, and headers that no client sends or receives for itself.
const ELSEWHERE: [&str; 9] = [
    // `content` and `security` describe these.
    "CONTENT_TYPE",
    "AUTHORIZATION",
    "COOKIE",
    // HTTP, a proxy or Cloudflare's network adds these.
    "CONTENT_LENGTH",
    "HOST",
    "CONNECTING_IP",
    "RAY",
    // Between the Worker and its objects.
    "UPGRADE",
    "STREAM_STRANGER",
];

#[test]
fn description_has_every_header_and_parameter() {
    let (description, names) = (description(), names());
    let mut described = parameters(&description, "header");
    let returned = responses(&description)
        .into_iter()
        .flat_map(|(_, response)| headers(&description, response).into_keys());
    described.extend(returned);
    let all = constants(&names, "header");
    let (elsewhere, known): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(name, _)| ELSEWHERE.contains(name));
    assert_eq!(elsewhere.len(), ELSEWHERE.len(), "each exception is a name");
    let known: BTreeSet<String> = known.into_iter().map(|(_, value)| value.to_owned()).collect();
    let missing: Vec<_> = known.difference(&described).cloned().collect();
    assert_none(&missing, "every header of names.rs is described");
    // The headers that have no name of their own there.
    let unnamed = [
        "x-content-type-options",
        "content-security-policy",
        "access-control-allow-methods",
        "access-control-max-age",
    ];
    let made_up: Vec<_> =
        described.difference(&known).filter(|name| !unnamed.contains(&name.as_str())).cloned().collect();
    assert_none(&made_up, "every described header is in names.rs");

    let mut described = parameters(&description, "query");
    let schemes = &description["components"]["securitySchemes"];
    described.insert(schemes["queryToken"]["name"].as_str().unwrap().to_owned());
    let known: BTreeSet<String> =
        constants(&names, "query").into_iter().map(|(_, value)| value.to_lowercase()).collect();
    assert_eq!(described, known, "the query parameters of names.rs");
    assert_eq!(schemes["cookieToken"]["name"], TOKEN_COOKIE);
}

#[test]
fn description_has_every_error() {
    let description = description();
    let mut described = BTreeSet::new();
    for (status, response) in responses(&description) {
        let codes = response["x-codes"].as_array().into_iter().flatten();
        described.extend(codes.map(|code| (status, code.as_str().unwrap().to_owned())));
    }
    let known = every_error();
    let missing: Vec<_> = known.difference(&described).map(|error| format!("{error:?}")).collect();
    assert_none(&missing, "every error is described");
    let made_up: Vec<_> = described.difference(&known).map(|error| format!("{error:?}")).collect();
    assert_none(&made_up, "every described error exists");
}

/// The responses of the description also have the headers, the text and the cause of each error.
#[test]
fn description_has_the_headers_of_every_error() {
    let description = description();
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let unavailable = Reply::unavailable();
    let refused = every_refusal().into_iter().map(|refusal| (refusal.code(), Reply::refused(&refusal)));
    for (code, reply) in refused.chain([("unavailable", unavailable), ("internal", Reply::failed())]) {
        let described = responses(&description).into_iter().filter(|(_, response)| {
            response["x-codes"].as_array().is_some_and(|codes| codes.iter().any(|known| known == code))
        });
        for (_, response) in described {
            let headers = headers(&description, response);
            for (name, _) in reply.headers.iter().filter(|(name, _)| *name != "content-type") {
                assert!(headers.contains_key(*name), "{code} has the header {name}");
            }
            let is_text = reply.header("content-type") == Some("text/plain");
            let Some(content) = response.get("content") else { continue };
            let (kind, list) = if is_text {
                ("text/plain", "/schema/enum")
            } else {
                ("application/json", "/schema/properties/error/properties/code/enum")
            };
            let text =
                if is_text { String::from_utf8_lossy(&reply.body).into_owned() } else { code.to_owned() };
            let known = content[kind].pointer(list).and_then(Value::as_array);
            assert!(known.is_some_and(|known| known.contains(&json!(text))), "{code}: {content}");
            let text = response["description"].as_str().unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("- `{code}`: "))).unwrap();
            assert!(
                page.contains(&format!("| {line} |")),
                "docs/errors.md has the same cause of {code}: {line}"
            );
        }
    }
}

/// Checks a reply against the response that the description has for it.
#[track_caller]
fn assert_described(description: &Value, id: &str, reply: &Reply) {
    let response = &operation(description, id)["responses"][reply.status.as_str()];
    assert!(response.is_object(), "{id} has {}", reply.status);
    let described = headers(description, resolved(description, response));
    // `info` describes the CORS headers of all responses.
    let own = |name: &str| {
        name != "content-type" && (id.ends_with("Preflight") || !name.starts_with("access-control-"))
    };
    for (name, _) in reply.headers.iter().filter(|(name, _)| own(name)) {
        assert!(described.contains_key(*name), "{id}, {}: {name} is described", reply.status);
    }
    // The shell adds the id of the request to each reply.
    let is_own = |name: &str| name != header::X_REQUEST_ID;
    for (name, _) in described.iter().filter(|(name, is_required)| **is_required && is_own(name)) {
        assert!(reply.header(name).is_some(), "{id}, {}: {name} is required", reply.status);
    }
}

#[test]
fn description_has_the_headers_of_every_reply() {
    let description = description();
    let producer = Producer { id: "p".to_owned(), epoch: 1, seq: 2 };
    let html = ContentType::parse("text/html").unwrap();
    let head = |audience, closed| ReadHead {
        content_type: html.clone(),
        next: TAIL,
        up_to_date: true,
        closed,
        cursor: Some(7),
        etag: Some("\"x\"".to_owned()),
        cache: CachePolicy::Revalidate,
        audience,
    };
    let key = || Some("key".to_owned());
    let retention = Some(Retention::Bytes { bytes: 7 });
    let replies = [
        (
            "createStream",
            Reply::created("https://x/y", &html, TAIL, true).with_reader_key(key()).with_retention(retention),
        ),
        ("createStream", Reply::exists(&html, TAIL, true).with_reader_key(key()).with_retention(retention)),
        ("appendToStream", Reply::appended(TAIL, true, None)),
        ("appendToStream", Reply::appended(TAIL, true, Some(&producer))),
        ("appendToStream", Reply::closed(TAIL, Some(&producer))),
        ("appendToStream", Reply::duplicate(TAIL, true, 1, 2)),
        ("deleteStream", Reply::deleted()),
        (
            "describeStream",
            Reply::metadata(&html, TAIL, true, true, Lifetime::Ttl { seconds: 9 })
                .with_reader_key(key())
                .with_retention(retention),
        ),
        ("describeStream", Reply::metadata(&html, TAIL, false, false, Lifetime::ExpiresAt { at: 9 })),
        ("readStream", Reply::read(head(Audience::Holders, false), Vec::new()).with_reader_key(key())),
        ("readStream", Reply::read(head(Audience::Everyone, true), Vec::new())),
        ("readStream", Reply::not_modified(head(Audience::Holders, false))),
        ("readStream", Reply::nothing_new(Audience::Holders, TAIL, CachePolicy::Never, Some(7))),
        ("readStream", Reply::nothing_new(Audience::Holders, TAIL, CachePolicy::Never, None)),
        ("readStream", Reply::events(Audience::Holders, TAIL, true, true, Vec::new())),
        ("createStreamPreflight", Reply::preflight(None)),
        ("readHealth", Reply::health("open")),
        ("readReadiness", Reply::readiness(&[])),
        ("readReadiness", Reply::readiness(&[("streams", ReadyCheck::Fails)])),
        ("readMetrics", Reply::metrics(String::new())),
        ("readDetails", Reply::page(&Details::default())),
        ("readDescription", Reply::description(DESCRIPTION)),
        ("readWebhookKeys", Reply::keys(&[])),
        ("listStreams", Reply::page(&Page::default())),
        ("findOrphans", Reply::page(&OrphansPage::default())),
        ("putSubscription", Reply::of_subscription(&SubscriptionAnswer::Created(Box::default()))),
        ("putSubscription", Reply::of_subscription(&SubscriptionAnswer::Confirmed(Box::default()))),
        ("deleteSubscription", Reply::of_subscription(&SubscriptionAnswer::Done)),
        ("ackWake", Reply::of_subscription(&SubscriptionAnswer::Acked { next_wake: true })),
    ];
    for (id, reply) in replies {
        assert_described(&description, id, &reply);
    }
}

/// Checks that a value has the members of a schema and no others.
#[track_caller]
fn assert_members(description: &Value, schema: &str, value: &Value) {
    let described = &description["components"]["schemas"][schema];
    let members: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
    let properties: BTreeSet<&String> = described["properties"].as_object().unwrap().keys().collect();
    assert_eq!(members, properties, "{schema}");
    let required = described["required"].as_array().unwrap();
    for name in required {
        assert!(described["properties"].get(name.as_str().unwrap()).is_some(), "{schema} has {name}");
    }
}

/// The description of a stream with all members, and its parts.
fn details() -> [(&'static str, Value); 2] {
    let lag = || Some(LagDetails::default());
    let details = Details { registry: lag(), segment_index: lag(), ..Details::default() };
    [("Details", json!(details)), ("Lag", json!(lag()))]
}

#[test]
fn description_has_the_members_of_every_body() {
    let description = description();
    let of_reply = |reply: &Reply| -> Value { serde_json::from_slice(&reply.body).unwrap() };
    let signing = Signing { alg: String::new(), kid: String::new(), jwks_url: String::new() };
    let webhook = ShownWebhook { url: String::new(), signing: Some(signing.clone()) };
    let woken = WokenStream {
        path: String::new(),
        link_type: String::new(),
        acked_offset: String::new(),
        tail_offset: String::new(),
        has_pending: true,
        closed: true,
    };
    let claimed = Claimed {
        wake_id: String::new(),
        generation: 1,
        token: String::new(),
        streams: vec![woken.clone()],
        lease_ttl_ms: 1,
    };
    let stored =
        Stored { key: String::new(), path: String::new(), incarnation: 1, segment: 1, bytes: 1, uploaded: 1 };
    let keys = of_reply(&Reply::keys(&[PublicKey { kid: String::new(), x: String::new() }]));
    let delivery = WebhookBody {
        subscription_id: "",
        wake_id: "",
        generation: 1,
        streams: &[],
        callback_url: "",
        callback_token: "",
    };
    let event = WakeEvent { kind: "wake", subscription_id: "", stream: "", generation: 1, ts: 1 };
    let page = SubscriptionPage { subscriptions: Vec::new(), next: None };
    let shown = Shown { webhook: Some(webhook.clone()), ..Shown::default() };
    let acked = of_reply(&Reply::of_subscription(&SubscriptionAnswer::Acked { next_wake: true }));
    let bodies = [
        ("ListedStream", json!(Described::default())),
        ("StreamPage", json!(Page::default())),
        ("Subscription", json!(shown)),
        ("SubscriptionLink", json!(ShownLink::default())),
        ("SubscriptionWebhook", json!(webhook)),
        ("Signing", json!(signing)),
        ("SubscriptionError", json!(LastError { at: String::new(), message: String::new() })),
        ("SubscriptionPage", json!(page)),
        ("WokenStream", json!(woken)),
        ("Claim", json!(claimed)),
        ("Delivery", json!(delivery)),
        ("WakeEvent", json!(event)),
        ("Acked", acked),
        ("OrphansPage", json!(OrphansPage::default())),
        ("StoredSegment", json!(stored)),
        ("KeySet", keys.clone()),
        ("Key", keys["keys"][0].clone()),
        ("Readiness", of_reply(&Reply::readiness(&[]))),
        ("Health", of_reply(&Reply::health("open"))),
        ("Error", of_reply(&Reply::refused(&Refusal::NotFound))),
    ];
    for (schema, body) in bodies.iter().chain(&details()) {
        assert_members(&description, schema, body);
    }
}

#[test]
fn description_has_the_limits_of_the_code() {
    let description = description();
    let limits = [
        ("/parameters/path/schema/maxLength", PATH_MAX_BYTES as u64),
        ("/parameters/stream/schema/maxLength", PATH_MAX_BYTES as u64),
        ("/parameters/prefix/schema/maxLength", PATH_MAX_BYTES as u64),
        ("/parameters/after/schema/maxLength", PATH_MAX_BYTES as u64),
        ("/parameters/id/schema/maxLength", ID_MAX_BYTES as u64),
        ("/parameters/limit/schema/maximum", LIMIT_MAX),
        ("/parameters/limit/schema/default", LIMIT_DEFAULT),
        ("/parameters/last/schema/maximum", LAST_MAX),
        ("/parameters/project/schema/maxItems", METRICS_PROJECTS_MAX as u64),
        ("/parameters/orphansCursor/schema/maxLength", KEY_MAX_BYTES as u64),
        ("/parameters/Stream-TTL/schema/maximum", TTL_SECONDS_MAX),
        ("/schemas/SafeInteger/maximum", SAFE_INTEGER_MAX),
        ("/schemas/HeaderText/maxLength", CONTENT_TYPE_MAX_BYTES as u64),
        ("/schemas/StreamPaths/maxItems", STREAMS_MAX as u64),
        ("/schemas/LeaseTtl/minimum", LEASE_TTL_MIN),
        ("/schemas/LeaseTtl/maximum", LEASE_TTL_MAX),
        ("/schemas/SubscriptionConfig/properties/description/maxLength", DESCRIPTION_MAX_BYTES as u64),
        ("/schemas/SubscriptionPatch/properties/description/maxLength", DESCRIPTION_MAX_BYTES as u64),
        ("/schemas/ClaimRequest/properties/worker/maxLength", WORKER_MAX_BYTES as u64),
        ("/schemas/WakeRequest/properties/acks/maxItems", ACKS_MAX as u64),
    ];
    for (pointer, limit) in limits {
        let described = description["components"].pointer(pointer);
        assert_eq!(described, Some(&json!(limit)), "{pointer}");
    }
    let text = TAIL.to_string();
    assert_eq!(text.len(), Offset::TEXT_BYTES);
    assert_eq!(description["components"]["schemas"]["Offset"]["pattern"], "^[0-9]{16}_[0-9]{16}$");
}

#[test]
fn description_has_the_scope_of_every_operation() {
    let description = description();
    for (path, method, operation) in operations(&description) {
        if method == "options" {
            continue;
        }
        let needed = match routed(method, &url_of(path)) {
            Route::Forward(_) => Some(Scope::needed_for(&method.to_uppercase().parse().unwrap())),
            Route::Subscriptions(endpoint) => endpoint.scope(),
            Route::Listing | Route::Details(_) => Some(Scope::Manage),
            Route::Health | Route::Ready | Route::Metrics | Route::Description | Route::Orphans => None,
            other @ (Route::Preflight
            | Route::Reply(_)
            | Route::Console(_)
            | Route::LongPoll(_)
            | Route::Sse(_)) => {
                panic!("{other:?}")
            }
        };
        let described = operation["security"][0]["bearerToken"][0].as_str();
        assert_eq!(described, needed.map(Scope::name), "{method} {path}");
    }
}

#[test]
fn description_uses_each_component() {
    let description = description();
    let text = description.to_string();
    // Schemas also describe events, which OpenAPI cannot refer to.
    for kind in ["headers", "parameters", "requestBodies", "responses"] {
        for name in description["components"][kind].as_object().unwrap().keys() {
            assert!(
                text.contains(&format!("\"#/components/{kind}/{name}\"")),
                "nothing refers to {kind}/{name}"
            );
        }
    }
    // Some tools accept no schema that is a boolean.
    for schema in ["\"schema\":true", "\"items\":true"] {
        assert!(!text.contains(schema), "{schema}");
    }
}

/// A client that is made from the description has one method for each operation.
#[test]
fn description_names_each_operation_once() {
    let description = description();
    let all = operations(&description);
    let ids: BTreeSet<&str> =
        all.iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn description_has_the_version_and_no_white_space() {
    let description = description();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description.to_string().len(), DESCRIPTION.len());
}
