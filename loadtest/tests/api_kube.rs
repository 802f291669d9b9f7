//! The fake API server as kube-rs sees it: watchers through restarts, expired revisions and pages, leases, server-side
//! apply, status writes and Events.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::api::{
    Api, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
    WatchParams,
};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, WatchEvent};
use kube::runtime::events::{Event as NewEvent, EventType, Recorder};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, ResourceExt};
use nearside_loadtest::api::{ApiServer, Fault, ObjectRef, Options, RequestMatch};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Long enough for any of this on a loaded machine; only a failure takes it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn client(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig_yaml()).expect("a valid kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a usable one");
    Client::try_from(config).expect("a client")
}

async fn server() -> (ApiServer, Client) {
    let server = ApiServer::start(Options::default()).await.expect("a free port");
    let client = client(&server).await;
    (server, client)
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"k": "1"}})
}

fn pod(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
}

fn code<T: std::fmt::Debug>(outcome: Result<T, kube::Error>) -> u16 {
    match outcome {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("expected a Status, got {other:?}"),
    }
}

/// Follows a watcher until the names it knows are exactly `wanted`.
async fn until_known(
    events: &mut (impl futures::Stream<Item = Result<Event<ConfigMap>, watcher::Error>> + Unpin),
    known: &mut BTreeSet<String>,
    wanted: &[&str],
) {
    let wanted: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    let mut fresh = BTreeSet::new();
    let follow = async {
        while *known != wanted {
            match events.next().await.expect("a watcher never ends") {
                Ok(Event::Apply(object)) => drop(known.insert(object.name_any())),
                Ok(Event::Delete(object)) => drop(known.remove(&object.name_any())),
                Ok(Event::Init) => fresh.clear(),
                Ok(Event::InitApply(object)) => drop(fresh.insert(object.name_any())),
                Ok(Event::InitDone) => *known = std::mem::take(&mut fresh),
                Err(_) => {}
            }
        }
    };
    if tokio::time::timeout(PATIENCE, follow).await.is_err() {
        panic!("the watcher knows {known:?}, not {wanted:?}");
    }
}

async fn survives_everything(config: watcher::Config) {
    let (server, client) = server().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.seed(config_map(name)).expect("valid");
    }
    let mut events = watch(Api::<ConfigMap>::all(client), config).default_backoff().boxed();
    let mut known = BTreeSet::new();
    until_known(&mut events, &mut known, &["a", "b", "c", "d", "e"]).await;

    server.delete(ObjectRef::new("v1", "ConfigMap", "default", "a")).expect("exists");
    until_known(&mut events, &mut known, &["b", "c", "d", "e"]).await;

    server.faults().refuse_connections().await;
    tokio::net::TcpStream::connect(server.address()).await.expect_err("refused");
    server.seed(config_map("f")).expect("valid");
    server.faults().accept_connections().await.expect("the same address");
    until_known(&mut events, &mut known, &["b", "c", "d", "e", "f"]).await;

    // The watch ends, and its revision is gone when it comes back: the watcher has to list again.
    server.faults().refuse_connections().await;
    server.delete(ObjectRef::new("v1", "ConfigMap", "default", "b")).expect("exists");
    server.seed(config_map("g")).expect("valid");
    server.faults().compact();
    server.faults().accept_connections().await.expect("the same address");
    until_known(&mut events, &mut known, &["c", "d", "e", "f", "g"]).await;

    server.faults().cut_watches(RequestMatch::any());
    server.seed(config_map("h")).expect("valid");
    until_known(&mut events, &mut known, &["c", "d", "e", "f", "g", "h"]).await;
}

#[tokio::test]
async fn a_paging_watcher_survives_restarts_and_expired_revisions() {
    survives_everything(watcher::Config::default().page_size(2)).await;
}

