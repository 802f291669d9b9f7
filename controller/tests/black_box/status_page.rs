//! The status page, as a browser shows it: with scripts and without, and whatever objects are called.

use crate::browser::Browser;
use crate::command::Files;
use crate::objects::{addresses, app_pod, cluster, route, service, slice};
use crate::process::{Cluster, Controller};
use nearside_loadtest::api::ObjectRef;
use nearside_loadtest::lab::Place;
use nearside_loadtest::programs::get;
use serde_json::{Value, json};
use tokio::task::block_in_place;

const HOST: &str = "video.example.com";

/// What a row of the table of hosts says of a node, in words.
fn cell(host: &str, column: &str) -> String {
    format!(
        "(() => {{ const table = document.querySelector('#hosts table');
            if (!table) return null;
            const heads = [...table.querySelectorAll('thead th')].map((one) => one.textContent);
            const row = [...table.querySelectorAll('tbody tr')].find((one) => one.cells[0].textContent === '{host}');
            return row ? row.cells[heads.indexOf('{column}')].textContent : null; }})()"
    )
}

async fn one_host() -> (Cluster, Controller, String) {
    let cluster = Cluster::new().await;
    let mut lost = route("other", "late", HOST, "web");
    lost["metadata"]["creationTimestamp"] = "2037-01-01T00:00:00Z".into();
    cluster.seed([service("shop", "web"), slice("shop", "web", &[1]), route("shop", "web", HOST, "web"), lost]);
    let mut controller = cluster.controller("controller").await;
    controller.until("published", addresses(&[1]), || cluster.published(HOST)).await;
    let url = format!("http://{}/", controller.admin().await);
    (cluster, controller, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_can_be_read_without_scripts() {
    let (cluster, mut controller, url) = one_host().await;
    controller.until_metric("nearside_controller_leader", 1.0).await;
    block_in_place(|| {
        let mut browser = Browser::start(false);
        browser.open(&url);
        // Nothing is replaced here, so what is on its way is asked for again.
        let until = |browser: &mut Browser, wanted: &str| {
            for attempt in 0.. {
                if browser.value(&cell(HOST, "DNS")) == wanted {
                    break;
                }
                assert!(attempt < 600, "{wanted}: {}", browser.value("document.body.innerText"));
                std::thread::sleep(std::time::Duration::from_millis(100));
                browser.open(&url);
            }
        };
        until(&mut browser, "published, unconfirmed A 198.18.0.1");
        // As a publisher says that it has taken the records.
        let endpoint = cluster.endpoint(HOST).unwrap();
        let name = endpoint["metadata"]["name"].as_str().unwrap();
        let reference = ObjectRef::new("externaldns.k8s.io/v1alpha1", "DNSEndpoint", "nearside", name);
        let taken = json!({"observedGeneration": endpoint["metadata"]["generation"]});
        cluster.api.set_status(reference, taken).unwrap();
        until(&mut browser, "published A 198.18.0.1");
        assert_eq!(browser.value(&cell(HOST, "n1")), "●clients are sent there");
        assert_eq!(browser.value(&cell(HOST, "n2")), "·holds no pod that counts");
        assert_eq!(browser.value(&cell(HOST, "Owner")), "Route shop");
        let problems = browser.value("document.querySelector('#problems').innerText");
        let problems = problems.as_str().unwrap();
        assert!(problems.contains("Route other/late") && problems.contains("HostAlreadyClaimed"), "{problems}");
        let summary = browser.value("document.querySelector('#summary').innerText");
        assert!(summary.as_str().unwrap().contains("leads"), "{summary}");
        assert_eq!(browser.value("document.getElementById('live-state').textContent"), "", "no script ran");
        browser.open(&format!("{url}?namespace=other"));
        assert_eq!(browser.value(&cell(HOST, "n1")), Value::Null);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_pod_shows_up_without_reloading_and_keeps_focus_and_scroll_position() {
    let (cluster, _controller, url) = one_host().await;
    block_in_place(|| {
        let mut browser = Browser::start(true);
        browser.open(&url);
        browser.until("live", "document.getElementById('live-state').textContent === 'live'");
        browser.value("window.stays = true; document.body.style.minHeight = '4000px'; window.scrollTo(0, 700)");
        browser.value("document.querySelector('#hosts .scroll').focus({preventScroll: true})");
        cluster.seed([slice("shop", "web", &[2])]);
        browser.until("moved", &format!("{} === '●clients are sent there'", cell(HOST, "n2")));
        assert_eq!(browser.value(&cell(HOST, "n1")), "·holds no pod that counts");
        assert_eq!(browser.value("window.stays"), true, "the page was loaded anew");
        assert_eq!(browser.value("window.scrollY"), 700);
        let focused = browser.value("document.activeElement === document.querySelector('#hosts .scroll')");
        assert_eq!(focused, true);
        assert_eq!(browser.value(r#"document.querySelector('input[name="host"]').value"#), "");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_objects_are_called_and_say_never_becomes_a_script() {
    let files = Files::new();
    let hostile = "<img src=x onerror=\"document.title='broken'\">";
    let mut named = route("shop", hostile, "a.example.com", "web");
    named["metadata"]["annotations"] =
        json!({"nearside.dev/on-miss": format!("\"'>{hostile}<script>document.title='broken'</script>")});
    let spaced = route(hostile, "web", "b.example.com", "web");
    let node: Value = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": hostile}, "status": {}});
    let pods = vec![service("shop", "web"), app_pod("shop", "web", 1, true), named, spaced, node];
    files.write("in.yaml", &[cluster(), pods].concat());
    let directory = tempfile::TempDir::new().unwrap();
    let out = directory.path().join("out").display().to_string();
    let arguments = ["--manifests", files.path(), "--out", &out];
    let mut controller = Controller::start(directory.path(), "controller", &arguments, &[]);
    controller.ready().await;
    let admin = controller.admin().await;
    let hostile_filter =
        "?namespace=%22%3E%3Cscript%3Edocument.title%3D%27broken%27%3C%2Fscript%3E&host=%3Cb%3E&page=2";
    block_in_place(|| {
        let mut browser = Browser::start(true);
        for query in ["", hostile_filter] {
            browser.open(&format!("http://{admin}/{query}"));
            browser.until("live", "document.getElementById('live-state').textContent === 'live'");
            assert_eq!(browser.value("document.title"), "Nearside");
            let strange = "document.querySelectorAll('main img, main script, form script, main b').length";
            assert_eq!(browser.value(strange), 0);
        }
        browser.open(&format!("http://{admin}/"));
        let problems = browser.value("document.querySelector('#problems').innerText");
        assert!(problems.as_str().unwrap().contains("<img src=x"), "shown as text: {problems}");
        // Even markup that somehow came into the page would not run.
        let injected =
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">'); document.title";
        assert_eq!(browser.value(injected), "Nearside");
    });
    let (status, json) = get(&Place::host(), admin, "/placement").await.unwrap();
    assert!(status == 200 && json.contains("a.example.com"), "{json}");
}

#[tokio::test]
async fn a_follower_shows_the_page_too_and_the_guard_of_the_port_holds_for_it() {
    let (cluster, controller, _) = one_host().await;
    controller.until("leads", true, || cluster.endpoint(HOST).is_some()).await;
    let mut follower = cluster.controller_with("follower", &["--admin-username=ann", "--admin-password=secret"]).await;
    let admin = follower.admin().await;
    for path in ["/", "/?part=live", "/page.js"] {
        assert_eq!(get(&Place::host(), admin, path).await.unwrap().0, 401, "{path}");
    }
    let mut open = cluster.controller("open").await;
    let page = open.page("/").await;
    assert!(page.contains("follows") && page.contains(HOST), "{page}");
}
