//! The cluster source against the fake API server of the lab: what a server can do to a watch, and what readers see.

mod feed;
mod log;
mod reading;

use crate::{
    Change, Changes, ClusterConfig, IndexConfig, Kind, KindState, Object, Selection, Snapshots, Source, changes,
    snapshots,
};
use nearside_loadtest::api::{ApiServer, Fault, ObjectRef, Options, RequestMatch, StreamingLists};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Follows a stream as a reader would, and fails on a deletion of what it does not hold.
struct Follower {
    changes: Changes,
    objects: BTreeMap<String, Object>,
    deleted: Vec<String>,
}

impl Follower {
    fn new(server: &ApiServer, selections: Vec<Selection>) -> Self {
        Self::of(source(server), selections)
    }

    fn of(source: Source, selections: Vec<Selection>) -> Self {
        Self { changes: changes(source, selections), objects: BTreeMap::new(), deleted: Vec::new() }
    }

    /// Takes batches until a condition holds.
    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::select! {
                    batch = self.changes.next() => {
                        for change in batch.expect("the source ended").changes {
                            self.take(change);
                        }
                    }
                    // The state changes without a batch.
                    () = tokio::time::sleep(Duration::from_millis(5)) => {}
                }
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "never seen: {what}; have {:?}, state {:?}", self.names(), self.changes.state());
    }

    async fn until_names(&mut self, names: &[&str]) {
        self.until(&format!("{names:?}"), |follower| follower.changes.state().synced() && follower.names() == names)
            .await;
    }

    async fn until_error(&mut self, kind: Kind, part: &str) {
        self.until(part, |follower| follower.state(kind).error.is_some_and(|error| error.contains(part))).await;
    }

    async fn until_healthy(&mut self, kind: Kind) {
        self.until("no error", |follower| follower.state(kind).error.is_none()).await;
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Apply(object) => {
                self.objects.insert(object.metadata().name.clone(), object);
            }
            Change::Delete(key) => {
                self.objects.remove(&key.name as &str).expect("deleted what it did not have");
                self.deleted.push(key.name.into());
            }
            Change::Reset { kind, objects } => {
                let before: Vec<String> = self.objects.keys().cloned().collect();
                self.objects.retain(|_, object| object.kind() != kind);
                self.objects.extend(objects.into_iter().map(|object| (object.metadata().name.clone(), object)));
                self.deleted.extend(before.into_iter().filter(|name| !self.objects.contains_key(name)));
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }

    fn state(&self, kind: Kind) -> KindState {
        self.changes.state().kinds()[&kind].clone()
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.objects.get(name)?.metadata().labels.get("version").map(String::as_str)
    }
}

async fn server() -> ApiServer {
    server_with(StreamingLists::Offered).await
}

async fn server_with(streaming_lists: StreamingLists) -> ApiServer {
    let options = Options { bookmark_interval: Duration::from_millis(50), streaming_lists, ..Options::default() };
    ApiServer::start(options).await.unwrap()
}

fn source(server: &ApiServer) -> Source {
    Source::Cluster(ClusterConfig::new(kube::Config::new(server.url().parse().unwrap())).unwrap())
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name, "labels": {"version": "1"}},
           "spec": {"ports": [{"name": "http", "port": 80}]}})
}

/// A Route whose `status.ingress` the server does not look into.
fn route(name: &str, admissions: &Value) -> Value {
    json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"namespace": "shop", "name": name},
           "spec": {"host": format!("{name}.example.com"), "to": {"kind": "Service", "name": "a"}},
           "status": {"ingress": admissions}})
}

fn reference<'a>(name: &'a str) -> ObjectRef<'a> {
    ObjectRef::new("v1", "Service", "shop", name)
}

fn services() -> Vec<Selection> {
    vec![Selection::all(Kind::Service)]
}

fn of(plural: &str) -> RequestMatch {
    RequestMatch::any().resource(plural)
}