#[tokio::test]
async fn a_streaming_watcher_survives_restarts_and_expired_revisions() {
    survives_everything(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test]
async fn refused_requests_do_not_end_a_watcher() {
    let (server, client) = server().await;
    server.seed(config_map("a")).expect("valid");
    server.faults().answer(RequestMatch::any().verb("list"), 429, Some(0), Some(1));
    server.faults().answer(RequestMatch::any().verb("list"), 500, None, Some(1));
    server.faults().answer(RequestMatch::any().verb("watch"), 403, None, Some(1));
    let mut events = watch(Api::<ConfigMap>::all(client), watcher::Config::default()).default_backoff().boxed();
    let mut known = BTreeSet::new();
    until_known(&mut events, &mut known, &["a"]).await;
    server.seed(config_map("b")).expect("valid");
    until_known(&mut events, &mut known, &["a", "b"]).await;
    assert!(server.faults().requests("list", "configmaps") >= 3);
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_gets_410_as_an_event() {
    let (server, client) = server().await;
    let old = server.resource_version();
    server.seed(config_map("a")).expect("valid");
    server.faults().compact();
    let api = Api::<ConfigMap>::all(client);
    let mut events = api.watch(&WatchParams::default(), &old.to_string()).await.expect("200").boxed();
    match events.try_next().await.expect("readable").expect("an event") {
        WatchEvent::Error(status) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
        other => panic!("{other:?}"),
    }
    assert!(events.try_next().await.expect("readable").is_none(), "and the stream ends");
}

#[tokio::test]
async fn a_watch_sees_objects_enter_and_leave_its_selector() {
    let (server, client) = server().await;
    server.seed(pod("p", "n1")).expect("valid");
    let api = Api::<Pod>::all(client);
    let start = server.resource_version().to_string();
    let mut events = api.watch(&WatchParams::default().fields("spec.nodeName=n2"), &start).await.expect("200").boxed();
    let object = ObjectRef::new("v1", "Pod", "default", "p");
    server.patch(object, json!({"metadata": {"labels": {"unseen": "1"}}})).expect("valid");
    server.patch(object, json!({"spec": {"nodeName": "n2"}})).expect("valid");
    server.patch(object, json!({"metadata": {"labels": {"seen": "1"}}})).expect("valid");
    server.patch(object, json!({"spec": {"nodeName": "n3"}})).expect("valid");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event =
            tokio::time::timeout(PATIENCE, events.try_next()).await.expect("in time").expect("readable").expect("open");
        match event {
            WatchEvent::Added(pod) => seen.push(("ADDED", pod)),
            WatchEvent::Modified(pod) => seen.push(("MODIFIED", pod)),
            WatchEvent::Deleted(pod) => seen.push(("DELETED", pod)),
            other => panic!("{other:?}"),
        }
    }
    let words: Vec<_> = seen.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["ADDED", "MODIFIED", "DELETED"]);
    let last = &seen[2].1;
    assert_eq!(
        last.spec.as_ref().and_then(|spec| spec.node_name.as_deref()),
        Some("n2"),
        "as it was when it last matched"
    );
    assert_eq!(last.resource_version(), Some(server.resource_version().to_string()), "at the revision of the change");
}

#[tokio::test]
async fn pages_of_one_list_agree_and_an_old_token_gets_410() {
    let (server, client) = server().await;
    for n in 0..7 {
        server.seed(config_map(&format!("m{n}"))).expect("valid");
    }
    let api = Api::<ConfigMap>::namespaced(client, "default");
    let first = api.list(&ListParams::default().limit(3)).await.expect("200");
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (3, Some(4)));
    server.delete(ObjectRef::new("v1", "ConfigMap", "default", "m5")).expect("exists");
    server.seed(config_map("m55")).expect("valid");
    let token = first.metadata.continue_.clone().expect("more pages");
    let second = api.list(&ListParams::default().limit(10).continue_token(&token)).await.expect("200");
    let names: Vec<_> = second.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["m3", "m4", "m5", "m6"], "as when the list began");
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    server.faults().compact();
    assert_eq!(code(api.list(&ListParams::default().continue_token(&token)).await), 410);
}

