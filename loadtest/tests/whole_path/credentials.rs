//! What is wrong with the way to the API server is said in one line that tells what to look at: a kubeconfig that cannot be used ends a
//! program, anything that may heal is waited for.

use crate::stage::{PATIENCE, Source, Stage};
use nearside_loadtest::programs::{Launch, Program};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The three programs with what they need besides a cluster.
fn programs(stage: &Stage) -> Vec<(&'static str, Vec<String>)> {
    let dns = format!("--listen={}:5399", stage.network.control().address());
    let mut proxy = stage.proxy_arguments("n1");
    proxy.push(format!("--admin-listen={}:9970", stage.address("n1")));
    let admin = |port: u16| format!("--admin-listen={}:{port}", stage.network.control().address());
    vec![
        ("nearside-proxy", proxy),
        ("nearside-controller", vec!["--namespace=nearside".to_owned(), admin(9971)]),
        ("nearside-dns-sync", vec!["serve".to_owned(), "--zone=apps.example.com".to_owned(), dns, admin(9972)]),
    ]
}

fn start(stage: &Stage, binary: &str, arguments: &[String], name: &str, environment: &[(&str, &str)]) -> Program {
    let place = match binary {
        "nearside-proxy" => stage.network.nodes()[0].place().clone(),
        _ => stage.network.control().clone(),
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut launch = Launch::new(binary, name, &place, &arguments).unwrap();
    for (key, value) in environment {
        launch = launch.env(key, value);
    }
    launch.start(stage.directory.path()).unwrap()
}

fn write(stage: &Stage, name: &str, text: &str) -> String {
    let path = stage.directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeconfig_that_cannot_be_used_ends_a_program_with_one_line_that_names_it() {
    let stage = Stage::lay(Source::Api, 1).await;
    let context = "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n";
    let cases = [
        ("/nowhere/kubeconfig".to_owned(), "/nowhere/kubeconfig"),
        (write(&stage, "broken", "clusters: [}"), "broken"),
        (write(&stage, "context", context), "context"),
        (String::new(), "KUBECONFIG"),
    ];
    for (number, (path, part)) in cases.iter().enumerate() {
        for (binary, arguments) in programs(&stage) {
            let environment = [("KUBECONFIG", path.as_str()), ("HOME", "/nowhere")];
            let mut program = start(&stage, binary, &arguments, &format!("{binary}-{number}"), &environment);
            let log = program.log().to_owned();
            let status = program.ended(PATIENCE).await.unwrap();
            let text = fs::read_to_string(log).unwrap();
            let told: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
            assert_eq!((status.code(), told.len(), text.lines().count()), (Some(1), 1, 1), "{binary} {path}: {text}");
            assert!(told[0].contains(part), "{binary} {path}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_heal_is_waited_for_and_told_once_in_words_that_help() {
    let stage = Stage::lay(Source::Api, 1).await;
    let own = fs::read_to_string(stage.directory.path().join("nearside-dns-sync.kubeconfig")).unwrap();
    let mut config: Value = serde_json::from_str(&own).unwrap();
    let permitted = write(&stage, "of-another-account", &config.to_string());
    config["users"][0]["user"]["token"] = "that has expired".into();
    let expired = write(&stage, "expired", &config.to_string());
    config["clusters"][0]["cluster"]["server"] = format!("http://{}:1", stage.network.control().address()).into();
    let unreachable = write(&stage, "unreachable", &config.to_string());
    let account = ["system:serviceaccount:", "cannot watch resource", "check the ClusterRole"];
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        ("expired", &expired, "Unauthorized", &["does not accept our credentials: 401", "token", "expired"]),
        ("unreachable", &unreachable, "Unreachable", &["the API server cannot be reached"]),
        ("permission", &permitted, "Forbidden", &account),
    ];
    for (name, path, reason, parts) in cases {
        for (binary, arguments) in programs(&stage) {
            if name == "permission" && binary == "nearside-dns-sync" {
                continue;
            }
            let program = start(&stage, binary, &arguments, &format!("{binary}-{name}"), &[("KUBECONFIG", path)]);
            let log = program.log().to_owned();
            let look = async || lines(&log, parts);
            let told = stage.until(&format!("{binary} tells of {name}"), look, |lines| !lines.is_empty()).await;
            if name == "permission" {
                let verb = ["no permission to watch ", "no permission to list "];
                assert!(told.iter().any(|line| verb.iter().any(|verb| line.contains(verb))), "{told:?}");
            } else {
                let kinds: std::collections::BTreeSet<&String> = told.iter().collect();
                assert!(kinds.len() == told.len(), "repeated: {told:?}");
            }
            let place =
                if binary == "nearside-proxy" { stage.address("n1") } else { stage.network.control().address() };
            let port = arguments.iter().find_map(|argument| argument.strip_prefix("--admin-listen=")).unwrap();
            assert!(port.starts_with(&place.to_string()));
            let page = async || {
                let page = nearside_loadtest::programs::get(stage.network.control(), port.parse().unwrap(), "/sources");
                page.await.map(|(_, page)| page).unwrap_or_default()
            };
            stage.until(&format!("/sources of {binary} says {reason}"), page, |page| page.contains(reason)).await;
            program.kill().await;
        }
    }
}

fn lines(log: &Path, parts: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned).collect()
}
