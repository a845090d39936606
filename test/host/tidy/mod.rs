//! The rules of ARCHITECTURE.md for the sources and the documents, as tests.

mod comments;
mod cycles;
mod documents;
mod error_codes;
mod items;
mod js;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
struct File {
    /// The path from the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The module, as listed in `src/lib.rs`; empty for that file itself.
    fn module(&self) -> &str {
        self.path.strip_prefix("src/").unwrap().split_once('/').map_or("", |(module, _)| module)
    }

    /// The code without comments and strings.
    fn code(&self) -> String {
        without_comments_and_strings(&self.text)
    }

    fn code_lines(&self) -> Vec<String> {
        self.code().lines().map(str::to_owned).collect()
    }
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file under `src`.
fn sources() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(files.len() > 20, "the folder has all sources");
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            files.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn without_comments_and_strings(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => end_of_string(rest),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").unwrap_or(rest.len()) + 2,
            '\'' if rest[1..].starts_with('\\') => 3 + rest[3..].find('\'').unwrap_or(0),
            '\'' if rest.chars().nth(2) == Some('\'') => {
                rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)
            }
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

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The identifiers of some code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Fails with all findings, not only with the first.
#[track_caller]
pub(crate) fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Sources with planted violations, to test a rule.
fn planted(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
}

#[test]
fn tidy_comments_and_strings_are_not_code() {
    let text = "a // b\n\"c \\\" d\" e 'f' '\\'' g<'h> r#\"i\"# '\"' j";
    let code = without_comments_and_strings(text);
    assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "e", "g", "h", "j"]);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn tidy_only_cloudflare_names_the_platform() {
    let platform = ["worker", "wasm_bindgen", "js_sys", "web_sys", "wasm_bindgen_futures"];
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() != "cloudflare") {
        for (index, line) in file.code_lines().iter().enumerate() {
            found.extend(
                words(line)
                    .filter(|word| platform.contains(word))
                    .map(|word| format!("{}:{}: {word}", file.path, index + 1)),
            );
        }
    }
    assert_none(&found, "only src/cloudflare may name the platform");
}

/// The modules that each module may name.
const ARROWS: [(&str, &[&str]); 9] = [
    ("", &["edge", "object", "protocol", "storage", "stream", "subscription", "telemetry", "cloudflare"]),
    ("protocol", &["protocol"]),
    ("stream", &["stream", "protocol"]),
    ("subscription", &["subscription", "protocol"]),
    ("storage", &["storage", "stream", "subscription", "protocol"]),
    ("object", &["object", "storage", "stream", "subscription", "protocol"]),
    ("edge", &["edge", "protocol"]),
    ("telemetry", &["telemetry", "protocol"]),
    (
        "cloudflare",
        &["edge", "object", "protocol", "storage", "stream", "subscription", "telemetry", "cloudflare"],
    ),
];

#[test]
fn tidy_arrows_point_inward() {
    let mut found = Vec::new();
    for file in sources() {
        let arrow = ARROWS.iter().find(|(module, _)| *module == file.module());
        let (_, allowed) =
            arrow.unwrap_or_else(|| panic!("{} is in no module that src/lib.rs lists", file.path));
        let code = file.code();
        for (at, _) in code.match_indices("crate::") {
            let named: String =
                code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !allowed.contains(&named.as_str()) {
                found.push(format!("{} names crate::{named}", file.path));
            }
        }
        // `super` also leads to the root.
        let climbs = if file.path.ends_with("/mod.rs") {
            code.contains("super::")
        } else {
            code.contains("super::super::")
        };
        if climbs {
            found.push(format!("{} climbs out of its module with super::", file.path));
        }
    }
    assert_none(&found, "arrows point inward (src/lib.rs): name modules one by one, as crate::module");
}

#[test]
fn tidy_files_begin_with_their_purpose() {
    let is_said = |file: &File| file.text.starts_with("//! ") && file.text.lines().next().unwrap().len() > 10;
    let found: Vec<String> =
        sources().iter().filter(|file| !is_said(file)).map(|file| file.path.clone()).collect();
    assert_none(&found, "a file must begin with a line `//! what it is for`");
}

/// Invariant 1: nothing can suspend between the state and the commit.
#[test]
fn tidy_only_cloudflare_is_async() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() != "cloudflare") {
        let code = file.code();
        let waits = words(&code).any(|word| ["async", "await", "Future", "futures_util"].contains(&word));
        found.extend(waits.then(|| file.path.clone()));
    }
    assert_none(&found, "code outside src/cloudflare must not be async");
}