#[tokio::test]
async fn two_holders_of_a_lease_conflict() {
    let (_server, client) = server().await;
    let api = Api::<Lease>::namespaced(client, "default");
    let mut lease: Lease = serde_json::from_value(
        json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
    )
    .expect("a lease");
    let created = api.create(&PostParams::default(), &lease).await.expect("201");
    assert_eq!(code(api.create(&PostParams::default(), &lease).await), 409);
    assert_eq!(code(api.replace("l", &PostParams::default(), &lease).await), 422, "no revision given");
    lease.metadata.resource_version = created.resource_version();
    lease.spec.as_mut().expect("spec").holder_identity = Some("b".into());
    let taken = api.replace("l", &PostParams::default(), &lease).await.expect("200");
    assert_ne!(taken.resource_version(), created.resource_version());
    assert_eq!(code(api.replace("l", &PostParams::default(), &lease).await), 409, "the revision is stale");
}

#[tokio::test]
async fn server_side_apply_conflicts_and_forces() {
    let (_server, client) = server().await;
    let api = Api::<ConfigMap>::namespaced(client, "default");
    let config =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": value}});
    api.patch("c", &PatchParams::apply("one"), &Patch::Apply(config("1"))).await.expect("created");
    let two = PatchParams::apply("two");
    assert_eq!(code(api.patch("c", &two, &Patch::Apply(config("2"))).await), 409);
    let forced = api.patch("c", &two.clone().force(), &Patch::Apply(config("2"))).await.expect("forced");
    assert_eq!(forced.data.as_ref().and_then(|data| data.get("k")).map(String::as_str), Some("2"));
    let again = api.patch("c", &two, &Patch::Apply(config("2"))).await.expect("owned");
    assert_eq!(again.resource_version(), forced.resource_version(), "nothing changed");
    let managers: Vec<_> = again.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
    assert_eq!(managers, ["two"]);
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let dropped = api.patch("c", &two, &Patch::Apply(empty)).await.expect("owned");
    assert_eq!(dropped.data, None, "what the manager no longer names is gone");
}

