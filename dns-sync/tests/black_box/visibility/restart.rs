//! Programs that are started again while the API server is away go on from what they have on disk: nothing is withdrawn for that.

use super::{OBJECT, PROGRAM, Publisher, ZONE, all_three, ask, cluster, condition_of, end, records, updated};
use crate::client::{addresses, eventually, query, udp};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use nearside_loadtest::api::{ApiServer, ObjectRef};
use nearside_loadtest::lab::Place;
use nearside_loadtest::name_servers::{TsigKey, free_address};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_started_again_while_the_cluster_is_away_goes_on_from_disk_and_withdraws_nothing() {
    let key = TsigKey::new("nearside", "hmac-sha256", "away");
    let servers = all_three(&key);
    let api = cluster(super::DEFINITION).await;
    for name in ["stays", "deleted"] {
        ask(&api, name, &[(&format!("{name}.apps.test"), "A", &["192.0.2.1"])]);
    }
    let mut publisher = Publisher::start(&api, &key, &updated(&servers));
    for name in ["stays", "deleted"] {
        eventually("it is visible", || condition_of(&api, name, "Visible").0 == "True Visible");
    }
    publisher.stop();
    api.faults().refuse_connections().await;
    // Nobody sees this.
    assert!(api.delete(ObjectRef { name: "deleted", ..OBJECT }).unwrap());

    publisher.start_again();
    let reasons = || -> BTreeMap<String, String> {
        let page = publisher.page().unwrap_or_default();
        let names = page["names"].as_array().cloned().unwrap_or_default();
        let text = |name: &serde_json::Value, field: &str| name[field].as_str().unwrap_or_default().to_owned();
        names.iter().map(|name| (text(name, "name"), text(name, "reason"))).collect()
    };
    let held = |name: &str| (format!("{name}.apps.test"), "Held".to_owned());
    eventually("it knows the names from the disk", || reasons() == [held("deleted"), held("stays")].into());
    let there =
        |name: &str, address: &str| servers.iter().all(|server| records(server, name) == [address.to_owned()].into());
    assert!(there("stays.apps.test", "192.0.2.1") && there("deleted.apps.test", "192.0.2.1"));

    api.faults().accept_connections().await.unwrap();
    ask(&api, "stays", &[("stays.apps.test", "A", &["192.0.2.2"])]);
    ask(&api, "new", &[("new.apps.test", "A", &["192.0.2.3"])]);
    eventually("it goes on", || there("stays.apps.test", "192.0.2.2") && there("new.apps.test", "192.0.2.3"));
    eventually("what nobody saw go stays", || {
        reasons().get("deleted.apps.test").is_some_and(|reason| reason == "Held")
    });
    assert!(there("deleted.apps.test", "192.0.2.1"));
}

/// `serve` with a snapshot in this directory, at this address.
fn serve(api: &ApiServer, directory: &Path, listen: SocketAddr) -> Child {
    let kubeconfig = directory.join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig_yaml()).unwrap();
    Command::new(PROGRAM)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .args(["serve", "--zone", ZONE, "--listen", &listen.to_string()])
        .args(["--name-server", "ns1.apps.test=192.0.2.53"])
        .arg("--snapshot-dir")
        .arg(directory.join("snapshot"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_server_that_is_started_again_while_the_cluster_is_away_answers_the_same_with_the_same_serial() {
    let api = cluster(super::DEFINITION).await;
    ask(&api, "a", &[("a.apps.test", "A", &["192.0.2.1"]), ("*--k3x7a.apps.test", "A", &["192.0.2.1"])]);
    ask(&api, "wild", &[("*.wild.apps.test", "AAAA", &["2001:db8::1"]), ("text.apps.test", "TXT", &["hello"])]);
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("snapshot")).unwrap();
    let listen = free_address(&Place::host(), IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let content = || -> Vec<(u16, BTreeSet<String>)> {
        let said = |answer: Message| {
            let records = answer.answers.iter().chain(&answer.authorities).map(ToString::to_string).collect();
            (u16::from(answer.metadata.response_code), records)
        };
        let asked = [
            ("a.apps.test.", RecordType::A),
            ("b--k3x7a.apps.test.", RecordType::A),
            ("x.wild.apps.test.", RecordType::AAAA),
            ("text.apps.test.", RecordType::TXT),
            ("unknown.apps.test.", RecordType::A),
            ("apps.test.", RecordType::SOA),
        ];
        asked.iter().map(|(name, record_type)| said(udp(listen, &query(name, *record_type, Some(1232))))).collect()
    };
    let mut first = serve(&api, directory.path(), listen);
    let before = content();
    assert_eq!(addresses(&udp(listen, &query("a.apps.test.", RecordType::A, None))).len(), 1);
    assert!(before[5].1.len() == 1 && before[4].0 == 3, "{before:?}");
    end(&mut first);
    api.faults().refuse_connections().await;
    let mut second = serve(&api, directory.path(), listen);
    assert_eq!(content(), before);
    end(&mut second);
}
