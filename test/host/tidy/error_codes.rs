//! docs/errors.md against the server: each code is a heading below the heading of its status, and the page has no other code.

use std::collections::BTreeSet;
use std::fs;

use super::{assert_none, root};
use crate::spec::errors::every_error;

/// Status and code of each heading of the page, in its order.
fn documented(page: &str) -> Vec<(u16, String)> {
    let (mut status, mut found) = (None, Vec::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            status = heading.split(' ').next().and_then(|first| first.parse().ok());
        } else if let (Some(status), Some(code)) = (status, line.strip_prefix("### ")) {
            found.push((status, code.to_owned()));
        }
    }
    found
}

/// The differences between the page and the errors.
fn mistakes(page: &str, errors: &BTreeSet<(u16, String)>) -> Vec<String> {
    let documented = documented(page);
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for heading in &documented {
        let (status, code) = heading;
        if !errors.contains(heading) {
            found.push(format!("no error has the code {code} and the status {status}"));
        }
        if !seen.insert(heading) {
            found.push(format!("{code} has two headings"));
        }
    }
    for error in errors {
        let (status, code) = error;
        if !seen.contains(error) {
            found.push(format!("{code} is missing below the heading of {status}"));
        }
        let anchor = code.to_lowercase();
        if !page.contains(&format!("| [`{code}`](#{anchor}) | {status} |")) {
            found.push(format!("the table of all codes has no row for {code} and {status}"));
        }
    }
    found
}

#[test]
fn tidy_every_error_is_documented() {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    assert_none(&mistakes(&page, &every_error()), "docs/errors.md has every code with its status");
}

#[test]
fn tidy_errors_that_are_missing_or_made_up_are_found() {
    let errors: BTreeSet<_> = [(400, "one".to_owned()), (409, "two".to_owned())].into();
    let table = "| [`one`](#one) | 400 |\n| [`two`](#two) | 409 |\n";
    let check = |sections: &str| mistakes(&format!("{table}{sections}"), &errors);
    assert!(check("## 400\n### one\n## 409 Conflict\n### two\n## More\n### three\n").is_empty());
    assert_eq!(check("## 400\n### one\n").len(), 1, "one is missing");
    assert_eq!(check("## 400\n### one\n### two\n").len(), 2, "one has another status");
    assert_eq!(check("## 400\n### one\n## 409\n### two\n### three\n").len(), 1, "one is made up");
    assert_eq!(check("## 400\n### one\n## 409\n### two\n### two\n").len(), 1, "one is there twice");
    let sections = "## 400\n### one\n## 409\n### two\n";
    assert_eq!(mistakes(sections, &errors).len(), 2, "there is no table");
}