#[tokio::test]
async fn status_and_specification_are_written_apart() {
    let (server, client) = server().await;
    let route =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("route.openshift.io", "v1", "Route"), "routes");
    let api = Api::<DynamicObject>::namespaced_with(client, "default", &route);
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "r"},
        "spec": {"to": {"kind": "Service", "name": "s"}}, "status": {"ingress": [{"host": "ignored"}]}}))
    .expect("a route");
    let mut created = api.create(&PostParams::default(), &object).await.expect("201");
    assert_eq!(created.data.get("status"), None, "create ignores the status");
    assert_eq!(created.data["spec"]["host"], "r-default.router.default.svc.cluster.local");
    assert_eq!(created.metadata.generation, Some(1));

    created.data["status"] = json!({"ingress": [{"host": "h", "routerName": "default"}]});
    created.data["spec"]["path"] = json!("/ignored");
    let written = api.replace_status("r", &PostParams::default(), &created).await.expect("200");
    assert_eq!(written.data["status"]["ingress"][0]["host"], "h");
    assert_eq!(written.data["spec"].get("path"), None, "the status endpoint ignores the specification");
    assert_eq!(written.metadata.generation, Some(1));
    assert_eq!(code(api.replace_status("r", &PostParams::default(), &created).await), 409, "stale revision");

    let patch = json!({"spec": {"path": "/x"}, "status": {"ingress": []}});
    let patched = api.patch("r", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("200");
    assert_eq!((patched.data["spec"]["path"].as_str(), patched.metadata.generation), (Some("/x"), Some(2)));
    assert_eq!(patched.data["status"]["ingress"][0]["host"], "h", "the main endpoint ignores the status");

    let patch = json!({"status": {"ingress": []}});
    let patched = api.patch_status("r", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("200");
    assert_eq!(patched.data["status"], json!({"ingress": []}));

    let strategic = api.patch("r", &PatchParams::default(), &Patch::Strategic(json!({"spec": {"path": "/y"}}))).await;
    assert_eq!(strategic.expect("a Go type knows it").data["spec"]["path"], "/y");
    server.faults().disable_kind("routes");
    assert_eq!(code(api.get("r").await), 404);
    server.faults().enable_kind("routes");
    assert_eq!(api.get("r").await.expect("kept").data["spec"]["path"], "/y");
}

#[tokio::test]
async fn conditions_merge_by_type_in_a_strategic_patch() {
    let (server, client) = server().await;
    server
        .seed(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "creationTimestamp": "2020-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}}))
        .expect("valid");
    let api = Api::<Node>::all(client);
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let node = api.patch_status("n", &PatchParams::default(), &Patch::Strategic(patch)).await.expect("200");
    let conditions = node.status.and_then(|status| status.conditions).expect("conditions");
    let states: Vec<_> = conditions.iter().map(|entry| (entry.type_.as_str(), entry.status.as_str())).collect();
    assert_eq!(states, [("Ready", "False"), ("DiskPressure", "False")]);
    let age = node.metadata.creation_timestamp.expect("given").0;
    assert_eq!(age.to_string(), "2020-01-01T00:00:00Z", "the lab sets ages");
}

#[tokio::test]
async fn finalizers_and_grace_periods_hold_an_object() {
    let options = Options { graceful_pod_deletion: true, ..Options::default() };
    let server = ApiServer::start(options).await.expect("a free port");
    let client = client(&server).await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.seed(held).expect("valid");
    let marked = maps.delete("held", &DeleteParams::default()).await.expect("200").left().expect("still there");
    assert!(marked.metadata.deletion_timestamp.is_some());
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(release)).await.expect("200");
    assert_eq!(maps.get_opt("held").await.expect("readable"), None);

    server.seed(pod("p", "n1")).expect("valid");
    let pods = Api::<Pod>::namespaced(client.clone(), "default");
    let marked = pods.delete("p", &DeleteParams::default()).await.expect("200").left().expect("still there");
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert!(!server.delete_with_grace(ObjectRef::new("v1", "Pod", "default", "p"), 5).expect("exists"));
    assert!(server.delete(ObjectRef::new("v1", "Pod", "default", "p")).expect("exists"));
    assert!(pods.get_opt("p").await.expect("readable").is_none());

    let wrong = kube::api::Preconditions { uid: Some("other".into()), resource_version: None };
    server.seed(config_map("kept")).expect("valid");
    let refused = maps.delete("kept", &DeleteParams { preconditions: Some(wrong), ..DeleteParams::default() }).await;
    assert_eq!(code(refused), 409);
}

#[tokio::test]
async fn a_namespace_takes_its_objects_along() {
    let (server, client) = server().await;
    let mut inside = config_map("a");
    inside["metadata"]["namespace"] = json!("gone");
    server.seed(inside.clone()).expect("the lab makes the namespace");
    let mut held = inside.clone();
    held["metadata"]["name"] = json!("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.seed(held).expect("valid");
    assert!(!server.delete(ObjectRef::new("v1", "Namespace", "", "gone")).expect("exists"));
    let maps = Api::<ConfigMap>::namespaced(client, "gone");
    assert!(maps.get_opt("a").await.expect("readable").is_none());
    let new: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "new"}})).expect("a map");
    assert_eq!(code(maps.create(&PostParams::default(), &new).await), 403, "terminating");
    server
        .patch(ObjectRef::new("v1", "ConfigMap", "gone", "held"), json!({"metadata": {"finalizers": null}}))
        .expect("valid");
    assert_eq!(server.get(ObjectRef::new("v1", "Namespace", "", "gone")), None);
    assert_eq!(code(maps.create(&PostParams::default(), &new).await), 404, "gone");
}

