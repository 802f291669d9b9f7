//! What an operator reads in the log: one line per change of state, however often an attempt is repeated.

use super::{Follower, Kind, RequestMatch, Selection, of, route, server, service, services};
use serde_json::json;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

/// What this thread logs; the tasks of a test run on its thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("info"))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_absent_server_is_named_once_and_told_of_when_it_is_back() {
    let (log, _guard) = Log::capture();
    let server = server().await;
    server.faults().refuse_connections().await;
    let kinds = [Kind::Service, Kind::Pod, Kind::Node];
    let mut follower = Follower::new(&server, kinds.map(Selection::all).to_vec());
    for kind in kinds {
        follower.until_error(kind, "cannot be reached").await;
    }
    server.faults().accept_connections().await.unwrap();
    server.seed(service("a")).unwrap();
    follower.until_names(&["a"]).await;
    let lost = log.lines("cannot be reached");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains(&server.address().to_string()) && lost[0].contains("refused"), "{lost:?}");
    assert_eq!(log.lines("answers again").len(), 1);
}

#[tokio::test]
async fn a_missing_kind_and_a_missing_permission_are_told_once() {
    let (log, _guard) = Log::capture();
    let server = server().await;
    server.faults().answer(of("routes"), 404, None, None);
    server.faults().answer(of("secrets"), 403, None, None);
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Route), Selection::all(Kind::Secret)]);
    for plural in ["routes", "secrets"] {
        let asked = || server.faults().requests("list", plural);
        follower.until("asked twice", |_| asked() >= 2).await;
    }
    follower.until_error(Kind::Secret, "no permission").await;
    assert_eq!(log.lines("does not serve routes").len(), 1);
    let forbidden = log.lines("no permission to watch secrets");
    assert_eq!(forbidden.len(), 1);
    assert!(forbidden[0].contains("check the ClusterRole"));
    server.faults().clear();
    follower.until_healthy(Kind::Route).await;
    assert_eq!(log.lines("listing works again").iter().filter(|line| line.contains("kind=Route")).count(), 1);
}

#[tokio::test]
async fn an_undecodable_object_is_named_once_per_change() {
    let (log, _guard) = Log::capture();
    let server = server().await;
    server.seed(route("bad", &json!(7))).unwrap();
    let mut follower = Follower::new(&server, vec![Selection::all(Kind::Route)]);
    follower.until_names(&[]).await;
    server.faults().answer(of("routes").verb("watch"), 410, None, Some(1));
    server.faults().drop_watches(RequestMatch::any());
    follower.until("a second list", |_| server.faults().requests("list", "routes") >= 2).await;
    server.seed(route("good", &json!([]))).unwrap();
    follower.until_names(&["good"]).await;
    let told = log.lines("Route shop/bad");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("status.ingress"), "{told:?}");
    server.seed(route("bad", &json!("seven"))).unwrap();
    server.seed(route("later", &json!([]))).unwrap();
    follower.until_names(&["good", "later"]).await;
    assert_eq!(log.lines("Route shop/bad").len(), 2);
}

#[tokio::test]
async fn a_list_that_is_cut_never_reaches_the_log() {
    let (log, _guard) = Log::capture();
    let server = server().await;
    server.seed(service("a-name-not-to-be-logged")).unwrap();
    let cut = nearside_loadtest::api::Fault::TruncatedBody;
    server.faults().add(of("services").verb("list"), cut, Some(1));
    let mut follower = Follower::new(&server, services());
    follower.until_names(&["a-name-not-to-be-logged"]).await;
    assert_eq!(log.lines("a-name-not-to-be-logged"), Vec::<String>::new());
    assert_eq!(log.lines("WARN").len(), 1, "{:?}", log.lines(""));
}