#[tokio::test]
async fn objects_are_listed_and_watched() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    server.seed(service("b")).unwrap();
    follower.until_names(&["a", "b"]).await;
    server.patch(reference("a"), json!({"metadata": {"labels": {"version": "2"}}})).unwrap();
    follower.until("version 2", |follower| follower.label("a") == Some("2")).await;
    server.delete(reference("a")).unwrap();
    follower.until_names(&["b"]).await;
    assert_eq!(server.faults().requests("list", "services"), 1);
}

#[tokio::test]
async fn selectors_reach_the_server() {
    let server = server().await;
    for (name, node) in [("here", "node-1"), ("there", "node-2")] {
        server
            .seed(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name},
                         "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web"}]}}))
            .unwrap();
    }
    server.seed(service("a")).unwrap();
    let mut other = service("b");
    other["metadata"]["namespace"] = "bank".into();
    server.seed(other).unwrap();
    let selections =
        vec![Selection::all(Kind::Pod).fields("spec.nodeName=node-1"), Selection::all(Kind::Service).namespace("bank")];
    let mut follower = Follower::new(&server, selections);
    follower.until_names(&["b", "here"]).await;
}

#[tokio::test]
async fn a_list_of_several_pages_arrives_as_one() {
    let server = server_with(StreamingLists::Refused).await;
    for number in 0..1100 {
        server.seed(service(&format!("s{number:04}"))).unwrap();
    }
    let mut changes = changes(source(&server), services());
    let batch = changes.next().await.unwrap();
    let [Change::Reset { kind: Kind::Service, objects }] = batch.changes.as_slice() else { panic!("no reset") };
    assert_eq!(objects.len(), 1100);
    assert!(batch.synced);
    assert_eq!(server.faults().requests("list", "services"), 3);
}

#[tokio::test]
async fn a_server_that_comes_late_and_goes_and_comes_again_is_followed() {
    let server = server().await;
    server.faults().refuse_connections().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_error(Kind::Service, "cannot be reached").await;
    assert!(!follower.changes.state().synced());
    server.faults().accept_connections().await.unwrap();
    follower.until_names(&["a"]).await;
    follower.until_healthy(Kind::Service).await;

    server.faults().refuse_connections().await;
    server.seed(service("b")).unwrap();
    follower.until_error(Kind::Service, "cannot be reached").await;
    assert_eq!(follower.names(), ["a"]);
    server.faults().accept_connections().await.unwrap();
    follower.until_names(&["a", "b"]).await;
    follower.until_healthy(Kind::Service).await;
    assert_eq!(follower.deleted, Vec::<String>::new());
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_without_a_list() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    follower.until("a watch", |_| server.faults().requests("watch", "services") == 1).await;
    for (number, name) in ["b", "c"].into_iter().enumerate() {
        let watches = server.faults().requests("watch", "services");
        if number == 0 {
            server.faults().drop_watches(of("services"));
        } else {
            server.faults().cut_watches(of("services"));
        }
        server.seed(service(name)).unwrap();
        follower.until(name, |follower| follower.objects.contains_key(name)).await;
        follower.until("a new watch", |_| server.faults().requests("watch", "services") > watches).await;
    }
    assert_eq!(server.faults().requests("list", "services"), 1);
}

#[tokio::test]
async fn an_expired_version_leads_to_a_list_without_a_gap() {
    let server = server().await;
    for name in ["a", "b", "c"] {
        server.seed(service(name)).unwrap();
    }
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a", "b", "c"]).await;
    server.faults().refuse_connections().await;
    server.delete(reference("b")).unwrap();
    server.patch(reference("a"), json!({"metadata": {"labels": {"version": "2"}}})).unwrap();
    server.faults().compact();
    server.faults().accept_connections().await.unwrap();
    follower.until("version 2", |follower| follower.label("a") == Some("2")).await;
    follower.until_names(&["a", "c"]).await;
    assert_eq!(follower.deleted, ["b"]);
    assert!(server.faults().requests("list", "services") >= 2);
}