#[tokio::test]
async fn events_of_one_group_show_in_the_other() {
    let (server, client) = server().await;
    server.seed(config_map("subject")).expect("valid");
    let subject = Api::<ConfigMap>::namespaced(client.clone(), "default").get("subject").await.expect("exists");
    let recorder = Recorder::new(client.clone(), "nearside".into());
    let event = NewEvent {
        type_: EventType::Warning,
        reason: "HostAlreadyClaimed".into(),
        note: Some("route b is older".into()),
        action: "Admit".into(),
        secondary: None,
    };
    let reference = kube::Resource::object_ref(&subject, &());
    recorder.publish(&event, &reference).await.expect("created");
    recorder.publish(&event, &reference).await.expect("counted");
    let core = Api::<k8s_openapi::api::core::v1::Event>::namespaced(client.clone(), "default");
    let shown = core.list(&ListParams::default().fields("involvedObject.name=subject")).await.expect("200");
    let [shown] = shown.items.as_slice() else { panic!("one event, not {}", shown.items.len()) };
    assert_eq!(shown.message.as_deref(), Some("route b is older"));
    assert_eq!(shown.series.as_ref().and_then(|series| series.count), Some(2));
}

#[tokio::test]
async fn a_definition_adds_a_kind_and_takes_it_away() {
    let (server, client) = server().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "cups.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "cups", "kind": "Cup"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let cup = GroupVersionKind::gvk("example.com", "v1", "Cup");
    assert!(kube::discovery::pinned_kind(&client, &cup).await.is_err());
    server.seed(definition).expect("valid");
    let (resource, _) = kube::discovery::pinned_kind(&client, &cup).await.expect("discovered");
    let api = Api::<DynamicObject>::namespaced_with(client, "default", &resource);
    api.create(&PostParams::default(), &DynamicObject::new("one", &resource)).await.expect("201");
    let patch = json!({"spec": {"a": 1}});
    assert_eq!(code(api.patch("one", &PatchParams::default(), &Patch::Strategic(&patch)).await), 415, "no Go type");
    server
        .delete(ObjectRef::new("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "cups.example.com"))
        .expect("exists");
    assert_eq!(code(api.list(&ListParams::default()).await), 404);
}

#[tokio::test]
async fn refusals_name_what_is_wrong() {
    let (server, client) = server().await;
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {}})).expect("a service");
    let api = Api::<Service>::namespaced(client.clone(), "nowhere");
    assert_eq!(code(api.list(&ListParams::default().fields("spec.externalName=x")).await), 400);
    match api.create(&PostParams::default(), &service).await {
        Err(kube::Error::Api(status)) => {
            assert!(status.is_invalid());
            let causes = status.details.expect("details").causes;
            assert_eq!(causes[0].field, "spec.ports");
        }
        other => panic!("{other:?}"),
    }
    let ports = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(ports).expect("a service");
    match api.create(&PostParams::default(), &service).await {
        Err(kube::Error::Api(status)) => {
            assert!(status.is_not_found());
            assert_eq!(status.message, "namespaces \"nowhere\" not found");
        }
        other => panic!("{other:?}"),
    }
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    let huge: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "huge"}, "binaryData": {"k": "A".repeat(4 * 1024 * 1024)}}))
            .expect("a map");
    let refused = maps.create(&PostParams::default(), &huge).await;
    assert!(refused.is_err(), "over the body limit");
    assert!(server.list("v1", "ConfigMap", "").is_empty());
    let generated: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "g-"}})).expect("a map");
    let made = maps.create(&PostParams::default(), &generated).await.expect("201");
    assert!(made.name_any().starts_with("g-") && made.name_any().len() == 7);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let plan: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "dry"}})).expect("a map");
    maps.create(&dry, &plan).await.expect("checked");
    assert!(maps.get_opt("dry").await.expect("readable").is_none());
    let metadata = ObjectMeta::default();
    assert_eq!(code(maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await), 422);
}

