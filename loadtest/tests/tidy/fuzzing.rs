//! Rules for the fuzz targets: each has a body in a table of its crate, a program, and a corpus; and what is fuzzed are the versions of
//! libraries that the programs have.

use crate::tree;
use std::collections::{BTreeMap, BTreeSet};

/// The tables of targets.
const TABLES: [&str; 4] =
    ["dns-sync/src/fuzzing.rs", "proxy/src/fuzzing.rs", "routing/src/fuzzing.rs", "watch/src/fuzzing.rs"];

#[test]
fn every_fuzz_target_has_a_body_a_program_and_a_corpus() {
    let files = tree::files();
    let below = |folder: &str| {
        let names = files.iter().filter_map(|path| path.strip_prefix(folder)?.split(['/', '.']).next());
        names.map(ToOwned::to_owned).collect::<BTreeSet<String>>()
    };
    let bodies: BTreeSet<String> = TABLES.iter().flat_map(|table| targets(&tree::text(table).unwrap())).collect();
    assert!(bodies.len() > 20, "the tables were not found");
    let manifest = tree::text("fuzz/Cargo.toml").unwrap();
    let bins = manifest.split("[[bin]]").skip(1).filter_map(|part| part.split('"').nth(1));
    assert_eq!(bins.map(ToOwned::to_owned).collect::<BTreeSet<_>>(), bodies, "fuzz/Cargo.toml");
    assert_eq!(below("fuzz/fuzz_targets/"), bodies, "fuzz/fuzz_targets");
    assert_eq!(below("fuzz/corpus/"), bodies, "fuzz/corpus");
    for name in &bodies {
        let program = tree::text(&format!("fuzz/fuzz_targets/{name}.rs")).unwrap();
        assert!(
            program.contains(&format!("::fuzzing::{name}(bytes)")),
            "fuzz/fuzz_targets/{name}.rs runs another body"
        );
    }
}

#[test]
fn what_is_fuzzed_is_what_the_programs_have() {
    let locked = |path: &str| -> BTreeMap<String, BTreeSet<String>> {
        let lock = tree::text(path).unwrap();
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in lock.split("[[package]]").skip(1) {
            let field = |name: &str| package.split(&format!("\n{name} = \"")).nth(1)?.split('"').next();
            if let (Some(name), Some(version)) = (field("name"), field("version")) {
                all.entry(name.to_owned()).or_default().insert(version.to_owned());
            }
        }
        all
    };
    let (programs, fuzzed) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    assert!(
        fuzzed.contains_key("pingora-core") && fuzzed.contains_key("hickory-proto"),
        "fuzz/Cargo.lock was not read"
    );
    for (name, versions) in &fuzzed {
        if let Some(shipped) = programs.get(name) {
            assert!(versions.is_subset(shipped), "{name}: {versions:?} is fuzzed and {shipped:?} is in Cargo.lock");
        }
    }
}

/// The names in a table.
fn targets(source: &str) -> Vec<String> {
    let table = source.split("TARGETS").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
    table.split("(\"").skip(1).filter_map(|entry| entry.split('"').next()).map(ToOwned::to_owned).collect()
}
