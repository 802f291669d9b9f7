//! The manifests source through the public stream: directories in, snapshots of objects out.

use crate::{Change, Changes, Kind, Object, ObjectKey, Selection, Source, changes};
use nearside_routing::object::ObjectMeta;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Follows a stream as a reader would and holds the objects.
struct Follower {
    changes: Changes,
    objects: BTreeMap<ObjectKey, Object>,
}

impl Follower {
    fn new(directory: &Path, selections: Vec<Selection>) -> Self {
        let source = Source::Manifests(vec![directory.to_owned()]);
        Self { changes: changes(source, selections), objects: BTreeMap::new() }
    }

    /// Takes batches until the objects are as expected.
    async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            loop {
                if self.changes.state().synced() && condition(self) {
                    return;
                }
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
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "never seen: {what}; have {:?}, error {:?}", self.names(), self.error());
    }

    async fn until_names(&mut self, names: &[&str]) {
        self.until(&format!("{names:?}"), |follower| follower.names() == names).await;
    }

    async fn until_error(&mut self, part: &str) {
        self.until(part, |follower| follower.error().is_some_and(|error| error.contains(part))).await;
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Apply(object) => {
                self.objects.insert(object.key(), object);
            }
            Change::Delete(key) => {
                self.objects.remove(&key).expect("deleted twice");
            }
            Change::Reset { kind, objects } => {
                self.objects.retain(|key, _| key.kind != kind);
                self.objects.extend(objects.into_iter().map(|object| (object.key(), object)));
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.objects.values().map(|object| object.metadata().name.clone()).collect()
    }

    fn error(&self) -> Option<String> {
        self.changes.state().kinds().into_values().find_map(|state| state.error)
    }

    fn metadata(&self, name: &str) -> &ObjectMeta {
        self.objects.values().map(Object::metadata).find(|metadata| metadata.name == name).unwrap()
    }
}

fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n")
}

fn labelled(name: &str, version: &str) -> String {
    format!("{}  labels:\n    version: \"{version}\"\n", service(name))
}

fn services() -> Vec<Selection> {
    vec![Selection::all(Kind::Service)]
}

#[tokio::test]
async fn files_are_read_and_followed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("below")).unwrap();
    fs::write(path.join("a.yaml"), service("a")).unwrap();
    fs::write(path.join("below/b.yml"), format!("{}---\n{}", service("b"), service("c"))).unwrap();
    fs::write(path.join(".hidden.yaml"), service("hidden")).unwrap();
    fs::write(path.join("notes.txt"), service("notes")).unwrap();
    let mut follower = Follower::new(path, services());
    follower.until_names(&["a", "b", "c"]).await;
    assert_eq!(follower.metadata("a").namespace, "default");

    fs::write(path.join("d.json"), r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d"}}"#).unwrap();
    follower.until_names(&["a", "b", "c", "d"]).await;
    fs::write(path.join("a.yaml"), labelled("a", "2")).unwrap();
    follower
        .until("version 2", |follower| follower.metadata("a").labels.get("version").is_some_and(|v| v == "2"))
        .await;
    fs::write(path.join("below/b.yml"), service("c")).unwrap();
    follower.until_names(&["a", "c", "d"]).await;
    fs::remove_dir_all(path.join("below")).unwrap();
    follower.until_names(&["a", "d"]).await;
}

#[tokio::test]
async fn an_empty_directory_is_empty_and_synced() {
    let directory = TempDir::new().unwrap();
    let mut changes = changes(Source::Manifests(vec![directory.path().to_owned()]), services());
    let batch = changes.next().await.unwrap();
    assert_eq!(batch.changes, [Change::Reset { kind: Kind::Service, objects: Vec::new() }]);
    assert!(batch.synced);
    assert!(changes.state().synced());
}

#[tokio::test]
async fn a_file_cut_in_the_middle_keeps_its_last_good_objects() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.yaml");
    let whole = format!("{}---\n{}  annotations:\n    note: \"quoted\"\n", service("a"), service("b"));
    fs::write(&file, &whole).unwrap();
    let mut follower = Follower::new(directory.path(), services());
    follower.until_names(&["a", "b"]).await;

    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    follower.until_error("a.yaml: document 2, line ").await;
    follower.until_names(&["a", "b"]).await;
    let error = follower.error().unwrap();
    let line: usize = error.split("line ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    assert!((10..=11).contains(&line), "{error}");

    fs::write(&file, service("b")).unwrap();
    follower.until_names(&["b"]).await;
    assert_eq!(follower.error(), None);
}

#[tokio::test]
async fn a_truncated_file_keeps_its_last_good_objects() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.yaml");
    fs::write(&file, service("a")).unwrap();
    let mut follower = Follower::new(directory.path(), services());
    follower.until_names(&["a"]).await;
    fs::write(&file, "").unwrap();
    follower.until_error("a.yaml: is empty").await;
    follower.until_names(&["a"]).await;
    fs::write(&file, "# nothing any more\n").unwrap();
    follower.until_names(&[]).await;
}