#[tokio::test]
async fn an_update_keeps_what_the_server_handed_out() {
    let (_server, client) = server().await;
    let api = Api::<Service>::namespaced(client, "default");
    let plain = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let service: Service = serde_json::from_value(plain).expect("a service");
    let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    let created = api.create(&PostParams::default(), &service).await.expect("201");
    let replaced = api.replace("s", &PostParams::default(), &service).await.expect("no revision is needed");
    assert!(address(&created).is_some());
    assert_eq!(address(&replaced), address(&created));
    assert_eq!(replaced.resource_version(), created.resource_version(), "nothing changed");
}

#[tokio::test]
async fn bookmarks_move_a_quiet_watch_forward() {
    let options = Options { bookmark_interval: Duration::from_millis(5), ..Options::default() };
    let server = ApiServer::start(options).await.expect("a free port");
    let client = client(&server).await;
    let start = server.resource_version();
    let mut events =
        Api::<Pod>::all(client).watch(&WatchParams::default(), &start.to_string()).await.expect("200").boxed();
    server.seed(config_map("elsewhere")).expect("valid");
    let wanted = server.resource_version().to_string();
    let follow = async {
        loop {
            match events.try_next().await.expect("readable").expect("open") {
                WatchEvent::Bookmark(bookmark) if bookmark.metadata.resource_version == wanted => break,
                WatchEvent::Bookmark(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, follow).await.expect("a bookmark at the newest revision");
}

#[tokio::test]
async fn several_listeners_serve_the_same_objects_to_those_with_the_token() {
    let listeners = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| std::net::TcpListener::bind(address).expect("free"));
    let options = Options { token: Some("secret".into()), ..Options::default() };
    let server = ApiServer::start_on(listeners.into(), options).await.expect("usable");
    server.seed(config_map("a")).expect("valid");
    server.faults().refuse_connections().await;
    server.faults().accept_connections().await.expect("the same addresses");
    for address in server.addresses() {
        let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig_yaml_for(address)).expect("valid");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("usable");
        let api = Api::<ConfigMap>::all(Client::try_from(config).expect("a client"));
        assert_eq!(api.list(&ListParams::default()).await.expect("200").items.len(), 1);
    }
    let stranger = Client::try_from(Config::new(server.url().parse().expect("a URL"))).expect("a client");
    assert_eq!(code(Api::<ConfigMap>::all(stranger).list(&ListParams::default()).await), 401);
}

#[tokio::test]
async fn a_hung_watch_is_silent_and_a_new_one_is_not() {
    let (server, client) = server().await;
    let api = Api::<ConfigMap>::all(client);
    let start = server.resource_version().to_string();
    server.faults().hang_watches(RequestMatch::any().resource("configmaps"));
    let mut hung = api.watch(&WatchParams::default(), &start).await.expect("200").boxed();
    server.faults().clear();
    let mut open = api.watch(&WatchParams::default(), &start).await.expect("200").boxed();
    server.seed(config_map("a")).expect("valid");
    let first = tokio::time::timeout(PATIENCE, open.try_next()).await.expect("in time").expect("readable");
    assert!(matches!(first, Some(WatchEvent::Added(_))));
    assert!(futures::FutureExt::now_or_never(hung.try_next()).is_none(), "nothing came, not even an end");
}

#[tokio::test]
async fn faulty_answers_reach_the_client() {
    let (server, client) = server().await;
    server.seed(config_map("a")).expect("valid");
    let api = Api::<ConfigMap>::all(client);
    let list = RequestMatch::any().verb("list").resource("configmaps");
    server.faults().add(list.clone(), Fault::EmptyList, Some(1));
    assert!(api.list(&ListParams::default()).await.expect("200").items.is_empty());
    server.faults().add(list.clone(), Fault::TruncatedBody, Some(1));
    assert!(api.list(&ListParams::default()).await.is_err());
    server.faults().add(list.clone(), Fault::Delay(Duration::from_millis(1)), Some(1));
    assert_eq!(api.list(&ListParams::default()).await.expect("200").items.len(), 1);
    assert_eq!(server.faults().requests("list", "configmaps"), 3);
}
