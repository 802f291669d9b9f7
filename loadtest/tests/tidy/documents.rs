//! Rules for documents: a path that is named exists, a flag of a program is described, and a flag that is described exists.

use crate::tree;
use nearside_loadtest::programs;
use std::collections::BTreeSet;
use std::process::Command;

/// The programs with the subcommands whose `--help` lists flags.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("nearside-proxy", &[]),
    ("nearside-controller", &[]),
    ("nearside-dns-sync", &["serve"]),
    ("nearside-loadtest", &["demo"]),
];

#[test]
fn every_path_that_a_document_names_exists() {
    let files: BTreeSet<String> = tree::files().into_iter().collect();
    let documents = files.iter().filter(|path| path.ends_with(".md") && *path != "CHANGELOG.md");
    for document in documents {
        for word in backticked(&tree::text(document).unwrap()) {
            let first = word.split('/').next().unwrap_or_default();
            let ours = word.contains('/') && tree::root().join(first).is_dir() && !first.is_empty();
            let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            if ours && plain {
                assert!(tree::root().join(&word).exists(), "{document} names {word}, which does not exist");
            }
        }
    }
}

#[test]
fn flags_and_their_description_agree() {
    let document = tree::text("docs/command-lines.md").unwrap();
    for (program, subcommand) in PROGRAMS {
        let help = Command::new(programs::binary(program).unwrap()).args(subcommand).arg("--help").output().unwrap();
        assert!(help.status.success(), "{program} --help");
        let real = flags(&String::from_utf8(help.stdout).unwrap(), |line| line.trim_start().starts_with('-'));
        let part = document.split("\n## ").find(|part| part.starts_with(&format!("`{program}")));
        let described = flags(part.unwrap_or_default(), |line| line.starts_with("| `--"));
        let missing: Vec<_> = real.difference(&described).collect();
        let invented: Vec<_> = described.difference(&real).collect();
        assert!(missing.is_empty(), "docs/command-lines.md does not describe {missing:?} of {program}");
        assert!(invented.is_empty(), "docs/command-lines.md describes {invented:?}, which {program} does not have");
    }
}

#[test]
fn metrics_and_reasons_and_their_description_agree() {
    let document = tree::text("docs/operations.md").unwrap();
    let described: BTreeSet<String> = backticked(&document).into_iter().filter(|w| w.starts_with(METRICS)).collect();
    let programs = tree::sources().into_iter().filter(|(path, _)| !path.starts_with("loadtest/"));
    let sources: Vec<(String, String)> = programs.filter(|(path, _)| path.contains("/src/")).collect();
    let registered: BTreeSet<String> = sources
        .iter()
        .flat_map(|(_, text)| text.split('"').skip(1).step_by(2))
        .filter(|word| word.starts_with(METRICS) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .filter(|word| !["nearside_test_total", "nearside_proxy", "nearside_controller"].contains(word))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(described, registered, "docs/operations.md and the metrics of the programs");
    let verdicts = tree::text("routing/src/verdict.rs").unwrap();
    let reasons: BTreeSet<&str> = verdicts.split("=> \"").skip(1).filter_map(|part| part.split('"').next()).collect();
    assert!(reasons.len() > 8, "the reasons were not found");
    for reason in reasons {
        assert!(document.contains(&format!("| `{reason}` |")), "docs/operations.md does not explain {reason}");
    }
}

const METRICS: &str = "nearside_";

/// The long flags at the start of the lines that count, `--help` and `--version` aside.
fn flags(text: &str, counts: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| counts(line));
    let words = lines.filter_map(|line| line.split([' ', '`', ',', '|']).find(|word| word.starts_with("--")));
    let names = words.map(|word| word.split(['=', '[']).next().unwrap_or_default().to_owned());
    names.filter(|name| !["--help", "--version"].contains(&name.as_str())).collect()
}

fn backticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).filter(|word| !word.contains('\n')).map(ToOwned::to_owned).collect()
}
