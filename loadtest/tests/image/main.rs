//! The container image as a cluster gets it: built twice from the same binaries, unpacked, and its programs run by a real
//! container runtime with the rights that the chart gives them. `make test-image` builds the binaries and runs this; it needs
//! root, runc, and the folder of the binaries in `NEARSIDE_IMAGE_BINARIES`.

#![allow(clippy::unwrap_used)]

mod archive;
mod container;

use archive::Image;
use container::{Container, Rights};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Builds the image of the binaries that were made for it.
fn build(folder: &Path) -> Image {
    let binaries = std::env::var("NEARSIDE_IMAGE_BINARIES").expect("make test-image sets NEARSIDE_IMAGE_BINARIES");
    let output =
        Command::new(root().join("scripts/image")).arg(binaries).arg(folder).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Image::read(folder)
}

#[test]
fn the_same_binaries_give_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let built = ["one", "two"].map(|name| folder.path().join(name));
    let digests = [&built[0], &built[1]].map(|path| build(path).digest);
    assert_eq!(digests[0], digests[1]);
    let archives = [&built[0], &built[1]].map(|path| std::fs::read(path.join("nearside.tar")).unwrap());
    assert!(archives[0] == archives[1], "the archives differ");
}

#[test]
fn the_image_says_what_it_is_and_what_is_in_it() {
    let folder = TempDir::new().unwrap();
    let image = build(&folder.path().join("image"));
    assert_eq!(image.config["config"]["User"], "65532:65532");
    let labels = &image.config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    let rootfs = folder.path().join("rootfs");
    image.unpack(&rootfs);
    let bill = std::fs::read(rootfs.join("usr/share/doc/nearside/sbom.cdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    let components = bill["components"].as_array().unwrap();
    for name in ["nearside-proxy", "nearside-dns-sync", "pingora-core", "rustls", "kube-client", "glibc", "rust"] {
        assert!(components.iter().any(|component| component["name"] == name), "{name} is not in the bill of materials");
    }
    for component in components {
        let licence = component.pointer("/licenses/0/expression").and_then(Value::as_str);
        assert!(licence.is_some_and(|licence| !licence.is_empty()), "{} has no licence", component["bom-ref"]);
        assert!(component["version"].as_str().is_some_and(|version| version != "unknown"), "{}", component["bom-ref"]);
    }
    // Those of tests and builds alone are not shipped.
    for name in ["proptest", "nearside-loadtest", "cmake", "syn"] {
        assert!(components.iter().all(|component| component["name"] != name), "{name} is in the bill of materials");
    }
}

#[test]
fn every_program_explains_itself_from_the_image_alone() {
    let folder = TempDir::new().unwrap();
    build(&folder.path().join("image")).unpack(&folder.path().join("rootfs"));
    for (program, arguments) in [
        ("nearside-proxy", vec!["--help"]),
        ("nearside-controller", vec!["--help"]),
        ("nearside-dns-sync", vec!["serve", "--help"]),
    ] {
        let container = Container::new(folder.path(), program, &arguments, Rights::of(program), &[], &[]);
        let (code, said) = container.run();
        assert!(code == Some(0) && said.contains("--admin-listen"), "{program}: {said}");
    }
}

#[test]
fn the_proxy_serves_the_ports_of_a_node_as_a_user_that_is_not_root() {
    let folder = TempDir::new().unwrap();
    build(&folder.path().join("image")).unpack(&folder.path().join("rootfs"));
    let objects = folder.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::write(objects.join("objects.yaml"), OBJECTS).unwrap();
    let flags = [
        "--node-name=n1",
        "--manifests=/objects",
        "--allow-endpoints=127.0.0.0/8",
        "--admin-socket=/run/nearside/admin.sock",
        "--otlp-endpoint=https://localhost:4318",
    ];
    let mounts = [(objects.as_path(), "/objects")];
    let mut proxy = Container::new(folder.path(), "nearside-proxy", &flags, Rights::of("nearside-proxy"), &mounts, &[]);
    proxy.start();
    let _pod = proxy.beside(Command::new("python3").args(["-m", "http.server", "--bind", "127.0.0.1", "8099"]));
    let ask = |url: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--insecure",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            "--max-time",
            "5",
        ]);
        let output = proxy
            .beside(curl.args([
                "--resolve",
                "web.example.com:80:127.0.0.1",
                "--resolve",
                "web.example.com:443:127.0.0.1",
                url,
            ]))
            .output();
        String::from_utf8(output.stdout).unwrap()
    };
    eventually(&proxy, "a pod answers through port 80", || ask("http://web.example.com/") == "200");
    assert_eq!(ask("https://web.example.com/"), "200", "a pod answers through port 443");
    let (code, said) =
        proxy.inside(&["/usr/local/bin/nearside-proxy", "--probe=ready", "--admin-socket=/run/nearside/admin.sock"]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "a probe");
    let status = proxy.status();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:").split_whitespace().next(), Some("65532"));
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(field(set), "0000000000000400", "{set} is NET_BIND_SERVICE and nothing else");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
}

