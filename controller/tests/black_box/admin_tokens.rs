//! Tokens of the cluster at the admin port: who they belong to and what those may, as the API server says.

use crate::process::Cluster;
use nearside_loadtest::api::{Account, Options, RequestMatch};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn account(token: &str, may: &[&str]) -> Account {
    let may = may.iter().map(|action| (*action).to_owned()).collect();
    Account { token: token.to_owned(), user: format!("user-of-{token}"), may }
}

async fn status(admin: SocketAddr, path: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn whoever_the_cluster_lets_read_metrics_is_let_in() {
    let accounts = vec![
        account("router", &["get route.openshift.io/routers/metrics"]),
        account("path", &["get /metrics"]),
        account("nothing", &["get route.openshift.io/routers/debug"]),
    ];
    let cluster = Cluster::with(Options { accounts, ..Options::default() }).await;
    let mut controller = cluster.controller_with("controller", &["--admin-tokens"]).await;
    let admin = controller.admin().await;
    for (token, expected) in [("router", 200), ("path", 200), ("nothing", 403), ("unknown", 401), ("", 401)] {
        for page in ["/metrics", "/placement"] {
            assert_eq!(status(admin, page, token).await, expected, "{token} {page}");
        }
        assert_eq!(status(admin, "/healthz", token).await, 200);
    }
    assert_eq!(cluster.api.faults().requests("create", "tokenreviews"), 4, "a verdict is kept for a while");
}

#[tokio::test]
async fn nobody_is_let_in_while_the_cluster_does_not_answer() {
    let accounts = vec![account("router", &["get route.openshift.io/routers/metrics"])];
    let cluster = Cluster::with(Options { accounts, ..Options::default() }).await;
    let mut controller = cluster.controller_with("controller", &["--admin-tokens"]).await;
    let admin = controller.admin().await;
    let reviews = RequestMatch::any().resource("subjectaccessreviews");
    cluster.api.faults().answer(reviews, 403, None, None);
    assert_eq!(status(admin, "/metrics", "router").await, 503);
    assert!(controller.log().contains("SubjectAccessReview"), "{}", controller.log());
    cluster.api.faults().clear();
    assert_eq!(status(admin, "/metrics", "router").await, 200, "and is asked again");
}
