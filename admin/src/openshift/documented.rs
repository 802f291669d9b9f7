//! docs/openshift-environment.md is the table in words; this test says how each row must look.

use super::settings::{Meaning, SETTINGS, Setting};

#[test]
fn the_document_has_a_row_for_each_variable() {
    let document = include_str!("../../../docs/openshift-environment.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = SETTINGS.iter().map(row).collect();
    let missing: Vec<&String> = expected.iter().filter(|row| !rows.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "docs/openshift-environment.md lacks:\n{missing:#?}");
    assert_eq!(rows, expected, "docs/openshift-environment.md has other rows, or another order");
}

#[test]
fn no_variable_has_two_meanings() {
    let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.variable).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}

fn row(setting: &Setting) -> String {
    let (meaning, program) = match setting.meaning {
        Meaning::Flag(flag, program, _) => (format!("`--{flag}`"), program.name()),
        Meaning::Together(flags, program) => {
            let flags: Vec<String> = flags.iter().map(|flag| format!("`--{flag}`")).collect();
            (flags.join(", "), program.name())
        }
        Meaning::Ignored(reason) => (format!("ignored: {reason}"), ""),
    };
    let guards = if setting.guards { ", guards" } else { "" };
    format!("| `{}` | {meaning}{guards} | {program} |", setting.variable)
}
