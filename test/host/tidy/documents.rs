//! What the documents name exists: files, headings, settings, constants and scripts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{assert_none, root, sources, words};

/// README.md is read in one sitting; everything else is a page in docs/.
const README_WORDS_MAX: usize = 1_300;
const ARCHITECTURE_LINES_MAX: usize = 350;

/// Environment variables that documents name and the server does not read.
const NOT_OF_THE_SERVER: [&str; 3] =
    ["CONFORMANCE_TEST_URL", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"];

/// The text of a file, by its path from the root.
fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|_| panic!("{name} is not written yet"))
}

/// The paths of all documents from the root.
fn documents() -> Vec<String> {
    let mut names: Vec<String> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned).into();
    for folder in ["docs", "docs/decisions"] {
        // The folder of decisions may be missing.
        for entry in fs::read_dir(root().join(folder)).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.sort();
    assert!(names.contains(&"docs/security.md".to_owned()), "the documents are there: {names:?}");
    names
}

/// The lines outside of code blocks.
fn prose(document: &str) -> Vec<&str> {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    document.lines().filter(is_prose).collect()
}

/// The code in the prose: what stands between backticks.
fn quoted(document: &str) -> Vec<String> {
    prose(document).join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The targets of the links and pictures in the prose, without those on other sites.
fn links(document: &str) -> Vec<String> {
    // Code between backticks has no links.
    let text: String = prose(document).join("\n").split('`').step_by(2).collect();
    let ends = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')];
    let targets = ends
        .iter()
        .flat_map(|(begin, end)| text.split(begin).skip(1).filter_map(|rest| rest.split(*end).next()));
    // A definition: `[name]: target`.
    let definitions =
        text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split("]: ").nth(1));
    let is_ours = |target: &&str| !target.contains("://") && !target.starts_with("mailto:");
    targets.chain(definitions).filter(is_ours).map(|target| target.trim().to_owned()).collect()
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(document) {
        let level = line.len() - line.trim_start_matches('#').len();
        let Some(title) = line[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level)) else {
            continue;
        };
        let slug: String = link_texts(title)
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = [slug.clone()].into_iter().chain(numbered).find(|anchor| !found.contains(anchor));
        found.extend(free);
    }
    found
}

/// A heading in which each link is its text.
fn link_texts(title: &str) -> String {
    let parts: Vec<&str> = title.split("](").collect();
    let rest = parts[1..].iter().map(|part| part.split_once(')').map_or("", |(_, rest)| rest));
    [parts[0]].into_iter().chain(rest).collect()
}

/// What a link leads to, from the root: the file, and the anchor in it.
fn target_of<'l>(from: &str, link: &'l str) -> (PathBuf, &'l str) {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        return (PathBuf::from(from), anchor);
    }
    let mut path = PathBuf::new();
    for part in Path::new(from).parent().unwrap().join(file).components() {
        let is_shortened = part == Component::ParentDir && path.pop();
        if !is_shortened {
            path.push(part);
        }
    }
    (path, anchor)
}

/// The links of a document that lead nowhere, where `read` gives the text of each file that exists.
fn broken_links(name: &str, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let leads = |link: &String| {
        let (path, anchor) = target_of(name, link);
        let target = read(&path);
        let has_anchor = |target: String| anchor.is_empty() || anchors(&target).contains(anchor);
        target.is_some_and(has_anchor)
    };
    links(text).iter().filter(|link| !leads(link)).map(|link| format!("{name}: {link}")).collect()
}

#[test]
fn tidy_links_in_documents_lead_somewhere() {
    let read = |path: &Path| {
        let path = root().join(path);
        // Folders and pictures have no text.
        path.exists().then(|| fs::read_to_string(path).unwrap_or_default())
    };
    let found: Vec<String> =
        documents().iter().flat_map(|name| broken_links(name, &document(name), read)).collect();
    assert_none(&found, "a link in a document leads to a file, and its anchor to a heading there");
}

#[test]
fn tidy_broken_links_are_found() {
    let page = "# One\n## The `a_b` of [two](two.md), and 3.5: \"x\"\n## One\n[a](#one-1) [b](#the-a_b-of-two-and-35-x)\n\
        [c](two.md#there) [d](../README.md) ![e](images/e.svg)\n<img src=\"images/f.svg\">\n[g]: two.md#gone\n\
        ```sh\n# Not\n[h](h.md)\n```\n`[i](i.md)` [j](#not) [k](https://k.example/#k) [l](../../l.md) [m](#one-2)\n";
    let read = |path: &Path| match path.to_str().unwrap() {
        "docs/one.md" => Some(page.to_owned()),
        "docs/two.md" => Some("## There\n".to_owned()),
        "README.md" | "docs/images/e.svg" => Some(String::new()),
        _ => None,
    };
    let mut found = broken_links("docs/one.md", page, read);
    found.sort();
    let expected = ["#not", "#one-2", "../../l.md", "images/f.svg", "two.md#gone"];
    assert_eq!(found, expected.map(|link| format!("docs/one.md: {link}")));
}