#[tokio::test]
async fn a_watch_refused_with_410_leads_to_a_list() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    server.faults().answer(of("services").verb("watch"), 410, None, Some(1));
    server.faults().drop_watches(of("services"));
    follower.until("a second list", |_| server.faults().requests("list", "services") == 2).await;
    server.seed(service("b")).unwrap();
    follower.until_names(&["a", "b"]).await;
    assert_eq!(follower.deleted, Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_list_is_never_taken_for_a_whole_one() {
    let server = server_with(StreamingLists::Refused).await;
    for number in 0..1100 {
        server.seed(service(&format!("s{number:04}"))).unwrap();
    }
    server.faults().add(of("services").verb("list"), Fault::TruncatedBody, Some(1));
    let mut follower = Follower::new(&server, services());
    follower.until("a first page", |_| server.faults().requests("list", "services") >= 2).await;
    server.faults().answer(of("services").verb("list"), 500, None, Some(1));
    follower.until("all", |follower| !follower.objects.is_empty()).await;
    assert_eq!(follower.objects.len(), 1100);
}

#[tokio::test]
async fn a_missing_kind_is_empty_until_it_appears_and_what_is_known_outlives_it() {
    let server = server().await;
    server.seed(route("web", &json!([]))).unwrap();
    server.seed(service("a")).unwrap();
    server.faults().disable_kind("routes");
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Route), Selection::all(Kind::Service)]);
    follower.until_names(&["a"]).await;
    follower.until_error(Kind::Route, "does not serve this kind").await;
    server.faults().enable_kind("routes");
    follower.until_names(&["a", "web"]).await;
    follower.until_healthy(Kind::Route).await;

    server.faults().disable_kind("routes");
    follower.until_error(Kind::Route, "does not serve this kind").await;
    let asked = server.faults().requests("list", "services");
    server.seed(service("b")).unwrap();
    follower.until_names(&["a", "b", "web"]).await;
    server.faults().enable_kind("routes");
    server.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "web")).unwrap();
    server.seed(route("new", &json!([]))).unwrap();
    follower.until_names(&["a", "b", "new"]).await;
    follower.until_healthy(Kind::Route).await;
    assert_eq!((server.faults().requests("list", "services"), &*follower.deleted), (asked, &["web".to_owned()][..]));
}

#[tokio::test]
async fn a_moment_of_404_takes_nothing_away() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a"]).await;
    let missing = || of("services");
    server.faults().answer(missing().verb("watch"), 404, None, Some(1));
    server.faults().answer(missing().verb("list"), 404, None, Some(2));
    server.faults().drop_watches(missing());
    follower.until("listed again", |_| server.faults().requests("list", "services") == 4).await;
    follower.until_healthy(Kind::Service).await;
    assert_eq!((follower.names(), follower.deleted.len()), (vec!["a"], 0));
}

#[tokio::test]
async fn without_permission_the_rest_goes_on_and_what_is_known_stays() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    server.faults().answer(of("secrets"), 403, None, None);
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Secret), Selection::all(Kind::Service)]);
    follower.until_names(&["a"]).await;
    follower.until_error(Kind::Secret, "no permission").await;
    assert_eq!(follower.state(Kind::Service).error, None);

    server.faults().answer(of("services"), 403, None, None);
    server.faults().drop_watches(of("services"));
    follower.until_error(Kind::Service, "check the ClusterRole").await;
    let asked = server.faults().requests("watch", "services");
    follower.until("asked again", |_| server.faults().requests("watch", "services") > asked + 1).await;
    assert_eq!(follower.names(), ["a"]);
    server.seed(service("b")).unwrap();
    server.faults().clear();
    follower.until_names(&["a", "b"]).await;
    follower.until_healthy(Kind::Service).await;
}

#[tokio::test]
async fn an_undecodable_object_costs_only_itself() {
    let server = server().await;
    let (good, bad) = (json!([]), json!(7));
    server.seed(route("a", &good)).unwrap();
    server.seed(route("b", &bad)).unwrap();
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Route)]);
    follower.until_names(&["a"]).await;

    // What turns bad keeps its last good version, in the watch and in the next list.
    server.seed(route("a", &bad)).unwrap();
    server.seed(route("c", &good)).unwrap();
    follower.until_names(&["a", "c"]).await;
    server.faults().answer(of("routes").verb("watch"), 410, None, Some(1));
    server.faults().drop_watches(of("routes"));
    follower.until("a second list", |_| server.faults().requests("list", "routes") == 2).await;
    server.seed(route("d", &good)).unwrap();
    follower.until_names(&["a", "c", "d"]).await;
    assert_eq!(follower.deleted, Vec::<String>::new());

    server.seed(route("b", &good)).unwrap();
    follower.until_names(&["a", "b", "c", "d"]).await;
    server.delete(ObjectRef::new("route.openshift.io/v1", "Route", "shop", "a")).unwrap();
    follower.until_names(&["b", "c", "d"]).await;
}

