//! Rules for docs/compatibility.md: every row says what holds, and a row that claims something names a test that exists. And for the
//! tables about name servers in docs/testing.md: every row names tests that exist. And for docs/reliability.md: every row says what holds,
//! and one that says that something does names a test that exists. So do those of the threat model in SECURITY.md.

use crate::tree;
use std::collections::BTreeMap;

const DOCUMENT: &str = "docs/compatibility.md";

#[test]
fn every_row_of_the_compatibility_says_what_holds_and_which_test_holds_it() {
    let sources: BTreeMap<String, String> = tree::sources().into_iter().collect();
    let rows = rows(&tree::text(DOCUMENT).unwrap());
    assert!(rows.len() > 100, "the rows were not found");
    let mistakes: Vec<String> = rows.iter().flat_map(|row| mistakes(row, &sources)).collect();
    assert!(mistakes.is_empty(), "{DOCUMENT}:\n{}", mistakes.join("\n"));
}

#[test]
fn every_row_about_name_servers_names_the_tests_that_hold_it() {
    let sources: BTreeMap<String, String> = tree::sources().into_iter().collect();
    let document = tree::text("docs/testing.md").unwrap();
    let part = document.split("\n## ").find(|part| part.starts_with("Real name servers")).unwrap_or_default();
    let rows = rows(part);
    assert!(rows.len() > 20, "the rows were not found");
    for row in &rows {
        let tests: Vec<&str> = row.cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "docs/testing.md: {:?} names no test", row.cells[0]);
        for test in tests {
            assert!(exists(test, &sources), "docs/testing.md: {test}, of {:?}, is no test", row.cells[0]);
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let sources: BTreeMap<String, String> = tree::sources().into_iter().collect();
    let document = tree::text("SECURITY.md").unwrap();
    let words = document.split('`').skip(1).step_by(2);
    let named: Vec<&str> = words.filter(|word| word.contains(".rs::")).collect();
    assert!(named.len() > 10, "the tests were not found");
    for test in named {
        assert!(exists(test, &sources), "SECURITY.md: {test} is no test");
    }
}

#[test]
fn every_row_of_the_failures_says_what_holds_and_which_tests_hold_it() {
    let sources: BTreeMap<String, String> = tree::sources().into_iter().collect();
    let rows = rows(&tree::text("docs/reliability.md").unwrap());
    let mut numbers = Vec::new();
    for row in rows.iter().filter(|row| row.cells[0] != "row") {
        let [number, _, _, result, tests] = row.cells.as_slice() else { panic!("docs/reliability.md:{}", row.line) };
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let held = ["held", "partly: ", "measured"].iter().any(|word| result.starts_with(word));
        let reason = ["not staged: ", "not built: "].iter().any(|word| result.starts_with(word));
        assert!(held || reason, "row {number}: {result:?} says neither what holds nor why not");
        assert!(reason || !tests.is_empty(), "row {number} claims something and names no test");
        for test in tests {
            assert!(exists(test, &sources), "row {number}: {test} is no test");
        }
        numbers.push(number.parse::<usize>().unwrap());
    }
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>(), "every row of the matrix");
}

/// A row of a table: the number of its line, and its cells.
struct Row {
    line: usize,
    cells: Vec<String>,
}

fn rows(document: &str) -> Vec<Row> {
    let lines = document.lines().enumerate().filter(|(_, line)| line.starts_with('|'));
    let rows = lines.map(|(number, line)| Row { line: number + 1, cells: cells(line) });
    rows.filter(|row| row.cells.first().is_none_or(|cell| cell != "rule" && !cell.starts_with("---"))).collect()
}

/// The cells of a line; a bar behind a backslash belongs to its cell.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\u{0}");
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

fn mistakes(row: &Row, sources: &BTreeMap<String, String>) -> Vec<String> {
    let at = |message: String| format!("line {}: {message}", row.line);
    let [rule, verdict, tests] = row.cells.as_slice() else {
        return vec![at(format!("has {} cells, not three", row.cells.len()))];
    };
    let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
    let mut found = Vec::new();
    if rule.is_empty() {
        found.push(at("names no rule".into()));
    }
    let claims =
        verdict == "same" || ["same ", "same:", "same,", "same;", "better: "].iter().any(|w| verdict.starts_with(w));
    let reason = verdict.strip_prefix("not offered: ").is_some_and(|reason| reason.len() > 10);
    if !claims && !reason {
        found.push(at(format!("{verdict:?} is none of same, better: how, not offered: why")));
    }
    if claims && tests.is_empty() {
        found.push(at(format!("{rule:?} claims something and names no test")));
    }
    found.extend(tests.iter().filter(|test| !exists(test, sources)).map(|test| at(format!("{test} is no test"))));
    found
}

/// Whether a file whose path ends so holds a test of that name, or the tests beside it that outgrew it.
fn exists(test: &str, sources: &BTreeMap<String, String>) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let ends = [format!("/{stem}.rs"), format!("/{stem}/tests.rs")];
    let declared = format!("fn {name}(");
    let files = sources.iter().filter(|(path, _)| ends.iter().any(|end| format!("/{path}").ends_with(end)));
    files.into_iter().any(|(_, text)| {
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().enumerate().any(|(number, line)| {
            let before = &lines[number.saturating_sub(ATTRIBUTES)..number];
            line.contains(&declared) && before.iter().any(|line| line.contains("#[test]") || line.contains("::test"))
        })
    })
}

/// How many lines above its name a test is marked as one, at most.
const ATTRIBUTES: usize = 4;