/// Invariant 2: one place writes.
#[test]
fn tidy_one_place_writes() {
    let mut found = Vec::new();
    for file in sources() {
        let code = file.code();
        let is_port = file.path == "src/cloudflare/object/sql.rs" || file.path == "src/storage/mod.rs";
        if code.contains(".transaction(") && file.path != "src/storage/commit.rs" && !is_port {
            found.push(format!("{} begins a transaction", file.path));
        }
        let runs = code.contains("sql.run(") || code.contains("sql.run_alone(");
        if runs && file.module() != "storage" && !is_port {
            found.push(format!("{} runs a statement", file.path));
        }
        if code.contains("exec(") && !is_port {
            found.push(format!("{} bypasses the port", file.path));
        }
    }
    assert_none(&found, "only src/storage/commit.rs may write");
}

/// Whether a word is the code of a status that the server uses.
pub(crate) fn is_status_code(word: &str) -> bool {
    ["200", "201", "204", "304", "400", "401", "403", "404", "405", "408", "409", "410", "413", "429"]
        .into_iter()
        .chain(["500", "501", "503"])
        .any(|code| code == word)
}

/// Invariant 7: a status code is written in one file.
#[test]
fn tidy_status_codes_are_written_once() {
    let mut found = Vec::new();
    // The second file has the codes of webhooks' responses.
    let may_write = ["src/protocol/reply.rs", "src/subscription/response.rs"];
    for file in sources().iter().filter(|file| !may_write.contains(&file.path.as_str())) {
        for (index, line) in file.code_lines().iter().enumerate() {
            let statuses: Vec<&str> = words(line).filter(|word| is_status_code(word)).collect();
            if words(line).any(|word| word == "StatusCode")
                || (line.contains("status") && !statuses.is_empty())
            {
                found.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "only src/protocol/reply.rs may write status codes");
}

/// SSE responses and long-polls must compare each frame's offsets with the client's place. Without that gate, a
/// lost announcement is an undetected gap.
#[test]
fn tidy_live_readers_are_gated() {
    let gated = [
        ("src/edge/live/sse.rs", ".admit("),
        ("src/edge/live/long_poll.rs", ".admit("),
        ("src/cloudflare/worker/sse_client.rs", "response.frame("),
        ("src/cloudflare/worker/long_poll.rs", "poll.frame("),
    ];
    for (path, gate) in gated {
        let file = sources().into_iter().find(|file| file.path == path).unwrap();
        assert!(file.code().contains(gate), "{path} must compare frames with the client's place: {gate}");
    }
}

/// The object may repeat its request in `Location`, a log or an error. No other test would detect that it
/// received a token.
#[test]
fn tidy_tokens_stay_at_the_edge() {
    let file = sources().into_iter().find(|file| file.path == "src/cloudflare/worker/forward.rs").unwrap();
    let code = file.code();
    for taken_out in ["url_without_token(", "delete(header::AUTHORIZATION)", "delete(header::COOKIE)"] {
        assert!(code.contains(taken_out), "{} must remove tokens: {taken_out}", file.path);
    }
}

#[test]
fn tidy_files_have_at_most_400_lines() {
    const LINES_MAX: usize = 400;
    let lengths = sources().into_iter().map(|file| (file.text.lines().count(), file.path));
    let found: Vec<String> = lengths
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    assert_none(&found, "a file must have at most 400 lines");
}

#[test]
fn tidy_comments_are_at_most_30_percent() {
    let (mut comments, mut lines) = (0, 0);
    for file in sources() {
        for line in file.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            lines += 1;
            comments += usize::from(line.starts_with("//"));
        }
    }
    assert!(comments * 100 <= lines * 30, "{comments} of {lines} lines are comments: more than 30 %");
}

#[test]
fn tidy_names_are_not_generic() {
    let mut found = Vec::new();
    for file in sources() {
        let stem = file.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
        if ["util", "utils", "common", "shared", "types", "helpers", "misc"].contains(&stem) {
            found.push(file.path.clone());
        }
        let code = file.code();
        for (at, _) in code.match_indices("fn ") {
            let name = words(&code[at + 3..]).next().unwrap_or_default();
            if ["handle_", "get_", "process_"].iter().any(|prefix| name.starts_with(prefix)) {
                // JavaScript chooses the names of its own methods.
                let is_bound = code[..at].trim_end().ends_with(")]");
                found.extend((!is_bound).then(|| format!("{}: fn {name}", file.path)));
            }
        }
    }
    assert_none(
        &found,
        "a name must not be util, common, shared, types or helpers, nor begin with handle_, get_ or process_",
    );
}

/// Tests are in test/host, so that source files stay short.
#[test]
fn tidy_sources_have_no_tests() {
    let has_tests = |file: &&File| file.code().contains("#[cfg(test)]") || file.code().contains("#[test]");
    let found: Vec<String> = sources().iter().filter(has_tests).map(|file| file.path.clone()).collect();
    assert_none(&found, "tests belong in test/host");
}