#[tokio::test]
async fn contact_is_known_from_bookmarks_alone() {
    let server = server().await;
    let mut follower = Follower::new(&server, services());
    follower.until_names(&[]).await;
    let first = follower.state(Kind::Service).last_contact;
    assert!(first.is_some());
    // No object changes; several bookmarks come.
    for _ in 0..3 {
        let before = follower.state(Kind::Service).last_contact;
        follower.until("later contact", |follower| follower.state(Kind::Service).last_contact > before).await;
    }
}

#[tokio::test]
async fn dropping_the_reader_ends_the_watch() {
    let server = server().await;
    let watches = || server.faults().requests("watch", "services");
    let mut first = Follower::new(&server, services());
    first.until("a watch", |_| watches() == 1).await;
    drop(first);
    let mut second = Follower::new(&server, services());
    second.until("its own watch", |_| watches() == 2).await;
    server.faults().drop_watches(RequestMatch::any());
    second.until("resumed", |_| watches() >= 3).await;
    server.seed(service("a")).unwrap();
    second.until_names(&["a"]).await;
    assert_eq!(watches(), 3);
}

#[tokio::test]
async fn a_server_that_refuses_for_now_is_asked_again() {
    let server = server().await;
    server.seed(service("a")).unwrap();
    server.faults().answer(of("services"), 503, Some(3600), None);
    let mut follower = Follower::new(&server, services());
    follower.until_error(Kind::Service, "503 ServiceUnavailable").await;
    assert!(!follower.changes.state().synced());
    server.faults().clear();
    follower.until_names(&["a"]).await;
    follower.until_healthy(Kind::Service).await;
}

