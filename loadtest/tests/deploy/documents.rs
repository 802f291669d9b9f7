//! What is written about the deployment, against the deployment: values, alerts, and the metrics that alerts and dashboard name.

use crate::tools::root;
use serde_json::Value;
use std::collections::BTreeSet;

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_the_programs_have() {
    let documented = text("docs/operations.md");
    for path in ["deploy/chart/files/alerts.yaml", "deploy/chart/files/dashboard.json"] {
        let text = text(path);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("nearside_")).collect();
        assert!(named.len() > 8, "the metrics in {path} were not found");
        for name in named {
            // A histogram is documented by its own name; that all documented ones exist is held elsewhere.
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(documented.contains(&format!("`{base}`")), "{path} names {name}, which no program has");
        }
    }
}

#[test]
fn every_alert_is_explained() {
    let alerts: Value = serde_saphyr::from_str(&text("deploy/chart/files/alerts.yaml")).unwrap();
    let documented = text("docs/operations.md");
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    let mut named = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(documented.contains(&format!("| `{name}` |")), "docs/operations.md does not explain {name}");
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        named.insert(name.to_owned());
    }
    let rows = documented.lines().filter_map(|line| line.strip_prefix("| `Nearside")?.split('`').next());
    let explained: BTreeSet<String> = rows.map(|name| format!("Nearside{name}")).collect();
    assert_eq!(explained, named, "the alerts in docs/operations.md");
}

#[test]
fn every_value_is_explained_and_every_explained_value_exists() {
    let values: Value = serde_saphyr::from_str(&text("deploy/chart/values.yaml")).unwrap();
    let mut real = BTreeSet::new();
    leaves("", &values, &mut real);
    let document = text("docs/deployment.md");
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    let explained: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|word| !word.starts_with(['-', '/']))
        .map(ToOwned::to_owned)
        .collect();
    let missing: Vec<_> = real.iter().filter(|value| !explained.contains(*value)).collect();
    assert!(missing.is_empty(), "docs/deployment.md does not explain {missing:?}");
    let invented: Vec<_> = explained.iter().filter(|value| !real.contains(*value)).collect();
    assert!(invented.is_empty(), "docs/deployment.md explains {invented:?}, which the chart does not have");
}

/// Paths of values that hold something else than values; one that all programs have stands for each of them.
fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else {
        found.insert(path.to_owned());
        return;
    };
    if fields.is_empty() || OPAQUE.iter().any(|end| path.ends_with(end)) {
        found.insert(path.to_owned());
        return;
    }
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        leaves(&path, value, found);
    }
}

/// Values that are handed to Kubernetes as they are.
const OPAQUE: [&str; 3] = ["resources", "nodeSelector", "dashboardLabels"];
