//! Several publishers at once, without a leader: they agree, and one that was asleep overwrites nothing.

use super::{Stage, await_records, records, set};
use crate::client::eventually;
use nearside_loadtest::name_servers::NameServer;
use rustix::process::Signal;

#[test]
fn two_publishers_at_once_agree_and_do_not_fight() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let _programs = [stage.publish(&publication), stage.publish(&publication)];
    for generation in 1..10 {
        let address = format!("192.0.2.{generation}");
        stage.object("video", generation, &[("video.apps.test", "A", &[&address])]);
        servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &[&address]));
    }
    let serials = || servers.iter().map(|server| server.serial("apps.test").unwrap()).collect::<Vec<_>>();
    let before = serials();
    stage.object("last", 1, &[("last.apps.test", "A", &["192.0.2.2"])]);
    servers.iter().for_each(|server| await_records(server, "last.apps.test", "A", &["192.0.2.2"]));
    for (server, (before, after)) in servers.iter().zip(before.into_iter().zip(serials())) {
        assert!(after - before <= 2, "{}: {before} to {after} for one change", server.software());
    }
}

#[test]
fn a_publisher_that_was_asleep_overwrites_nothing_newer() {
    let stage = Stage::new();
    let servers: Vec<NameServer> = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    std::fs::create_dir(stage.path("old")).unwrap();
    stage.object_in("old", "video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let sleeper = stage.publish_from(&publication, "old");
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.1"]));
    sleeper.signal(Signal::STOP);
    let _awake = stage.publish(&publication);
    stage.object("video", 5, &[("video.apps.test", "A", &["192.0.2.5"])]);
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.5"]));
    // It wakes with a change of its own that is older than what stands there.
    stage.object_in("old", "video", 3, &[("video.apps.test", "A", &["192.0.2.3"])]);
    sleeper.signal(Signal::CONT);
    for server in &servers {
        let place = format!("place=apps.test at {}", server.address());
        eventually("it sees that its view is old", || sleeper.logged_with(&[&place, "newer view"]));
        assert_eq!(records(server, "video.apps.test", "A"), set(&["192.0.2.5"]), "{}", server.software());
    }
}
