//! A feed with a real cluster behind it: whoever reads at its socket sees what the cluster says, whichever end was away, and gets nothing
//! that is not offered.

use super::*;
use crate::{ObjectKey, serve_objects, token_reviews};
use nearside_loadtest::api::Account;
use nearside_routing::admission::AdmissionRules;
use std::collections::BTreeSet;
use std::future::pending;
use std::path::Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Offers Services and Ingresses of a server.
fn offer(server: &ApiServer, path: &Path) -> JoinHandle<()> {
    let (source, path) = (source(server), path.to_owned());
    tokio::spawn(async move {
        serve_objects(&source, offered(), AdmissionRules::default(), &path, pending()).await.unwrap()
    })
}

fn offered() -> Vec<Selection> {
    vec![Selection::all(Kind::Service), Selection::all(Kind::Ingress)]
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": name}, "type": "Opaque",
           "data": {"auth": "dTp4"}})
}

/// An Ingress whose clients are asked for a password of this Secret.
fn ingress(name: &str, secret: &str) -> Value {
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
           "metadata": {"namespace": "shop", "name": name, "annotations": {
               "nginx.ingress.kubernetes.io/auth-type": "basic", "nginx.ingress.kubernetes.io/auth-secret": secret}},
           "spec": {"rules": [{"host": format!("{name}.test"), "http": {"paths": [
               {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Secret, "shop", name)
}

/// What a stranger to our code writes, and what comes back until the end of the connection.
async fn raw(path: &Path, frames: &[Value]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    for frame in frames {
        let text = frame.to_string();
        stream.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).await.unwrap();
        stream.write_all(&[0; 4]).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    }
    let mut said = Vec::new();
    // A connection that is reset has ended, too.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the connection goes on"));
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn what_is_read_at_the_socket_is_what_the_cluster_says() {
    let (server, directory) = (server().await, TempDir::new().unwrap());
    let path = directory.path().join("objects.sock");
    server.seed(service("a")).unwrap();
    // Whoever reads may come first.
    let mut follower = Follower::of(Source::at_socket(path.clone()), offered());
    follower.until_error(Kind::Service, "cannot be had").await;
    let offering = offer(&server, &path);
    follower.until_names(&["a"]).await;
    follower.until_healthy(Kind::Service).await;
    server.seed(service("b")).unwrap();
    follower.until_names(&["a", "b"]).await;
    server.patch(reference("a"), json!({"metadata": {"labels": {"version": "2"}}})).unwrap();
    follower.until("version 2", |follower| follower.label("a") == Some("2")).await;
    follower.until("its counts", |follower| follower.state(Kind::Service).counts.events >= 2).await;
    server.delete(reference("b")).unwrap();
    follower.until_names(&["a"]).await;
    // What is wrong with the cluster is told through the socket.
    server.faults().answer(of("services"), 403, None, None);
    server.faults().cut_watches(of("services"));
    follower.until_error(Kind::Service, "no permission").await;
    assert_eq!((follower.names(), follower.state(Kind::Service).reason.as_deref()), (vec!["a"], Some("Forbidden")));
    server.faults().clear();
    follower.until_healthy(Kind::Service).await;
    // The end that reads the cluster dies and comes again; what has changed meanwhile is seen, and nothing vanishes before.
    offering.abort();
    follower.until_error(Kind::Service, "cannot be had").await;
    assert_eq!(follower.names(), ["a"]);
    server.seed(service("c")).unwrap();
    let _offering = offer(&server, &path);
    follower.until_names(&["a", "c"]).await;
    follower.until_healthy(Kind::Service).await;
    assert_eq!(follower.deleted, ["b"]);
}

#[tokio::test]
async fn a_secret_passes_for_as_long_as_an_object_names_it_and_no_other_does() {
    let (server, directory) = (server().await, TempDir::new().unwrap());
    let path = directory.path().join("objects.sock");
    for name in ["users", "others", "unnamed"] {
        server.seed(secret(name)).unwrap();
    }
    server.seed(ingress("web", "users")).unwrap();
    let offering = offer(&server, &path);
    let mut follower = Follower::of(Source::at_socket(path.clone()), offered());
    follower.until_names(&["web"]).await;
    // All are wished for, as by a process that has fallen to an attacker.
    let wished: BTreeSet<ObjectKey> = ["users", "others", "unnamed"].map(key).into();
    let gone = follower.changes.follow(&wished);
    assert!(gone.is_empty());
    follower.until_names(&["users", "web"]).await;
    server.seed(ingress("second", "others")).unwrap();
    follower.until_names(&["others", "second", "users", "web"]).await;
    // Wishes outlive the other end.
    offering.abort();
    follower.until_error(Kind::Ingress, "cannot be had").await;
    let _offering = offer(&server, &path);
    follower.until_healthy(Kind::Ingress).await;
    let data = json!({"metadata": {"labels": {"version": "2"}}});
    server.patch(ObjectRef::new("v1", "Secret", "shop", "users"), data.clone()).unwrap();
    follower.until("the Secret's change", |follower| follower.label("users") == Some("2")).await;
    server.patch(ObjectRef::new("v1", "Secret", "shop", "unnamed"), data).unwrap();
    server.seed(service("later")).unwrap();
    follower.until("what came later", |follower| follower.names().contains(&"later")).await;
    assert!(!follower.names().contains(&"unnamed"));
    for change in follower.changes.follow(&[key("others")].into()) {
        follower.take(change);
    }
    follower.until("it is left", |follower| !follower.names().contains(&"users")).await;
}

#[tokio::test]
async fn nothing_else_is_offered_and_what_is_no_protocol_ends_the_connection() {
    let (server, directory) = (server().await, TempDir::new().unwrap());
    let path = directory.path().join("objects.sock");
    server.seed(secret("unnamed")).unwrap();
    server.seed(service("a")).unwrap();
    let _offering = offer(&server, &path);
    let mut good = Follower::of(Source::at_socket(path.clone()), offered());
    good.until_names(&["a"]).await;
    let hello = |kind: &str, version: u32| {
        let selection = json!({"apiVersion": "v1", "kind": kind, "fields": null, "labels": null, "namespace": null});
        json!({"hello": {"version": version, "selections": [selection]}})
    };
    let secret = json!({"namespace": "shop", "name": "unnamed"});
    let follow = |selection: usize| json!({"follow": {"selection": selection, "secret": secret}});
    for (frames, part) in [
        (vec![hello("Secret", 1)], "is not offered"),
        (vec![hello("Service", 2)], "version 2"),
        (vec![follow(1)], "before hello"),
        (vec![hello("Service", 1), follow(0)], "welcome"),
        (vec![hello("Service", 1), follow(1), follow(1)], "welcome"),
        (vec![hello("Service", 1), hello("Service", 1)], "welcome"),
        (vec![json!({"hello": {"version": 1, "selections": [], "more": 1}})], ""),
        (vec![hello("Service", 1), json!("junk")], "welcome"),
    ] {
        let said = raw(&path, &frames).await;
        assert!(said.contains(part) && !said.contains("dTp4"), "{frames:?}: {said}");
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&[0xff; 64]).await.unwrap();
    let mut said = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("the connection goes on"));
    // Flags that differ are told by name.
    let mut other = Follower::of(Source::at_socket(path.clone()), vec![Selection::all(Kind::Pod)]);
    other.until_error(Kind::Pod, "Pod: is not offered; check that both processes have the same flags").await;
    server.seed(service("b")).unwrap();
    good.until_names(&["a", "b"]).await;
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_what_else_is_there_stays() {
    use std::os::unix::fs::PermissionsExt;
    let (server, directory) = (server().await, TempDir::new().unwrap());
    let path = directory.path().join("objects.sock");
    std::fs::write(&path, "mine").unwrap();
    let refused =
        serve_objects(&source(&server), offered(), AdmissionRules::default(), &path, pending()).await.unwrap_err();
    assert!(
        refused.to_string().contains("objects.sock") && std::fs::read_to_string(&path).unwrap() == "mine",
        "{refused}"
    );
    std::fs::remove_file(&path).unwrap();
    for _ in 0..2 {
        let offering = offer(&server, &path);
        let mut follower = Follower::of(Source::at_socket(path.clone()), offered());
        follower.until_names(&[]).await;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        offering.abort();
    }
    let manifests = Source::Manifests(vec![directory.path().to_owned()]);
    let refused = serve_objects(&manifests, offered(), AdmissionRules::default(), &path, pending()).await.unwrap_err();
    assert!(refused.to_string().contains("of a cluster"));
}

#[tokio::test]
async fn who_offers_ends_when_that_is_asked_for_and_nobody_reads_any_more() {
    let (server, directory) = (server().await, TempDir::new().unwrap());
    let path = directory.path().join("objects.sock");
    let (ask, asked) = tokio::sync::oneshot::channel::<()>();
    let (source, place) = (source(&server), path.clone());
    let offering = tokio::spawn(async move {
        let end = async { drop(asked.await) };
        serve_objects(&source, offered(), AdmissionRules::default(), &place, end).await
    });
    let mut follower = Follower::of(Source::at_socket(path), offered());
    follower.until_names(&[]).await;
    ask.send(()).unwrap();
    server.seed(service("late")).unwrap();
    follower.until_names(&["late"]).await;
    drop(follower);
    tokio::time::timeout(PATIENCE, offering).await.expect("it goes on").unwrap().unwrap();
}

#[tokio::test]
async fn who_may_read_metrics_is_asked_through_the_socket() {
    let account = |token: &str, may: &[&str]| Account {
        token: token.to_owned(),
        user: format!("user-of-{token}"),
        may: may.iter().map(|action| (*action).to_owned()).collect(),
    };
    let accounts = vec![account("reader", &["get /metrics"]), account("nothing", &[])];
    let server = ApiServer::start(Options { accounts, ..Options::default() }).await.unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("objects.sock");
    let ask = token_reviews(&Source::at_socket(path.clone())).unwrap();
    assert!(ask("reader".into()).await.is_err(), "nobody is there yet");
    let _offering = offer(&server, &path);
    let mut follower = Follower::of(Source::at_socket(path.clone()), offered());
    follower.until_names(&[]).await;
    for (token, may) in [("reader", Some(true)), ("nothing", Some(false)), ("unknown", None)] {
        assert_eq!(ask(token.into()).await.unwrap(), may, "{token}");
    }
    server.faults().answer(of("tokenreviews"), 403, None, None);
    assert!(ask("reader".into()).await.unwrap_err().to_string().contains("TokenReview"));
}
