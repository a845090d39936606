//! Rule for imports: no files under `src` import each other in a cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tokens::{Token, tokens};
use super::{File, assert_none, planted, sources};

/// The imports of each file.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules of the crate, by their paths: `["object", "forks"]` is `src/object/forks.rs`.
struct Modules(BTreeMap<Vec<String>, String>);

fn module_path(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut names: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|last| last == "mod" || last == "lib") {
        names.pop();
    }
    names
}

impl Modules {
    /// The file that defines the item at a path within a module; `None` if the path leaves the crate.
    fn file_of(&self, module: &[String], path: &[&str]) -> Option<&String> {
        let mut at = module.to_vec();
        let mut rest = path;
        match rest.first() {
            Some(&"crate") => (at, rest) = (Vec::new(), &rest[1..]),
            Some(&"self") => rest = &rest[1..],
            Some(&"super") => {
                while rest.first() == Some(&"super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => {
                // A child of this module, or an item of another crate.
                at.push((*rest.first()?).to_owned());
                self.0.get(&at)?;
                rest = &rest[1..];
            }
        }
        for name in rest {
            at.push((*name).to_owned());
            if !self.0.contains_key(&at) {
                at.pop();
                break;
            }
        }
        self.0.get(&at)
    }
}

fn imports(files: &[File]) -> Imports {
    let modules = Modules(files.iter().map(|file| (module_path(&file.path), file.path.clone())).collect());
    let of = |file: &File| {
        let code = file.code();
        let module = module_path(&file.path);
        let named = paths(&tokens(&code)).into_iter();
        let named = named.filter_map(|path| modules.file_of(&module, &path).cloned());
        named.filter(|other| *other != file.path).collect()
    };
    files.iter().map(|file| (file.path.clone(), of(file))).collect()
}

/// All paths in the code; each path of a `use` tree in full.
fn paths<'t>(tokens: &[Token<'t>]) -> Vec<Vec<&'t str>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("use") {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if tokens[at].is("in") && at > 1 && tokens[at - 2].is("pub") {
            // `pub(in crate::module)` imports nothing.
            at += tokens[at..].iter().position(|token| token.is(")")).unwrap_or(1);
        } else if let Some(word) = tokens[at].word() {
            let mut path = vec![word];
            while tokens.get(at + 1).is_some_and(|token| token.is("::")) {
                let Some(next) = tokens.get(at + 2).and_then(|token| token.word()) else { break };
                path.push(next);
                at += 2;
            }
            if path.len() > 1 {
                found.push(path);
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Parses one `use` tree; returns the index after it.
fn use_tree<'t>(
    tokens: &[Token<'t>],
    mut at: usize,
    prefix: &[&'t str],
    found: &mut Vec<Vec<&'t str>>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| !token.is("}")) {
                at = use_tree(tokens, at, &path, found);
                at += usize::from(tokens.get(at).is_some_and(|token| token.is(",")));
            }
            return at + 1;
        }
        match token.word() {
            Some("as") => at += 1,
            Some(word) => path.push(word),
            None if token.is("::") || token.is("*") => {}
            None => break,
        }
        at += 1;
    }
    found.push(path);
    at
}

/// All files reachable from a file, including the file itself only if it is in a cycle.
fn reached<'i>(imports: &'i Imports, from: &str) -> BTreeSet<&'i str> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for other in imports.get(file).into_iter().flatten() {
            if seen.insert(other.as_str()) {
                next.push(other);
            }
        }
    }
    seen
}

/// The sets of files that all reach each other, the smallest first.
fn cycles(imports: &Imports) -> Vec<BTreeSet<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (file.as_str(), reached(imports, file))).collect();
    let mut found = BTreeSet::new();
    for (file, there) in &reached {
        let cycle: BTreeSet<&str> =
            there.iter().copied().filter(|other| reached[other].contains(file)).collect();
        if !cycle.is_empty() {
            found.insert(cycle);
        }
    }
    let mut found: Vec<BTreeSet<&str>> = found.into_iter().collect();
    found.sort_by_key(BTreeSet::len);
    found
}

/// The shortest cycle through any of these files.
fn shortest_cycle<'i>(imports: &'i Imports, cycle: &BTreeSet<&'i str>) -> String {
    let ways = cycle.iter().filter_map(|start| {
        let mut waiting = VecDeque::from([vec![*start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = waiting.pop_front() {
            for next in imports[*way.last()?].iter().map(String::as_str) {
                let longer: Vec<&str> = way.iter().copied().chain([next]).collect();
                if next == *start {
                    return Some(longer);
                }
                if seen.insert(next) {
                    waiting.push_back(longer);
                }
            }
        }
        None
    });
    ways.min_by_key(Vec::len).unwrap_or_default().join(" -> ")
}

/// Describes each cycle, with an example path.
fn describe(imports: &Imports) -> Vec<String> {
    let cycle = |cycle: &BTreeSet<&str>| {
        let files: Vec<&str> = cycle.iter().copied().collect();
        format!(
            "{} files: {}\n    for example {}",
            files.len(),
            files.join(", "),
            shortest_cycle(imports, cycle)
        )
    };
    cycles(imports).iter().map(cycle).collect()
}

#[test]
fn tidy_imports_have_no_cycles() {
    assert_none(&describe(&imports(&sources())), "files of src must not import each other in a cycle");
}

#[test]
fn tidy_finds_imports() {
    let files = planted(&[
        ("src/lib.rs", "pub mod a; pub mod b;"),
        ("src/a/mod.rs", "mod one; mod two; use one::Thing; pub struct Own; use std::fmt;"),
        ("src/a/one.rs", "use super::{two::{Inner, Other as Another}, Own}; // crate::b"),
        ("src/a/two.rs", "pub(in crate::a) fn f() -> crate::b::Item { super::one::make() }"),
        ("src/b.rs", "use crate::a::*; fn f() { let s = \"crate::a::two\"; b::x(); self::f() }"),
    ]);
    let found = imports(&files);
    let of = |file: &str| found[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("src/lib.rs"), [""; 0]);
    assert_eq!(of("src/a/mod.rs"), ["src/a/one.rs"]);
    assert_eq!(of("src/a/one.rs"), ["src/a/mod.rs", "src/a/two.rs"]);
    assert_eq!(of("src/a/two.rs"), ["src/a/one.rs", "src/b.rs"]);
    assert_eq!(of("src/b.rs"), ["src/a/mod.rs"]);
}

#[test]
fn tidy_finds_cycles() {
    let files = planted(&[
        ("src/a.rs", "use crate::b::B;"),
        ("src/b.rs", "use crate::c::C; use crate::e::E;"),
        ("src/c.rs", "fn f() -> crate::a::A"),
        ("src/d.rs", "use crate::{a::A, e};"),
        ("src/e.rs", "use crate::b::B;"),
        ("src/x/mod.rs", "use y::Y;"),
        ("src/x/y.rs", "use super::X;"),
    ]);
    let imports = imports(&files);
    let found = describe(&imports);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("2 files: src/x/mod.rs, src/x/y.rs\n"),
        "the smallest cycle comes first: {found:?}"
    );
    assert!(
        found[1].ends_with("src/b.rs -> src/e.rs -> src/b.rs"),
        "the example is the shortest cycle: {found:?}"
    );
}
