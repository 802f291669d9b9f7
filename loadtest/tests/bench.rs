//! The benchmarks at a size at which nothing is measured: they must run to their ends, so that they cannot rot.

#![allow(clippy::unwrap_used)]

use nearside_loadtest::programs;
use serde_json::Value;
use std::process::Command;

/// Runs a benchmark and gives its figures.
fn figures_of(name: &str, size: &[&str]) -> Value {
    let report = tempfile::tempdir().unwrap();
    let bench = Command::new(programs::binary("nearside-loadtest").unwrap())
        .args(["bench", name])
        .args(size)
        .arg("--report")
        .arg(report.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&bench.stdout);
    assert!(bench.status.success(), "{shown}\n{}", String::from_utf8_lossy(&bench.stderr));
    // The largest benchmark names its files after what they are.
    let file = if name == "proxy" { "report" } else { name };
    assert!(report.path().join(format!("{file}.md")).exists());
    serde_json::from_slice(&std::fs::read(report.path().join(format!("{file}.json"))).unwrap()).unwrap()
}

#[test]
fn the_benchmark_of_scale_runs_to_its_end() {
    let size =
        ["--nodes", "10", "--pods", "200", "--services", "40", "--routes", "80", "--events", "8", "--rate", "20"];
    let figures = figures_of("scale", &size);
    for section in ["start", "event", "latency", "flood", "growth"] {
        let all = figures["figures"].as_array().unwrap();
        assert!(all.iter().any(|figure| figure["section"] == section), "no figures of {section}");
    }
}

#[test]
fn the_benchmark_of_dns_runs_to_its_end() {
    let size =
        ["--hosts", "20", "--rounds", "1", "--seconds", "1", "--rate", "200", "--changes", "1,5", "--samples", "2"];
    let figures = figures_of("dns", &size);
    let servers = |section: &str| -> Vec<String> {
        figures[section].as_array().unwrap().iter().map(|row| row["server"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(servers("throughput"), ["embedded", "Knot", "BIND", "embedded", "Knot", "BIND"]);
    assert!(servers("latency").contains(&"embedded".to_owned()));
}

#[test]
fn the_benchmark_of_the_proxy_runs_to_its_end() {
    let size = [
        "--quick",
        "--rounds",
        "1",
        "--window",
        "50",
        "--bytes",
        "100000",
        "--concurrency",
        "2",
        "--rate",
        "100",
        "--idle",
        "5",
        "--stalled",
        "2",
        "--routes",
        "5",
        "--hosts",
        "20",
        "--changes",
        "50",
    ];
    let figures = figures_of("proxy", &size);
    let of_nearside = figures["figures"].as_array().unwrap().iter().filter(|figure| figure["proxy"] == "Nearside");
    let groups: Vec<&str> = of_nearside.map(|figure| figure["group"].as_str().unwrap()).collect();
    for group in ["downloads", "answers", "connections", "memory", "tables"] {
        assert!(groups.contains(&group), "no figures of {group}");
    }
}

#[test]
fn upgrades_by_handover_fail_no_request() {
    let size = ["--upgrades", "3", "--shared", "1", "--crashes", "1", "--rate", "100", "--clients", "2"];
    let figures = figures_of("upgrades", &size);
    let phases = figures["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(names, ["handover", "shared ports", "crashes"]);
    assert_eq!(phases[0]["failed"], 0, "{phases:?}");
    for clients in phases[0]["clients"].as_array().unwrap() {
        assert!(clients["counts"]["done"].as_u64() > Some(0), "{clients}");
    }
    assert_eq!(figures["listening_ms"].as_array().unwrap().len(), 1);
}
