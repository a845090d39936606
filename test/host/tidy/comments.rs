//! Rules for comments: a doc comment says more than its name, and a compiler hint has a reason.

use super::{File, assert_none, planted, sources};

/// A doc comment with fewer words only repeats the name.
const WORDS_MIN: usize = 4;

/// Finds `#[inline(never)]` without a comment above or behind it.
fn hints_without_reason(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let is_reason = |line: &str| line.starts_with("//") && !line.starts_with("///");
    let hints = lines.iter().enumerate().filter(|(_, line)| line.starts_with("#[inline(never)]"));
    let bare = hints.filter(|(at, line)| {
        let above = at.checked_sub(1).is_some_and(|above| is_reason(lines[above]));
        !above && !line.split_once(']').is_some_and(|(_, behind)| behind.trim_start().starts_with("//"))
    });
    bare.map(|(at, _)| format!("{}:{}", file.path, at + 1)).collect()
}

/// Finds doc comments with too few words, unless they name a unit, a literal, or a section of a document.
fn short_docs(file: &File) -> Vec<String> {
    let (mut found, mut doc) = (Vec::new(), String::new());
    let lines = file.text.lines().chain([""]).map(str::trim);
    for (at, line) in lines.enumerate() {
        if let Some(text) = line.strip_prefix("///") {
            doc = format!("{doc} {}", text.trim());
            continue;
        }
        let words = doc.split_whitespace().count();
        let names_something =
            doc.starts_with(" In ") || doc.contains(|c: char| c == '`' || c.is_ascii_digit());
        if (1..WORDS_MIN).contains(&words) && !names_something {
            found.push(format!("{}:{at}: {}", file.path, doc.trim()));
        }
        doc.clear();
    }
    found
}

#[test]
fn tidy_compiler_hints_have_a_reason() {
    let found: Vec<String> = sources().iter().flat_map(hints_without_reason).collect();
    assert_none(&found, "#[inline(never)] needs a comment above or behind it that says why");
}

#[test]
fn tidy_doc_comments_say_more_than_the_name() {
    let found: Vec<String> = sources().iter().flat_map(short_docs).collect();
    assert_none(&found, "a doc comment must say more than its name, or be left out");
}

#[test]
fn tidy_finds_hints_without_a_reason() {
    let text = "// Why.\n#[inline(never)]\nfn a() {}\n/// What.\n#[inline(never)]\nfn b() {}\n    #[inline(never)] // why\nfn c() {}\n#[inline(never)]\n// late\n";
    let files = planted(&[("src/a.rs", text)]);
    assert_eq!(hints_without_reason(&files[0]), ["src/a.rs:5", "src/a.rs:9"]);
}

#[test]
fn tidy_finds_short_doc_comments() {
    let text = "/// Which.\na: u8,\n/// In bytes.\nb: u8,\n/// RFC 9110, 5.\nd: u8,\n/// `Stream-Closed`.\ne: u8,\n/// Two words\n/// and two.\nc: u8,\n// Why.\n/// Not at all.";
    let files = planted(&[("src/a.rs", text)]);
    assert_eq!(short_docs(&files[0]), ["src/a.rs:1: Which.", "src/a.rs:13: Not at all."]);
}
