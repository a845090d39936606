//! Admission: the decision about a request with its full head, and with the part of the head that the fast path
//! reads.

use std::rc::Rc;

use ::http::Method;
use durable_streams::edge::access::Access;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::admit::{Admission, CountsAgainst, Decision, Head, Known, Rules};
use durable_streams::edge::auth::Source;
use durable_streams::edge::forward::ReadKind;
use durable_streams::edge::host::is_authority;
use durable_streams::edge::keyring::{Keyring, Learnt};
use durable_streams::edge::project::Project;
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::target::Target;
use durable_streams::protocol::Millis;

const NOW: Millis = 1_893_456_000_000;
const TOKEN: &str = "a-token-of-32-characters-and-so-";
const PROJECT: &str = r#"{ "keys": [{ "kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }] }"#;

fn rules(mode: &str) -> Rules {
    let some = |text: &str| Some(text.to_owned());
    let none = EdgeSettings { admin_token: some(TOKEN), ..EdgeSettings::default() };
    let settings = match mode {
        "open" => EdgeSettings { allow_open: some("1"), ..none },
        "local" => none,
        "token" => EdgeSettings { auth_token: some(TOKEN), ..none },
        "projects" => EdgeSettings { has_registry: true, ..none },
        _ => EdgeSettings { allow_open: some("perhaps"), ..none },
    };
    let (access, admin) = (Access::of(&settings), Admin::of(&settings));
    Rules { access, admin, is_limited: false, hides_public: true, lists: true, has_console: true }
}

/// Admits a request, written as `GET <url> | name: value | ...`, with its full head.
fn admit(rules: &Rules, keyring: &Keyring, request: &str) -> Admission {
    let (method, target, headers) = parts(request);
    let header =
        |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let known = Known::All { header: &header, is_host: &is_authority, peer: &|| header("peer") };
    rules.admit(keyring, &Head { method: &method, target: &Target::of(target), known }, true, NOW)
}

fn parts(request: &str) -> (Method, &str, Vec<(&str, &str)>) {
    let mut parts = request.split(" | ");
    let (method, url) = parts.next().unwrap().split_once(' ').unwrap();
    (method.parse().unwrap(), url, parts.map(|line| line.split_once(": ").unwrap()).collect())
}

/// The decision as a word, or the status of the answer.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Forward(forward) if forward.is_as_it_came() => "as it came".to_owned(),
        Decision::Forward(forward) if forward.stranger.is_some() => "as a stranger's".to_owned(),
        Decision::Forward(forward) => match (forward.kind, forward.source) {
            (ReadKind::Plain, source) => format!("plain, token in {source:?}"),
            (kind, Source::None | Source::Header) => format!("{kind:?}"),
            (kind, source) => format!("{kind:?}, token in {source:?}"),
        },
        Decision::Reply(reply) => reply.status.as_u16().to_string(),
        Decision::Listing(_) => "listing".to_owned(),
        Decision::Inspect(_) => "details".to_owned(),
        Decision::Orphans(_) => "orphans".to_owned(),
        Decision::Ready => "ready".to_owned(),
        Decision::Metrics(_) => "metrics".to_owned(),
        Decision::Console(_) => "console".to_owned(),
        Decision::Subscriptions(_) => "subscriptions".to_owned(),
        Decision::Learn { .. } => "learn".to_owned(),
        Decision::Look => "look".to_owned(),
    }
}