#[tokio::test]
async fn snapshots_wait_for_every_kind_and_follow() {
    let server = server().await;
    let ingress = |name: &str, host: &str| {
        let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
               "metadata": {"namespace": "shop", "name": name, "annotations": {"kubernetes.io/ingress.class": "nearside"}},
               "spec": {"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
    };
    server.seed(service("a")).unwrap();
    server.seed(ingress("one", "one.example.com")).unwrap();
    server.faults().answer(of("services").verb("list"), 500, None, None);
    let selections = vec![Selection::all(Kind::Ingress), Selection::all(Kind::Service)];
    let mut snapshots = snapshots(source(&server), selections, IndexConfig::default());
    wait(&snapshots, "ingresses", |snapshots| snapshots.state().kinds()[&Kind::Ingress].synced).await;
    wait(&snapshots, "an error", |snapshots| snapshots.state().kinds()[&Kind::Service].error.is_some()).await;
    assert!(snapshots.latest().is_none());

    server.faults().clear();
    let first = tokio::time::timeout(PATIENCE, snapshots.next()).await.unwrap();
    assert_eq!(first.verdicts.len(), 1);
    server.seed(ingress("two", "two.example.com")).unwrap();
    let second = tokio::time::timeout(PATIENCE, snapshots.next()).await.unwrap();
    assert_eq!(second.verdicts.len(), 2);
    assert!(second.generation > first.generation);
    assert_eq!(first.verdicts.len(), 1);
}

/// An Ingress of our class whose users are in a Secret.
fn guarded(name: &str, secret: &str) -> Value {
    let annotations = json!({"kubernetes.io/ingress.class": "nearside", "nginx.ingress.kubernetes.io/auth-type": "basic",
                             "nginx.ingress.kubernetes.io/auth-secret": secret});
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
           "metadata": {"namespace": "shop", "name": name, "annotations": annotations},
           "spec": {"rules": [{"host": format!("{name}.example.com"), "http":
                    {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

fn users(name: &str, users: &[&str]) -> Value {
    let lines: Vec<String> = users.iter().map(|user| format!("{user}:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": name}, "type": "Opaque",
           "stringData": {"auth": lines.concat()}})
}

/// Whether a host of a guarded Ingress knows a user; `None` where its Secret is not there.
fn knows(snapshots: &Snapshots, host: &str, user: &str) -> Option<bool> {
    let snapshot = snapshots.latest()?;
    let path = nearside_routing::NormalPath::parse("/").unwrap();
    let found = snapshot.routes.find(nearside_routing::Scheme::Http, host, &path);
    let nearside_routing::Decision::Serve(route) = found.decision else { return None };
    route.credentials.as_ref().map(|credentials| credentials.hash(user).is_some())
}

#[tokio::test]
async fn secrets_that_objects_name_for_passwords_are_followed_and_no_others_are_read() {
    let server = server().await;
    server.seed(guarded("one", "ones")).unwrap();
    server.seed(users("ones", &["ann"])).unwrap();
    server.seed(users("unrelated", &["eve"])).unwrap();
    let selections = vec![Selection::all(Kind::Ingress), Selection::all(Kind::Secret).fields("type=kubernetes.io/tls")];
    let mut snapshots = snapshots(source(&server), selections, IndexConfig::default());
    let first = tokio::time::timeout(PATIENCE, snapshots.next()).await.unwrap();
    assert_eq!(first.verdicts.values().map(|verdict| verdict.problems.len()).sum::<usize>(), 0, "{:?}", first.verdicts);
    assert_eq!(knows(&snapshots, "one.example.com", "ann"), Some(true), "the first snapshot is whole");
    assert_eq!(server.faults().requests("list", "secrets"), 2, "certificates, and one Secret by its name");

    server.seed(users("ones", &["bob"])).unwrap();
    wait(&snapshots, "the new user", |snapshots| knows(snapshots, "one.example.com", "bob") == Some(true)).await;
    server.seed(guarded("two", "twos")).unwrap();
    wait(&snapshots, "the object", |snapshots| snapshots.latest().is_some_and(|latest| latest.verdicts.len() == 2))
        .await;
    assert_eq!(knows(&snapshots, "two.example.com", "ann"), None);
    server.seed(users("twos", &["ann"])).unwrap();
    wait(&snapshots, "its Secret", |snapshots| knows(snapshots, "two.example.com", "ann") == Some(true)).await;
    server.delete(ObjectRef::new("v1", "Secret", "shop", "twos")).unwrap();
    wait(&snapshots, "nobody", |snapshots| knows(snapshots, "two.example.com", "ann").is_none()).await;
    assert_eq!(knows(&snapshots, "one.example.com", "bob"), Some(true));

    // Another Secret is followed in place of the first.
    server.seed(guarded("one", "unrelated")).unwrap();
    wait(&snapshots, "the other", |snapshots| knows(snapshots, "one.example.com", "eve") == Some(true)).await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_holds_nothing_else_up() {
    let server = server().await;
    let selections = vec![Selection::all(Kind::Ingress), Selection::all(Kind::Secret).fields("type=kubernetes.io/tls")];
    let mut snapshots = snapshots(source(&server), selections, IndexConfig::default());
    tokio::time::timeout(PATIENCE, snapshots.next()).await.unwrap();
    server.faults().answer(of("secrets").verb("list"), 500, None, None);
    server.seed(guarded("one", "ones")).unwrap();
    wait(&snapshots, "the object", |snapshots| snapshots.latest().is_some_and(|latest| latest.verdicts.len() == 1))
        .await;
    assert_eq!(knows(&snapshots, "one.example.com", "ann"), None);
    server.seed(users("ones", &["ann"])).unwrap();
    server.faults().clear();
    wait(&snapshots, "its Secret", |snapshots| knows(snapshots, "one.example.com", "ann") == Some(true)).await;
}

async fn wait(snapshots: &Snapshots, what: &str, condition: impl Fn(&Snapshots) -> bool) {
    let reached = async {
        while !condition(snapshots) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "never seen: {what}");
}

/// Far beyond any back-off; only a failing test takes it.
const PATIENCE: Duration = Duration::from_secs(60);
