//! No data is not "no records": what is withdrawn, and what is not.

use super::{Stage, await_records, records, set};
use crate::client::eventually;
use crate::program::command;
use nearside_loadtest::name_servers::{NameServer, Software};
use std::path::Path;

fn publish_many(stage: &Stage, count: usize) {
    for number in 0..count {
        stage.object(&format!("h{number}"), 1, &[(&format!("h{number}.apps.test"), "A", &["192.0.2.1"])]);
    }
}

fn published(server: &NameServer, count: usize) -> usize {
    (0..count).filter(|number| !records(server, &format!("h{number}.apps.test"), "A").is_empty()).count()
}

#[test]
fn many_names_that_go_at_once_are_held_until_somebody_confirms() {
    let stage = Stage::new();
    let server = stage.server(Software::Bind, "");
    let publication = stage.apps(&[&server]);
    publish_many(&stage, 20);
    let mut program = stage.publish(&publication);
    eventually("all are published", || published(&server, 20) == 20);
    (0..12).for_each(|number| stage.remove(&format!("h{number}")));
    eventually("held", || program.logged("of 20 names would go at once").is_some());
    // What is asked for goes on meanwhile.
    stage.object("new", 1, &[("new.apps.test", "A", &["192.0.2.2"])]);
    await_records(&server, "new.apps.test", "A", &["192.0.2.2"]);
    assert_eq!(published(&server, 20), 20);
    assert!(confirm(&publication, "other.test").contains("none of the zones"));
    assert!(confirm(&publication, "apps.test").contains("may go"));
    eventually("they are withdrawn", || published(&server, 20) == 8);
    assert_eq!(records(&server, "h0._nearside.apps.test", "TXT"), set(&[]));
    assert_eq!(program.terminate(), Some(0));
}

fn confirm(publication: &Path, zone: &str) -> String {
    let output = command(&["confirm", "--zone", zone, "--config", publication.to_str().unwrap()]).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_source_that_is_empty_at_the_start_withdraws_nothing() {
    let stage = Stage::new();
    let server = stage.server(Software::Knot, "");
    let publication = stage.apps(&[&server]);
    publish_many(&stage, 20);
    let mut program = stage.publish(&publication);
    eventually("all are published", || published(&server, 20) == 20);
    assert_eq!(program.terminate(), Some(0));
    std::fs::create_dir(stage.path("empty")).unwrap();
    let program = stage.publish_from(&publication, "empty");
    let held = |number: usize| program.logged_with(&[&format!("name=h{number}.apps.test"), "no object asks for it"]);
    eventually("all are held", || (0..20).all(held));
    assert_eq!(published(&server, 20), 20);
}