/// Mode, request, decision, and whether the fast path reaches the same decision.
const REQUESTS: [(&str, &str, &str, bool); 60] = [
    ("open", "POST http://x/v1/stream/a", "as it came", true),
    ("open", "GET http://x/v1/stream/a?offset=%30", "as it came", true),
    ("open", "GET http://x/v1/stream/a | cookie: stream-token=t", "as it came", true),
    ("open", "GET http://x/v1/stream/a?token=t", "plain, token in Query", true),
    ("open", "GET http://x/v1/stream/a?offset=now&live=sse", "Sse", true),
    ("open", "GET http://x/v1/stream/a?offset=now&live=long-poll", "LongPoll", true),
    ("open", "GET http://x/v1/stream/a | host: a b", "400", false),
    ("open", "OPTIONS http://x/v1/stream/a | host: a b", "204", false),
    ("open", "PATCH http://x/v1/stream/a", "405", true),
    ("open", "GET http://x/health", "200", true),
    ("open", "GET http://x/v1/streams", "listing", true),
    ("open", "GET http://x/v1/streams?limit=x", "400", true),
    ("open", "GET http://x/v1/details/a", "details", true),
    ("open", "GET http://x/v1/streams/a?offset=-1", "as it came", true),
    ("open", "GET http://x/nowhere", "404", true),
    ("open", "GET http://x/console", "console", true),
    ("open", "POST http://x/console", "405", true),
    ("open", "GET http://x/console/../x.js", "404", true),
    ("local", "POST http://localhost/v1/stream/a", "as it came", false),
    ("local", "POST http://localhost/v1/stream/a | peer: 192.0.2.1:1", "503", false),
    ("local", "POST http://localhost/v1/stream/a | cf-ray: 1", "503", false),
    ("local", "POST http://x/v1/stream/a", "503", false),
    ("locked", "POST http://x/v1/stream/a", "503", true),
    ("locked", "GET http://x/health", "503", true),
    ("locked", "GET http://x/console", "503", true),
    ("locked", "OPTIONS http://x/health", "204", false),
    ("token", "POST http://x/v1/stream/a | {bearer}", "as it came", true),
    ("token", "PUT http://x/v1/stream/a | {bearer} | stream-forked-from: /v1/stream/b", "as it came", true),
    ("token", "POST http://x/v1/stream/a", "401", true),
    ("token", "GET http://x/v1/stream/a", "401", false),
    ("token", "GET http://x/v1/stream/a | cookie: stream-token={token}", "plain, token in Cookie", false),
    ("token", "POST http://x/v1/stream/a | cookie: stream-token={token}", "401", true),
    ("token", "GET http://x/v1/stream/a?token={token}", "plain, token in Query", true),
    ("token", "GET http://x/v1/stream/a?token={token} | {bearer}", "400", true),
    ("token", "POST http://x/v1/stream/a?token={token}", "400", true),
    ("token", "GET http://x/v1/stream/a?offset=now&live=sse&token={token}", "Sse, token in Query", true),
    ("token", "GET http://x/v1/streams | {bearer}", "listing", true),
    ("token", "GET http://x/v1/streams?token={token}", "401", true),
    // Without a valid token, no object is called: not even as a stranger, and not for a token in another place.
    ("token", "GET http://x/v1/details/a | {bearer}", "details", true),
    ("token", "GET http://x/v1/details/a", "401", true),
    ("token", "GET http://x/v1/details/a | authorization: Bearer guess", "401", true),
    ("token", "GET http://x/v1/details/a | cookie: stream-token={token}", "401", true),
    ("token", "POST http://x/v1/admin/orphans | {bearer}", "orphans", true),
    ("token", "POST http://x/v1/admin/orphans", "401", true),
    ("token", "GET http://x/metrics | {bearer}", "metrics", true),
    ("token", "GET http://x/metrics?project=a/b | {bearer}", "metrics", true),
    ("token", "GET http://x/metrics", "401", true),
    ("token", "POST http://x/metrics | {bearer}", "405", true),
    ("token", "GET http://x/ready", "ready", true),
    ("local", "GET http://localhost/ready | cf-ray: 1", "503", false),
    ("locked", "GET http://x/ready", "503", true),
    ("projects", "GET http://x/metrics?project=a/b | {bearer}", "400", true),
    ("token", "HEAD http://x/console/app-1.js", "console", true),
    ("projects", "GET http://x/console/", "console", true),
    // The CORS configuration of the project is needed, except for requests that pass unchanged.
    ("projects", "POST http://x/v1/stream/a/b", "401", true),
    ("projects", "GET http://x/v1/details/a/b", "401", true),
    ("projects", "POST http://x/v1/stream/a/b | origin: https://app.example", "learn", false),
    ("projects", "OPTIONS http://x/v1/stream/a/b | origin: https://app.example", "learn", false),
    ("projects", "OPTIONS http://x/v1/stream/a/b | host: a b | origin: https://app.example", "204", false),
    ("projects", "GET http://x/health | origin: https://app.example", "200", true),
];

