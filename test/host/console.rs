//! The console: its files, their headers, and how it is turned off.

use http::Method;

use durable_streams::edge::access::Access;
use durable_streams::edge::admin::Admin;
use durable_streams::edge::admit::{Decision, Head, Known, Rules};
use durable_streams::edge::keyring::Keyring;
use durable_streams::edge::settings::EdgeSettings;
use durable_streams::edge::target::Target;
use durable_streams::protocol::console::ConsoleFile;
use durable_streams::protocol::reply::Reply;

/// The file among the static assets at each path of a URL.
const FILES: [(&str, Option<&str>); 9] = [
    ("/console", Some("/index.html")),
    ("/console/", Some("/index.html")),
    ("/console/app-4Z.js", Some("/app-4Z.js")),
    ("/console/app.css", Some("/app.css")),
    ("/console/icon.svg", Some("/icon.svg")),
    ("/console/%2e%2e.js", None),
    ("/console/a/b.js", None),
    ("/console/_headers", None),
    ("/console/app.js.map", None),
];

fn get(console: bool, path: &str) -> Decision {
    let settings = EdgeSettings { allow_open: Some("1".to_owned()), ..EdgeSettings::default() };
    let (access, admin) = (Access::of(&settings), Admin::of(&settings));
    let rules =
        Rules { access, admin, is_limited: false, hides_public: false, lists: true, has_console: console };
    let url = format!("https://streams.test{path}");
    let head = Head { method: &Method::GET, target: &Target::of(&url), known: Known::Authorization(None) };
    rules.admit(&Keyring::new(false), &head, true, 0).decision
}

fn status(decision: &Decision) -> u16 {
    let Decision::Reply(reply) = decision else { panic!("{decision:?} is no reply") };
    reply.status.as_u16()
}

#[test]
fn paths_of_the_console_name_its_files() {
    for (path, expected) in FILES {
        assert!(ConsoleFile::owns(path), "{path}");
        assert_eq!(ConsoleFile::at(path).map(|file| file.asset_path()).as_deref(), expected, "{path}");
        let decision = get(true, path);
        match expected {
            Some(_) => assert_eq!(decision, Decision::Console(ConsoleFile::at(path).unwrap()), "{path}"),
            None => assert_eq!(status(&decision), 404, "{path}"),
        }
    }
    for path in ["/consoles", "/console.html", "/x/console", "/"] {
        assert!(!ConsoleFile::owns(path), "{path}");
    }
}

#[test]
fn a_console_that_is_off_has_no_files() {
    for (path, _) in FILES {
        assert_eq!(status(&get(false, path)), 404, "{path}");
    }
}

/// No part of the page may come from elsewhere, be inline, or be made of a stream's content.
#[test]
fn files_have_the_headers_of_a_page() {
    let reply = |path: &str| ConsoleFile::at(path).unwrap().reply();
    let headers = |reply: &Reply| {
        let mut headers = reply.headers.clone();
        headers.sort_unstable();
        headers
    };
    let policy = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                  require-trusted-types-for 'script'; trusted-types 'none'";
    let common = [
        ("content-security-policy", policy),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ];
    for (path, cache, content_type) in [
        ("/console", "no-cache", "text/html; charset=utf-8"),
        ("/console/app.js", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"),
        ("/console/app.css", "public, max-age=31536000, immutable", "text/css; charset=utf-8"),
        ("/console/icon.svg", "public, max-age=31536000, immutable", "image/svg+xml"),
    ] {
        let mut expected: Vec<_> = common.to_vec();
        expected.extend([("cache-control", cache), ("content-type", content_type)]);
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        assert_eq!(headers(&reply(path)), expected, "{path}");
        assert!(reply(path).has_bytes(), "{path}");
    }
}
