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

/// The commands that have flags of their own beside those of their program.
const COMMANDS: [(&str, &str); 12] = [
    ("nearside-controller", "explain"),
    ("nearside-controller", "check"),
    ("nearside-dns-sync", "publish"),
    ("nearside-dns-sync", "plan"),
    ("nearside-dns-sync", "confirm"),
    ("nearside-dns-sync", "status"),
    ("nearside-loadtest", "api"),
    ("nearside-loadtest", "clean"),
    ("nearside-loadtest", "bench scale"),
    ("nearside-loadtest", "bench dns"),
    ("nearside-loadtest", "bench upgrades"),
    ("nearside-loadtest", "lab dns"),
];

#[test]
fn every_path_that_a_document_names_exists() {
    let files = tree::files();
    let mut checked = 0;
    for document in files.iter().filter(|path| path.ends_with(".md") && *path != "CHANGELOG.md") {
        for word in backticked(&tree::text(document).unwrap()).iter().filter(|word| is_path(word)) {
            assert!(exists(&files, word), "{document} names {word}, which does not exist");
            checked += 1;
        }
    }
    assert!(checked > 10, "the paths in the documents were not found");
}

/// Whether a word in a document stands for a file or a folder of the repository: a relative path of plain characters that
/// ends in `/` or in the extension of a kind of file that is here, or begins with a folder that is.
fn is_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    let name = word.rsplit('/').next().unwrap_or_default();
    let extension =
        name.rsplit_once('.').is_some_and(|(stem, ending)| !stem.is_empty() && EXTENSIONS.contains(&ending));
    let first = word.split_once('/').map(|(first, _)| first).unwrap_or_default();
    let folder = !first.is_empty() && tree::root().join(first).is_dir();
    plain && !word.starts_with('/') && (word.ends_with('/') || extension || folder)
}

/// Whether a path leads to something that is tracked, from the root or from the folder that its document speaks of.
fn exists(files: &[String], word: &str) -> bool {
    let folder = format!("{}/", word.trim_end_matches('/'));
    let below = |path: &str| path.starts_with(&folder) || path.contains(&format!("/{folder}"));
    let same = |path: &str| path == word || path.ends_with(&format!("/{word}"));
    files.iter().any(|path| below(path) || same(path))
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
fn flags_of_commands_and_their_description_agree() {
    let document = tree::text("docs/command-lines.md").unwrap();
    let table = |title: &str| {
        let part = document.split("\n## ").find(|part| part.starts_with(&format!("`{title}`"))).unwrap_or_default();
        flags(part, |line| line.starts_with("| `--"))
    };
    for (program, command) in COMMANDS {
        let help =
            Command::new(programs::binary(program).unwrap()).args(command.split(' ')).arg("--help").output().unwrap();
        assert!(help.status.success(), "{program} {command} --help");
        let real = flags(&String::from_utf8(help.stdout).unwrap(), |line| line.trim_start().starts_with('-'));
        // Flags that a command shares with its program are described there.
        let (own, shared) = (table(&format!("{program} {command}")), table(program));
        let missing: Vec<_> = real.iter().filter(|flag| !own.contains(*flag) && !shared.contains(*flag)).collect();
        let invented: Vec<_> = own.difference(&real).collect();
        assert!(missing.is_empty(), "docs/command-lines.md does not describe {missing:?} of {program} {command}");
        assert!(invented.is_empty(), "docs/command-lines.md describes {invented:?}, which {program} {command} lacks");
    }
}

#[test]
fn manifests_use_flags_that_exist() {
    let document = tree::text("docs/command-lines.md").unwrap();
    let manifests = tree::files().into_iter().filter(|path| path.starts_with("deploy/") && path.ends_with(".yaml"));
    let mut checked = 0;
    for path in manifests {
        let text = tree::text(&path).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split([' ', ',', '"', '[', ']'])).filter(|word| word.starts_with("--"));
        for flag in words.filter(|word| word.len() > 3).map(|word| word.split('=').next().unwrap_or_default()) {
            assert!(document.contains(&format!("| `{flag} ")), "{path} uses {flag}, which no program has");
            checked += 1;
        }
        for variable in text.split([' ', '\n']).filter(|word| word.starts_with("NEARSIDE_")) {
            assert!(document.contains(&format!("| `{variable}` |")), "{path} sets {variable}, which no program reads");
            checked += 1;
        }
    }
    assert!(checked > 3, "the flags in the manifests were not found");
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
        .filter(|word| {
            word.starts_with(METRICS) && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
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

/// Of the files that documents name.
const EXTENSIONS: [&str; 8] = ["lock", "md", "rs", "sh", "toml", "txt", "yaml", "yml"];

/// The long flags at the start of the lines that count, `--help` and `--version` aside.
fn flags(text: &str, counts: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| counts(line));
    let words = lines.filter_map(|line| line.split([' ', '`', ',', '|']).find(|word| word.starts_with("--")));
    let names = words.map(|word| word.split(['=', '[', ';']).next().unwrap_or_default().to_owned());
    names.filter(|name| !["--help", "--version"].contains(&name.as_str())).collect()
}

fn backticked(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).filter(|word| !word.contains('\n')).map(ToOwned::to_owned).collect()
}