#[test]
fn fast_path_and_full_head_decide_alike() {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let mut agree = 0;
    for (mode, request, expected, is_fast) in REQUESTS {
        let request = request.replace("{bearer}", &bearer).replace("{token}", TOKEN);
        let (rules, keyring) = (rules(mode), Keyring::new(mode == "projects"));
        let Admission { counts, decision } = admit(&rules, &keyring, &request);
        assert_eq!(
            (word(&decision), counts),
            (expected.to_owned(), CountsAgainst::None),
            "{mode}: {request}"
        );
        let (method, target, headers) = parts(&request);
        let authorization =
            headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| *value);
        let known = Known::Authorization(authorization);
        let head = Head { method: &method, target: &Target::of(target), known };
        let fast = rules.admit(&keyring, &head, true, NOW).decision;
        let is_same = fast == decision;
        if is_fast && mode != "projects" {
            assert!(is_same, "{mode}: {request}: {fast:?}");
        } else if fast != Decision::Look {
            // The fast path never admits a request that the full head would not.
            assert!(
                is_same || headers.iter().any(|(name, _)| *name == "host"),
                "{mode}: {request}: {fast:?}"
            );
        }
        agree += usize::from(is_same);
    }
    assert!(agree > 20, "the fast path decides most requests, but only {agree} here");
}

/// Each request counts once: against its token's limit if the token allows it, otherwise against its address's.
#[test]
fn request_counts_against_its_token_or_its_address() {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let by_token = CountsAgainst::Token(TOKEN.to_owned());
    for (mode, request, expected) in [
        ("open", format!("POST http://x/v1/stream/a | {bearer}"), CountsAgainst::Address),
        ("token", format!("POST http://x/v1/stream/a | {bearer}"), by_token.clone()),
        ("token", format!("GET http://x/v1/streams | {bearer}"), by_token.clone()),
        ("token", format!("GET http://x/v1/streams?limit=x | {bearer}"), by_token),
        (
            "token",
            "POST http://x/v1/stream/a | authorization: Bearer guess".to_owned(),
            CountsAgainst::Address,
        ),
        ("token", format!("POST http://x/v1/admin/orphans | {bearer}"), CountsAgainst::Address),
        ("token", "POST http://x/v1/admin/orphans".to_owned(), CountsAgainst::Address),
        ("token", "GET http://x/metrics".to_owned(), CountsAgainst::Address),
        ("token", "GET http://x/health".to_owned(), CountsAgainst::None),
        ("token", "GET http://x/ready".to_owned(), CountsAgainst::None),
        ("token", "OPTIONS http://x/v1/stream/a".to_owned(), CountsAgainst::None),
        ("token", "GET http://x/v1/stream/a//b".to_owned(), CountsAgainst::None),
    ] {
        let rules = Rules { is_limited: true, ..rules(mode) };
        assert_eq!(admit(&rules, &Keyring::new(false), &request).counts, expected, "{mode}: {request}");
    }
}

/// Where strangers may read public streams, reads without a valid token go to the object as a stranger's.
/// Writes do not.
#[test]
fn read_without_token_goes_on_as_a_strangers() {
    let rules = Rules { hides_public: false, ..rules("token") };
    for (request, expected) in [
        ("GET http://x/v1/stream/a", "as a stranger's"),
        ("HEAD http://x/v1/stream/a | authorization: Bearer guess", "as a stranger's"),
        ("GET http://x/v1/stream/a?offset=now&live=sse", "as a stranger's"),
        ("POST http://x/v1/stream/a", "401"),
        // A description is for a stream's owner only.
        ("GET http://x/v1/details/a", "401"),
        ("GET http://x/v1/details/a | authorization: Bearer guess", "401"),
    ] {
        assert_eq!(word(&admit(&rules, &Keyring::new(false), request).decision), expected, "{request}");
    }
}

/// A learnt fact is not requested again, and a failed look-up is not repeated forever.
#[test]
fn failed_look_up_is_not_repeated() {
    let rules = rules("projects");
    let request = "POST http://x/v1/stream/a/b | origin: https://app.example";
    let mut keyring = Keyring::new(true);
    assert_eq!(word(&admit(&rules, &keyring, request).decision), "learn");
    keyring.learn_project("a", Learnt::Failed, NOW);
    assert_eq!(word(&admit(&rules, &keyring, request).decision), "401");
    let mut keyring = Keyring::new(true);
    keyring.learn_project("a", Learnt::Found(Rc::new(Project::parse(PROJECT).unwrap())), NOW);
    assert_eq!(word(&admit(&rules, &keyring, request).decision), "401");
    // A caller that cannot look up projects gets a decision without them.
    let (method, url, headers) = parts(request);
    let header =
        |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let known = Known::All { header: &header, is_host: &is_authority, peer: &|| None };
    let head = Head { method: &method, target: &Target::of(url), known };
    let decision = rules.admit(&Keyring::new(true), &head, false, NOW).decision;
    assert_eq!(word(&decision), "401");
}