#[test]
fn tidy_paths_in_documents_exist() {
    let folders = ["src/", "test/", "docs/", "tools/", ".ci/", "migrations/"];
    let endings = [".md", ".toml", ".yaml", ".lock", ".json"];
    let mut found = Vec::new();
    for name in documents() {
        let folder = root().join(&name).parent().unwrap().to_owned();
        for path in quoted(&document(&name)) {
            let is_path = folders.iter().any(|folder| path.starts_with(folder))
                || !path.contains('/') && endings.iter().any(|ending| path.ends_with(ending))
                || path == "LICENSE";
            // `PROTOCOL.md` is the protocol's.
            let is_meant = is_path && !path.contains([' ', '*', '<']) && path != "PROTOCOL.md";
            if is_meant && !root().join(&path).exists() && !folder.join(&path).exists() {
                found.push(format!("{name}: {path}"));
            }
        }
    }
    assert_none(&found, "a path in a document exists");
}

#[test]
fn tidy_documents_are_short() {
    let words_of_readme = document("README.md").split_whitespace().count();
    assert!(words_of_readme <= README_WORDS_MAX, "README.md has {words_of_readme} words, more than 1,300");
    let lines = document("ARCHITECTURE.md").lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines, more than 350");
}

/// Bounds and variables that documents name are in the sources.
#[test]
fn tidy_names_in_documents_exist() {
    let sources = sources();
    let scripts: Vec<String> = ["src/cloudflare/js", "src/console"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| ["js", "ts", "tsx"].iter().any(|known| extension == *known))
        })
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let texts = sources.iter().map(|file| &file.text).chain(&scripts);
    let known: BTreeSet<&str> = texts.flat_map(|text| words(text)).chain(NOT_OF_THE_SERVER).collect();
    let mut found = Vec::new();
    for name in documents() {
        let text = document(&name);
        for word in quoted(&text).into_iter().chain(settings_in_code(&text)) {
            let is_constant = word.contains('_') && is_setting(&word);
            if is_constant && !known.contains(word.as_str()) {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    assert_none(&found, "a constant or variable in a document exists");
}

/// A name of a variable or binding.
fn is_setting(word: &str) -> bool {
    word.len() > 4
        && word.contains(|c: char| c != '_')
        && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// The variables that code blocks set: in TOML, as a secret, or for `dev` alone.
fn settings_in_code(document: &str) -> Vec<String> {
    let in_toml = document.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let after = |words: &'static str| document.split(words).skip(1);
    let in_commands = after("secret put ").chain(after("--var ")).filter_map(|rest| words(rest).next());
    in_toml.chain(in_commands).filter(|word| is_setting(word)).map(str::to_owned).collect()
}

/// The variables and bindings in the first cells of a document's tables.
fn settings_in_tables(document: &str) -> BTreeSet<String> {
    let cells = document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.filter(|word| is_setting(word)).map(str::to_owned).collect()
}

/// Variables and bindings are named in src/cloudflare/config.rs, in the tables of docs/configuration.md, and some in
/// wrangler.toml.
#[test]
fn tidy_settings_are_named_in_one_place() {
    let path = "src/cloudflare/config.rs";
    let config = document(path);
    let quoted_in = |text: &str| -> BTreeSet<String> {
        text.split('"').skip(1).step_by(2).filter(|word| is_setting(word)).map(str::to_owned).collect()
    };
    // An old name still works, and is in no document.
    let old = config.split("old: \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let old: BTreeSet<String> = old.collect();
    let code: Vec<&str> = config.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let named: BTreeSet<String> = quoted_in(&code.join("\n")).difference(&old).cloned().collect();
    assert!(named.len() > 20 && named.contains("STREAMS"), "{path}: {named:?}");

    let listed = settings_in_tables(&document("docs/configuration.md"));
    let missing =
        named.difference(&listed).map(|name| format!("docs/configuration.md has no row for {name}"));
    let unknown = listed.difference(&named).map(|name| format!("docs/configuration.md has a row for {name}"));
    let mut found: Vec<String> = missing.chain(unknown).collect();

    let wrangler = document("wrangler.toml");
    let set = wrangler.lines().map(|line| line.trim_start_matches("# ")).filter_map(|line| {
        let (name, value) = line.split_once(" = ")?;
        Some(if matches!(name, "binding" | "name") { value.trim_matches('"') } else { name })
    });
    let unknown = set.filter(|name| is_setting(name) && !named.contains(*name));
    found.extend(unknown.map(|name| format!("wrangler.toml sets {name}")));
    for file in sources().iter().filter(|file| file.module() == "cloudflare" && file.path != path) {
        let code: Vec<&str> = file.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let again = quoted_in(&code.join("\n"));
        found.extend(again.intersection(&named).map(|name| format!("{} names {name}", file.path)));
    }
    assert_none(&found, "variables and bindings are named in src/cloudflare/config.rs, and only there");
}

#[test]
fn tidy_settings_in_tables_are_found() {
    let page = "| variable | default |\n|---|---|\n| `LOG_LEVEL` | none |\n| `A_B_C`, `D_E_F` | `NOT_IT` |\n| x | `NOR_IT` |\n`NOR_THIS`";
    let found: Vec<String> = settings_in_tables(page).into_iter().collect();
    assert_eq!(found, ["A_B_C", "D_E_F", "LOG_LEVEL"]);
}

#[test]
fn tidy_settings_in_code_are_found() {
    let page = "```toml\n[vars]\nA_B_C = \"1\"\nname = \"x\"\n```\n```console\nwrangler secret put D_E_F   # G_H_I\npnpm dev --var J_K_L:1\n```\n";
    assert_eq!(settings_in_code(page), ["A_B_C", "D_E_F", "J_K_L"]);
}

/// The scripts of package.json.
fn scripts() -> BTreeSet<String> {
    let package: serde_json::Value = serde_json::from_str(&document("package.json")).unwrap();
    package["scripts"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn tidy_scripts_are_there() {
    let scripts = scripts();
    let expected =
        ["dev", "test", "test:host", "test:platform", "test:docs", "conformance", "check", "build", "deploy"];
    for name in expected {
        assert!(scripts.contains(name), "package.json has no script {name}");
    }
}

/// The scripts that a document names: after `pnpm@10`, after `pnpm` at the start of some code, and in the first cell of
/// a table of commands.
fn scripts_in(document: &str) -> BTreeSet<String> {
    let called = document.split("pnpm@10 ").skip(1);
    let quoted = quoted(document);
    let quoted = quoted.iter().filter_map(|code| code.strip_prefix("pnpm "));
    let lines = document.lines().filter_map(|line| line.trim_start().strip_prefix("pnpm "));
    let mut in_table = false;
    let listed = document.lines().filter_map(|line| {
        in_table = line.starts_with("| command") || in_table && line.starts_with('|');
        line.strip_prefix("| `").filter(|_| in_table)
    });
    let all = called.chain(quoted).chain(lines).chain(listed);
    // What pnpm has of its own is no script.
    let own = ["exec", "install", "add", "pack"];
    all.map(|rest| rest.trim_start_matches("pnpm ").trim_start_matches("run "))
        .map(|rest| {
            rest.split(|c: char| c.is_whitespace() || matches!(c, '`' | '|')).next().unwrap_or_default()
        })
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()) && !own.contains(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn tidy_scripts_in_documents_exist() {
    let scripts = scripts();
    // The changelog and the decisions may name scripts of the past.
    let names = documents().into_iter().filter(|name| {
        name == "README.md" || name.starts_with("docs/") && !name.starts_with("docs/decisions/")
    });
    let (mut found, mut named) = (Vec::new(), BTreeSet::new());
    for name in names {
        let here = scripts_in(&document(&name));
        found.extend(here.difference(&scripts).map(|script| format!("{name}: {script}")));
        named.extend(here);
    }
    assert!(named.contains("dev") && named.contains("test"), "the documents name the scripts: {named:?}");
    assert_none(&found, "a script that a document names is in package.json");
}

#[test]
fn tidy_scripts_in_documents_are_found() {
    let page = "`npx -y pnpm@10 run a` and `pnpm b --x`, but pnpm c.\n```console\nnpx -y pnpm@10 d:d\npnpm e\nnpx pnpm@10 exec f\n```\n\
        | command | what |\n|---|---|\n| `g` | `pnpm h` |\n| `pnpm i` | x |\n\n| `k` | no command |\n";
    let found: Vec<String> = scripts_in(page).into_iter().collect();
    assert_eq!(found, ["a", "b", "d:d", "e", "g", "h", "i"]);
}

/// The version is written once for each tool that needs one.
#[test]
fn tidy_versions_agree() {
    let package: serde_json::Value = serde_json::from_str(&document("package.json")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(package["version"], version, "package.json and Cargo.toml");
    let changelog = document("CHANGELOG.md");
    assert!(changelog.contains(&format!("## {version}")), "CHANGELOG.md has {version}");
}
