//! The architecture's rules for the JavaScript in `src`. How long a function may be is a rule of the linter (`.oxlintrc.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{assert_none, is_status_code, root, words};

const FOLDER: &str = "src/cloudflare/js";

/// What decides, and neither waits nor sends.
const DECISIONS: [&str; 2] = ["collapse_decisions.js", "group_commit_decisions.js"];

/// What only some files may name: what the platform gives, and the module that wasm-bindgen makes.
const PLACES: [(&str, &[&str]); 4] = [
    ("DurableObject", &["worker.js"]),
    ("caches", &["collapse.js"]),
    ("wasm", &["worker.js"]),
    ("WebAssembly", &["worker.js"]),
];

/// What brings in time, chance or I/O.
const EFFECTS: [&str; 13] = [
    "async",
    "await",
    "Promise",
    "setTimeout",
    "clearTimeout",
    "Date",
    "performance",
    "crypto",
    "fetch",
    "Request",
    "Response",
    "Headers",
    "globalThis",
];

struct Script {
    name: String,
    text: String,
}

impl Script {
    fn code(&self) -> String {
        without_comments_and_strings(&self.text)
    }

    /// The files of the same folder that it imports.
    fn imports(&self) -> BTreeSet<&str> {
        let named = self.text.split("from \"./").skip(1).chain(self.text.split("import \"./").skip(1));
        named.filter_map(|rest| rest.split('"').next()).collect()
    }
}

fn scripts() -> Vec<Script> {
    let paths = fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "js"));
    let mut scripts: Vec<Script> = paths
        .map(|path| Script {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(scripts.len() > 10, "the scripts are there");
    scripts
}

fn without_comments_and_strings(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' | '\'' | '`' => end_of_string(rest, first),
            _ => {
                code.push(first);
                first.len_utf8()
            }
        };
        // Line ends stay, so that lines can be counted.
        if skipped > first.len_utf8() {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        }
        rest = &rest[skipped..];
    }
    code
}

fn end_of_string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return at + 1;
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

#[test]
fn tidy_js_code_is_told_from_comments_and_strings() {
    let text = "a // b\n\"c \\\" d\" e 'f' /* g\n */ h `i ${j}` k";
    let code = without_comments_and_strings(text);
    assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "e", "h", "k"]);
    assert_eq!(code.lines().count(), 3);
}

#[test]
fn tidy_js_files_are_short_and_say_what_they_are_for() {
    const LINES_MAX: usize = 400;
    let mut found = Vec::new();
    for Script { name, text } in scripts() {
        let (lines, first) = (text.lines().count(), text.lines().next().unwrap_or_default());
        if lines > LINES_MAX {
            found.push(format!("{name} has {lines} lines"));
        }
        if !first.starts_with("// ") || first.len() <= 10 {
            found.push(format!("{name} begins with {first}"));
        }
    }
    assert_none(&found, "a script has at most 400 lines, and begins with a line `// what it is for`");
}

/// Invariant 7, in JavaScript, too: what it has to know of status codes comes from the module.
#[test]
fn tidy_js_status_codes_are_written_in_rust() {
    let mut found = Vec::new();
    for script in scripts() {
        for (index, line) in script.code().lines().enumerate() {
            let is_compared =
                |code: &str| ["== ", "!= "].iter().any(|sign| line.contains(&format!("{sign}{code}")));
            let is_named = line.to_lowercase().contains("status");
            let writes = |word: &str| is_status_code(word) && (is_named || is_compared(word));
            if words(line).any(writes) {
                found.push(format!("{}:{}: {}", script.name, index + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "status codes are written in src/protocol/reply.rs only");
}

#[test]
fn tidy_js_imports_point_one_way() {
    let scripts = scripts();
    let mut found = Vec::new();
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        scripts.iter().map(|script| (script.name.as_str(), script.imports())).collect();
    for (name, imports) in &left {
        for import in imports {
            let is_allowed = match *import {
                "worker.js" => false,
                "index.js" => ["worker.js", "rehearsal.js"].contains(name),
                _ => !DECISIONS.contains(name),
            };
            if !is_allowed {
                found.push(format!("{name} imports {import}"));
            }
        }
    }
    // A file goes when all that it imports has gone; what stays is in a circle, or imports one.
    loop {
        let here: BTreeSet<&str> = left.keys().copied().collect();
        left.retain(|_, imports| imports.iter().any(|import| here.contains(import)));
        if left.len() == here.len() {
            break;
        }
    }
    found.extend(left.keys().map(|name| format!("{name} is in a circle of imports, or imports one")));
    assert_none(&found, "imports point one way");
}

#[test]
fn tidy_js_platform_words_are_where_they_belong() {
    let mut found = Vec::new();
    for script in scripts() {
        let code = script.code();
        let words: BTreeSet<&str> = words(&code).collect();
        let elsewhere = PLACES.iter().filter(|(_, files)| !files.contains(&script.name.as_str()));
        found.extend(
            elsewhere
                .filter(|(word, _)| words.contains(word))
                .map(|(word, _)| format!("{} names {word}", script.name)),
        );
        if DECISIONS.contains(&script.name.as_str()) {
            let effects = EFFECTS.iter().filter(|word| words.contains(*word));
            found.extend(effects.map(|word| format!("{} names {word}", script.name)));
        }
    }
    assert_none(&found, "the platform is named where it belongs, and decisions do without it");
}
