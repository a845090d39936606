//! Rules for the JavaScript in `src`. The linter limits the length of functions (`.oxlintrc.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{assert_none, is_status_code, root, words};

const FOLDER: &str = "src/cloudflare/js";
const CONSOLE: &str = "src/console";

/// Files that only decide: they neither wait nor send.
const DECISIONS: [&str; 2] = ["collapse_decisions.js", "group_commit_decisions.js"];

/// Names that only some files may use: the platform's, and the module's that wasm-bindgen makes.
const PLACES: [(&str, &[&str]); 4] = [
    ("DurableObject", &["worker.js"]),
    ("caches", &["collapse.js"]),
    ("wasm", &["worker.js"]),
    ("WebAssembly", &["worker.js"]),
];

/// Names that bring in time, randomness or I/O.
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

    /// The files of the same folder that the script imports.
    fn imports(&self) -> BTreeSet<&str> {
        let named = self.text.split("from \"./").skip(1).chain(self.text.split("import \"./").skip(1));
        named.filter_map(|rest| rest.split('"').next()).collect()
    }
}

/// The scripts of the Worker and its objects.
fn scripts() -> Vec<Script> {
    scripts_in(FOLDER)
}

fn scripts_in(folder: &str) -> Vec<Script> {
    let paths = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let is_script = |path: &Path| {
        path.extension().is_some_and(|extension| ["js", "ts", "tsx"].iter().any(|known| extension == *known))
            && !path.to_str().unwrap().ends_with(".d.ts")
    };
    let paths = paths.filter(|path| is_script(path));
    let mut scripts: Vec<Script> = paths
        .map(|path| Script {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .collect();
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(scripts.len() > 10, "the folder has all scripts");
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
fn tidy_js_comments_and_strings_are_not_code() {
    let text = "a // b\n\"c \\\" d\" e 'f' /* g\n */ h `i ${j}` k";
    let code = without_comments_and_strings(text);
    assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "e", "h", "k"]);
    assert_eq!(code.lines().count(), 3);
}

#[test]
fn tidy_js_files_are_short_and_begin_with_their_purpose() {
    const LINES_MAX: usize = 400;
    let mut found = Vec::new();
    for Script { name, text } in scripts().into_iter().chain(scripts_in(CONSOLE)) {
        let (lines, first) = (text.lines().count(), text.lines().next().unwrap_or_default());
        if lines > LINES_MAX {
            found.push(format!("{name} has {lines} lines"));
        }
        if !first.starts_with("// ") || first.len() <= 10 {
            found.push(format!("{name} begins with {first}"));
        }
    }
    assert_none(&found, "a script must have at most 400 lines, and begin with a line `// what it is for`");
}

/// Invariant 7 for JavaScript: the status codes that it needs come from the Rust module.
#[test]
fn tidy_js_writes_no_status_codes() {
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
    assert_none(&found, "only src/protocol/reply.rs may write status codes");
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
                "worker.js" => *name == "library.js",
                "index.js" => ["worker.js", "rehearsal.js"].contains(name),
                _ => !DECISIONS.contains(name),
            };
            if !is_allowed {
                found.push(format!("{name} imports {import}"));
            }
        }
    }
    // Remove each file whose imports are all removed. The rest is in a cycle, or imports one.
    loop {
        let here: BTreeSet<&str> = left.keys().copied().collect();
        left.retain(|_, imports| imports.iter().any(|import| here.contains(import)));
        if left.len() == here.len() {
            break;
        }
    }
    found.extend(left.keys().map(|name| format!("{name} is in a cycle of imports, or imports one")));
    assert_none(&found, "imports must point one way");
}

#[test]
fn tidy_js_platform_is_named_in_few_files() {
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
    assert_none(&found, "only the listed files may name the platform, and decisions must not");
}