#[test]
fn without_the_right_to_open_low_ports_the_proxy_does_not_start() {
    let folder = TempDir::new().unwrap();
    build(&folder.path().join("image")).unpack(&folder.path().join("rootfs"));
    let (code, said) = Container::new(folder.path(), "nearside-proxy", &["--help"], Rights::None, &[], &[]).run();
    assert!(code != Some(0) && said.contains("operation not permitted"), "the runtime says so at once: {said}");
}

#[test]
fn names_are_found_by_files_and_by_dns() {
    let folder = TempDir::new().unwrap();
    build(&folder.path().join("image")).unpack(&folder.path().join("rootfs"));
    let objects = folder.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::write(objects.join("records.yaml"), RECORDS).unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let serve = ["serve", "--manifests=/objects", "--zone=apps.example.com", "--listen=127.0.0.1:53"];
    let mounts = [(objects.as_path(), "/objects")];
    let mut names = Container::new(folder.path(), "nearside-dns-sync", &serve, Rights::LowPorts, &mounts, &[]);
    names.start();
    let resolver = write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:20\n".into());
    let hosts = write("hosts", "127.0.0.1 api.files.example.org\n".into());
    for host in ["api.files.example.org", "api.apps.example.com"] {
        let kubeconfig = write(&format!("{host}.yaml"), kubeconfig(host));
        let mounts = [
            (resolver.as_path(), "/etc/resolv.conf"),
            (hosts.as_path(), "/etc/hosts"),
            (kubeconfig.as_path(), "/kubeconfig"),
        ];
        let mut controller = Container::new(
            folder.path(),
            "nearside-controller",
            &[],
            Rights::None,
            &mounts,
            &["KUBECONFIG=/kubeconfig"],
        );
        controller.join(&names);
        controller.start();
        // Nothing listens there: that it is refused shows that the name was found.
        eventually(&controller, host, || controller.log().to_lowercase().contains("connection refused"));
    }
}

/// Waits for what must come; shows the container's log where it does not.
fn eventually(container: &Container, what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < deadline, "never happened: {what}\n{}", container.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn kubeconfig(host: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("https://{host}:6443"), "insecure-skip-tls-verify": true}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

const OBJECTS: &str = r#"
apiVersion: route.openshift.io/v1
kind: Route
metadata: {name: web, namespace: shop}
spec: {host: web.example.com, to: {kind: Service, name: web}, tls: {termination: edge, insecureEdgeTerminationPolicy: Allow}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8099}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i}]}
status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}], conditions: [{type: Ready, status: "True"}]}
"#;

const RECORDS: &str = r#"
apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: {name: api, namespace: nearside}
spec: {endpoints: [{dnsName: api.apps.example.com, recordType: A, recordTTL: 30, targets: [127.0.0.1]}]}
"#;