#[tokio::test]
async fn a_file_that_never_was_good_gives_its_good_objects() {
    let directory = TempDir::new().unwrap();
    let broken = "apiVersion: v1\nkind: Service\nmetadata:\n  name: bad\nspec: 7\n";
    fs::write(directory.path().join("a.yaml"), format!("{}---\n{broken}---\nkind: Service\n", service("a"))).unwrap();
    let mut follower = Follower::new(directory.path(), services());
    follower.until_names(&["a"]).await;
    let error = follower.error().unwrap();
    assert!(error.contains("document 2, line 5: Service default/bad: spec: invalid type"), "{error}");
    assert!(error.contains("1 more"), "{error}");
}

#[tokio::test]
async fn of_two_files_with_one_object_the_first_wins() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    fs::write(path.join("b.yaml"), labelled("a", "b")).unwrap();
    fs::write(path.join("c.yaml"), labelled("a", "c")).unwrap();
    let mut follower = Follower::new(path, services());
    let version = |version: &'static str| {
        move |follower: &Follower| {
            follower
                .objects
                .values()
                .any(|object| object.metadata().labels.get("version").is_some_and(|v| v == version))
        }
    };
    follower.until("b first", version("b")).await;
    fs::write(path.join("a.yaml"), labelled("a", "a")).unwrap();
    follower.until("a first", version("a")).await;
    fs::remove_file(path.join("a.yaml")).unwrap();
    fs::remove_file(path.join("b.yaml")).unwrap();
    follower.until("c left", version("c")).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_keeps_its_objects() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a")).unwrap();
    let mut follower = Follower::new(&path, services());
    follower.until_names(&["a"]).await;

    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    follower.until_error("manifests: ").await;
    follower.until_names(&["a"]).await;

    fs::create_dir(&path).unwrap();
    fs::write(path.join("b.yaml"), service("b")).unwrap();
    follower.until_names(&["b"]).await;
    fs::write(path.join("c.yaml"), service("c")).unwrap();
    follower.until_names(&["b", "c"]).await;
}

#[tokio::test]
async fn a_directory_may_appear_later() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("later");
    let mut follower = Follower::new(&path, services());
    follower.until_error("later: ").await;
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a")).unwrap();
    follower.until_names(&["a"]).await;
}

#[tokio::test]
async fn a_config_map_volume_is_followed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let publish = |version: &str, contents: &str| {
        fs::create_dir(path.join(version)).unwrap();
        fs::write(path.join(version).join("a.yaml"), contents).unwrap();
        symlink(version, path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    publish("..1", &service("a"));
    symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    let mut follower = Follower::new(path, services());
    follower.until_names(&["a"]).await;
    publish("..2", &service("b"));
    follower.until_names(&["b"]).await;
    fs::remove_dir_all(path.join("..1")).unwrap();
    fs::write(path.join("c.yaml"), service("c")).unwrap();
    follower.until_names(&["b", "c"]).await;
}

#[tokio::test]
async fn selections_hold_for_manifests() {
    let directory = TempDir::new().unwrap();
    let pod = |name: &str, node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{nodeName: {node}}}\n---\n"
        )
    };
    let pods = format!("{}{}{}", pod("here", "node-1"), pod("there", "node-2"), pod("router", "node-2"));
    fs::write(
        directory.path().join("pods.yaml"),
        pods.replace("{name: router,", "{name: router, labels: {app: router},"),
    )
    .unwrap();
    fs::write(directory.path().join("service.yaml"), service("not-selected")).unwrap();
    let on_node = Selection::all(Kind::Pod).fields("spec.nodeName=node-1");
    let routers = Selection::all(Kind::Pod).labels("app=router");
    let mut follower = Follower::new(directory.path(), vec![on_node, routers]);
    follower.until_names(&["here", "router"]).await;
}

#[tokio::test]
async fn a_large_object_and_a_long_host_pass() {
    let directory = TempDir::new().unwrap();
    let route = format!(
        "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: long\n  annotations:\n    large: \"{}\"\n\
         spec:\n  host: {}\n  to: {{kind: Service, name: web}}\n",
        "x".repeat(1 << 20),
        "h".repeat(300)
    );
    fs::write(directory.path().join("route.yaml"), route).unwrap();
    let mut follower = Follower::new(directory.path(), vec![Selection::all(Kind::Route)]);
    follower.until_names(&["long"]).await;
    assert_eq!(follower.metadata("long").annotations["large"].len(), 1 << 20);
    let Some(Object::Route(route)) = follower.objects.values().next() else { panic!("no Route") };
    assert_eq!(route.spec.host.len(), 300);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("a.yaml"), service("a")).unwrap();
    let huge = fs::File::create(directory.path().join("huge.yaml")).unwrap();
    huge.set_len(crate::limits::MANIFEST_BYTES + 1).unwrap();
    let mut follower = Follower::new(directory.path(), services());
    follower.until_names(&["a"]).await;
    follower.until_error("huge.yaml: cannot be read: larger than 16 MiB").await;
}
