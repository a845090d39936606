//! Rules for items: type names are unique, and no parameter is a tuple.

use std::collections::BTreeMap;

use super::tokens::{Token, closing, tokens};
use super::{File, assert_none, planted, sources};

/// The names of the types that a file defines, without associated types.
fn types<'t>(tokens: &[Token<'t>]) -> Vec<&'t str> {
    let (mut found, mut blocks, mut belongs) = (Vec::new(), Vec::new(), false);
    for (at, token) in tokens.iter().enumerate() {
        if ["struct", "enum", "trait", "union", "type"].iter().any(|keyword| token.is(keyword)) {
            let is_of_a_trait = token.is("type") && blocks.contains(&true);
            let name = tokens.get(at + 1).and_then(|token| token.word());
            found.extend(name.filter(|_| !is_of_a_trait));
        }
        if token.is("impl") || token.is("trait") {
            belongs = true;
        } else if token.is("{") {
            blocks.push(std::mem::take(&mut belongs));
        } else if token.is("}") {
            blocks.pop();
            belongs = false;
        } else if token.is(";") {
            belongs = false;
        }
    }
    found
}

fn shared_names(files: &[File]) -> Vec<String> {
    let mut defined: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in files {
        for name in types(&tokens(&file.code())) {
            defined.entry(name.to_owned()).or_default().push(&file.path);
        }
    }
    defined.retain(|_, files| files.len() > 1);
    defined.iter().map(|(name, files)| format!("{name}: {}", files.join(", "))).collect()
}

/// The functions with a tuple parameter, by its pattern or its type.
fn tuple_parameters(tokens: &[Token<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at].is("fn")) {
        let Some(name) = tokens.get(at + 1).and_then(|token| token.word()) else { continue };
        let mut open = at + 2;
        if tokens[open].is("<") {
            open = closing(tokens, open) + 1;
        }
        let close = closing(tokens, open);
        let parameters = split(&tokens[open + 1..close]);
        let tuples = parameters.iter().filter(|parameter| is_tuple(parameter)).count();
        found.extend(std::iter::repeat_n(format!("fn {name}"), tuples));
    }
    found
}

/// The parts between the commas.
fn split<'p, 't>(tokens: &'p [Token<'t>]) -> Vec<&'p [Token<'t>]> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < tokens.len() {
        if ["(", "[", "{", "<"].iter().any(|sign| tokens[at].is(sign)) {
            at = closing(tokens, at);
        } else if tokens[at].is(",") {
            parts.push(&tokens[begin..at]);
            begin = at + 1;
        }
        at += 1;
    }
    parts.push(tokens.get(begin..).unwrap_or_default());
    parts
}

fn is_tuple(parameter: &[Token<'_>]) -> bool {
    let colon = parameter.iter().position(|token| token.is(":"));
    let kind = &parameter[colon.map_or(0, |at| at + 1)..];
    // `&'a mut (A, B)` is a tuple, too.
    let open = kind.iter().position(|token| token.is("("));
    let plain =
        |token: &Token<'_>| token.is("&") || token.is("'") || token.is("mut") || token.word().is_some();
    let is_first = |open: &usize| {
        let before = &kind[..*open];
        let is_lifetime = before.len() < 3 || before[1].is("'");
        before.iter().all(plain) && is_lifetime && !before.iter().any(|token| is_callable(*token))
    };
    let kind_is =
        open.filter(is_first).is_some_and(|open| split(&kind[open + 1..closing(kind, open)]).len() > 1);
    let pattern_is = colon.is_some() && parameter[0].is("(");
    kind_is || pattern_is
}

fn is_callable(token: Token<'_>) -> bool {
    ["Fn", "FnMut", "FnOnce", "fn", "impl", "dyn"].iter().any(|word| token.is(word))
}

fn tuples_in(file: &File) -> Vec<String> {
    let found = tuple_parameters(&tokens(&file.code())).into_iter();
    found.map(|name| format!("{}: {name}", file.path)).collect()
}

#[test]
fn tidy_type_names_are_unique() {
    assert_none(&shared_names(&sources()), "two types of src must not have the same name");
}

#[test]
fn tidy_no_parameter_is_a_tuple() {
    let found: Vec<String> = sources().iter().flat_map(tuples_in).collect();
    assert_none(&found, "a parameter must not be a tuple: name its parts");
}

#[test]
fn tidy_finds_shared_type_names() {
    let files = planted(&[
        ("src/a.rs", "struct One; enum Two { A } impl Port for One { type Socket = u8; }"),
        ("src/b.rs", "extern \"C\" { type One; } trait Port { type Socket; fn f() {} } type Socket = u8;"),
        ("src/c.rs", "fn f(one: impl Fn()) { let two = 1; } type Two = u8; // struct Three\nstruct Three;"),
    ]);
    assert_eq!(shared_names(&files), ["One: src/a.rs, src/b.rs", "Two: src/a.rs, src/c.rs"]);
}

#[test]
fn tidy_finds_tuple_parameters() {
    let text = "fn a((x, y): (u8, u8), z: u8) {}
        fn b<F: Fn((u8, u8)) -> u8>(&self, pair: &'a mut (u8, u8), f: F) {}
        fn c(f: impl Fn(u8, u8), none: (), list: &[(u8, u8)], g: &(dyn Fn() + 'a)) -> (u8, u8) { |(x, y)| x }
        fn d(Named { x, y }: Named, f: fn(u8, u8), v: Vec<(u8, u8)>, p: crate::Pair<u8, u8>) {}
        fn e((x, y): Pair, p: (u8, u8)) {}";
    assert_eq!(tuple_parameters(&tokens(text)), ["fn a", "fn b", "fn e", "fn e"]);
}
