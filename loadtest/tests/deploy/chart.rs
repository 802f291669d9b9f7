//! The chart: it renders to the manifests that are kept, whatever values are given it renders to something sound, and values
//! that mean nothing are refused.

use crate::objects::{Objects, kustomized, rendered, template};
use crate::tools::{ok, refused, root, script, tool};
use serde_json::Value;

/// Each overlay with the values that give the same.
const OVERLAYS: [&str; 3] = ["openshift", "monitoring", "external-dns"];

#[test]
fn the_manifests_are_what_the_chart_renders() {
    ok(script("render").arg("--check"));
    assert_same("manifests", &kustomized("manifests"), &rendered(&["deploy/render/manifests.yaml"]));
}

#[test]
fn every_overlay_is_what_the_chart_renders_with_its_values() {
    for overlay in OVERLAYS {
        let values = format!("deploy/render/{overlay}.yaml");
        assert_same(overlay, &kustomized(overlay), &rendered(&["deploy/render/manifests.yaml", &values]));
    }
}

fn assert_same(overlay: &str, kustomized: &Objects, rendered: &Objects) {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(kustomized), names(rendered), "the objects of deploy/{overlay}");
    for (name, object) in kustomized {
        assert_eq!(object, &rendered[name], "{name} of deploy/{overlay}");
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for values in values() {
        let mut lint = tool("helm");
        lint.args(["lint", "--strict", "deploy/chart"]);
        if let Some(values) = &values {
            lint.args(["--values", values]);
        }
        let said = ok(&mut lint);
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
    }
}

#[test]
fn the_chart_has_the_version_of_the_programs() {
    let text = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let workspace = text("Cargo.toml");
    let version = workspace.split("version = \"").nth(1).unwrap().split('"').next().unwrap();
    let chart: Value = serde_saphyr::from_str(&text("deploy/chart/Chart.yaml")).unwrap();
    assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(version), Some(version)));
}

#[test]
fn options_become_arguments_and_variables() {
    let objects = rendered(&["loadtest/tests/deploy/values/openshift-router.yaml"]);
    let proxy = &objects["DaemonSet nearside/nearside-proxy"]["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<&str> = proxy["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for wanted in [
        "--max-connections=2000000",
        "--trace-sampling=0.25",
        "--denied-domains=x.example.com",
        "--hostname-template=${name}-${namespace}.apps.example.com",
        r#"--access-log-format=%ci:%cp [%tr] "%r" %ST"#,
        "--tls-min-version=1.3",
        "--default-key=/etc/nearside/default-certificate/tls.key",
        "--error-page=503=/etc/nearside/pages/error-page-503.http",
        "--http-listen=[::]:8080",
    ] {
        assert!(arguments.contains(&wanted), "{wanted} is not in {arguments:#?}");
    }
    let variable = |name: &str| {
        let variables = proxy["env"].as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    assert_eq!(variable("NEARSIDE_EXTENDED_VALIDATION"), Some("false".into()));
    assert_eq!(variable("NEARSIDE_COMPRESSION"), Some("true".into()));
    let controller = &objects["Deployment nearside/nearside-controller"]["spec"]["template"]["spec"]["containers"][0];
    let shared = controller["args"].as_array().unwrap();
    assert!(shared.contains(&"--namespace-labels=tenant in (a,b)".into()), "{shared:#?}");
    assert!(!shared.iter().any(|argument| argument.as_str().unwrap().starts_with("--threads")), "{shared:#?}");
}

#[test]
fn what_the_chart_passes_is_taken_by_the_programs() {
    for values in values() {
        let objects = rendered(&values.iter().map(String::as_str).collect::<Vec<_>>());
        for object in objects.values().filter(|object| object.pointer("/spec/template").is_some()) {
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            let program = container["command"][0].as_str().unwrap().rsplit('/').next().unwrap();
            let mut command = std::process::Command::new(nearside_loadtest::programs::binary(program).unwrap());
            command.env_clear();
            let arguments = container["args"].as_array().unwrap().iter().filter_map(Value::as_str);
            // Files of Secrets and ConfigMaps are not on this machine; one value that means nothing keeps it from starting.
            let elsewhere = |argument: &&str| {
                argument.contains("=/") || argument.contains("503=") || argument.contains("client-tls=")
            };
            command.args(arguments.filter(|argument| !elsewhere(argument)));
            command.arg("--admin-tls-min-version=0");
            let file = tempfile::NamedTempFile::new().unwrap();
            for variable in container["env"].as_array().unwrap() {
                let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap_or("n1"));
                if name == "NEARSIDE_CONFIG" {
                    // Mounted from a ConfigMap of the chart.
                    let publication = objects["ConfigMap nearside/nearside-publish"]["data"]["publish.yaml"].as_str();
                    std::fs::write(file.path(), publication.unwrap()).unwrap();
                    command.env(name, file.path());
                } else {
                    command.env(name, value);
                }
            }
            let said = refused(&mut command);
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            assert!(
                lines.len() == 1 && said.contains("--admin-tls-min-version: \"0\""),
                "{program} with {values:?}: {said}"
            );
        }
    }
}

#[test]
fn a_release_of_another_name_shares_nothing_with_the_first() {
    let mut second = template(&["loadtest/tests/deploy/values/two-of-them.yaml"]);
    let second = crate::objects::parse(&ok(&mut second));
    let first = rendered(&[]);
    let both: Vec<_> = first.keys().filter(|name| second.contains_key(*name)).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (value, complaint) in [
        ("zone=apps.example.com", "zone"),
        ("proxy.options.read-timeuot=5s", "read-timeuot"),
        ("proxy.options.record-ttl=5", "record-ttl"),
        ("serving.threads=4", "threads"),
        ("proxy.options.compression=gzip", "compression"),
        ("dns.mode=route53", "mode"),
        ("zones={}", "zones"),
        ("zones={Apps_Example}", "zones"),
        ("image.digest=sha256:12", "digest"),
        ("proxy.maxSurge=many", "maxSurge"),
        ("controller.replicas=0", "replicas"),
        ("logFormat=xml", "logFormat"),
        ("proxy.httpListen={80}", "httpListen"),
        ("proxy.files[0].flag=default-cert,proxy.files[0].key=tls.crt", "files"),
    ] {
        let complaint_made = refused(template(&[]).args(["--set", value]));
        assert!(complaint_made.contains(complaint), "{value}: {complaint_made}");
    }
}

/// The defaults, and each file of unusual values.
pub(crate) fn values() -> Vec<Option<String>> {
    let folder = "loadtest/tests/deploy/values";
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let named = names.into_iter().map(|name| Some(format!("{folder}/{name}")));
    let values: Vec<_> = std::iter::once(None).chain(named).collect();
    assert!(values.len() > 3, "the unusual values were not found");
    values
}
