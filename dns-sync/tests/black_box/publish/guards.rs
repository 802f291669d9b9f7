//! No data is not "no records": what is withdrawn, and what is not.

use super::{Stage, await_records, records, set};
use crate::client::eventually;
use crate::program::command;
use nearside_loadtest::name_servers::NameServer;
use std::path::Path;

fn publish_many(stage: &Stage, count: usize) {
    for number in 0..count {
        stage.object(&format!("h{number}"), 1, &[(&format!("h{number}.apps.test"), "A", &["192.0.2.1"])]);
    }
}

/// How many of these names each server has, where all have as many.
fn published(servers: &[NameServer], count: usize) -> Option<usize> {
    let there = |server: &NameServer, number: &usize| !records(server, &format!("h{number}.apps.test"), "A").is_empty();
    let counts: Vec<usize> =
        servers.iter().map(|server| (0..count).filter(|number| there(server, number)).count()).collect();
    counts.first().copied().filter(|first| counts.iter().all(|count| count == first))
}

#[test]
fn many_names_that_go_at_once_are_held_until_somebody_confirms() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    publish_many(&stage, 20);
    let mut program = stage.publish(&publication);
    eventually("all are published", || published(&servers, 20) == Some(20));
    (0..12).for_each(|number| stage.remove(&format!("h{number}")));
    eventually("held", || program.logged("of 20 names would go at once").is_some());
    // What is asked for goes on meanwhile.
    stage.object("new", 1, &[("new.apps.test", "A", &["192.0.2.2"])]);
    servers.iter().for_each(|server| await_records(server, "new.apps.test", "A", &["192.0.2.2"]));
    assert_eq!(published(&servers, 20), Some(20));
    assert!(confirm(&publication, "other.test").contains("none of the zones"));
    assert!(confirm(&publication, "apps.test").contains("may go"));
    eventually("they are withdrawn", || published(&servers, 20) == Some(8));
    servers.iter().for_each(|server| assert_eq!(records(server, "h0._nearside.apps.test", "TXT"), set(&[])));
    assert_eq!(program.terminate(), Some(0));
}

fn confirm(publication: &Path, zone: &str) -> String {
    let output = command(&["confirm", "--zone", zone, "--config", publication.to_str().unwrap()]).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_source_that_is_empty_at_the_start_withdraws_nothing() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    publish_many(&stage, 20);
    let mut program = stage.publish(&publication);
    eventually("all are published", || published(&servers, 20) == Some(20));
    assert_eq!(program.terminate(), Some(0));
    std::fs::create_dir(stage.path("empty")).unwrap();
    let program = stage.publish_from(&publication, "empty");
    let held = |number: usize| program.logged_with(&[&format!("name=h{number}.apps.test"), "no object asks for it"]);
    eventually("all are held", || (0..20).all(held));
    assert_eq!(published(&servers, 20), Some(20));
}
