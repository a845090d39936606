//! Patterns of subscriptions (PROTOCOL.md 6.2).

use durable_streams::protocol::subscription::glob::{PATTERN_MAX_BYTES, PATTERN_MAX_SEGMENTS, Pattern};

/// `pattern: paths that match | paths that do not`.
const TABLE: [&str; 20] = [
    "a: a | b a/b b/a A",
    "a/b: a/b | a a/b/c a/c",
    "/a/b/: a/b | a",
    "a//b: a/b | a",
    "*: a ab | a/b",
    "a/*: a/b a/c | a a/b/c b/a",
    "*/b: a/b | b a/b/c",
    "a/*/c: a/b/c | a/c a/b/b/c",
    "**: a a/b a/b/c |",
    "a/**: a a/b a/b/c | b ab b/a",
    "**/c: c a/c a/b/c | a/c/b",
    "a/**/c: a/c a/b/c a/b/b/c | a a/b c",
    "a/**/**/c: a/c a/b/c | a",
    "**/b/**: b a/b a/b/c | a a/c",
    "**/*: a a/b |",
    "*/**: a a/b |",
    "ev*: ev* | events ev",
    "a/%2A: a/* | a/b",
    "%2a: * | a",
    "a.b: a.b | axb",
];

#[test]
fn patterns_match_whole_paths_by_segments() {
    for row in TABLE {
        let (pattern, paths) = row.split_once(": ").expect("a row");
        let (matching, others) = paths.split_once('|').expect("a row");
        let parsed = Pattern::parse(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        for path in matching.split_whitespace() {
            assert!(parsed.matches(path), "{pattern} must match {path}");
            let prefix = parsed.literal_prefix();
            assert!(path.starts_with(&prefix), "{pattern} lists {prefix} only, so never {path}");
        }
        for path in others.split_whitespace() {
            assert!(!parsed.matches(path), "{pattern} must not match {path}");
        }
    }
}

#[test]
fn malformed_patterns_are_refused() {
    for empty in ["", "/", "///"] {
        assert_eq!(Pattern::parse(empty), Err("it has no segment"));
    }
    let long = "a".repeat(PATTERN_MAX_BYTES);
    assert!(Pattern::parse(&long).is_ok());
    assert!(Pattern::parse(&format!("{long}a")).is_err());
    let many = vec!["a"; PATTERN_MAX_SEGMENTS].join("/");
    assert!(Pattern::parse(&many).is_ok());
    assert!(Pattern::parse(&format!("{many}/a")).is_err());
}

/// A matcher that tries every division would take longer than the age of the universe.
#[test]
fn many_wildcards_match_in_polynomial_time() {
    let pattern = Pattern::parse(&format!("{}c", "**/a/".repeat(31))).expect("a pattern");
    let path = format!("{}b", "a/".repeat(370));
    for _ in 0..100 {
        assert!(!pattern.matches(&path));
    }
    assert!(pattern.matches(&format!("{}c", "a/".repeat(369))));
}

#[test]
fn the_literal_prefix_ends_before_the_first_wildcard() {
    for (pattern, prefix) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a/*", "a/"),
        ("a/b/*/c", "a/b/"),
        ("a/**", "a"),
        ("*", ""),
        ("**", ""),
        ("a/%2A/*", "a/*/"),
    ] {
        assert_eq!(Pattern::parse(pattern).map(|pattern| pattern.literal_prefix()), Ok(prefix.to_owned()));
    }
}
