//! Servers that fail: a dead, a silent or a refusing one delays nobody else, and gets everything when it is well again.

use super::{Stage, await_records, records, set};
use crate::client::eventually;
use nearside_loadtest::name_servers::{NameServer, Setup, Software, TsigKey, Zone, zone_text};
use std::net::TcpListener;

#[test]
fn servers_that_are_dead_or_never_answer_delay_no_other_server() {
    let stage = Stage::new();
    let well = stage.server(Software::Knot, "");
    let paused = stage.server(Software::Bind, "");
    // One that takes connections and never answers, and a port on which nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [dead, silent.local_addr().unwrap(), paused.address(), well.address()];
    let publication = stage.publication("prod", &[("apps.test", &addresses, "")]);
    paused.pause();
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let mut program = stage.publish(&publication);
    await_records(&well, "video.apps.test", "A", &["192.0.2.1"]);
    for generation in 2..10 {
        let address = format!("192.0.2.{generation}");
        stage.object("video", generation, &[("video.apps.test", "A", &[&address])]);
        await_records(&well, "video.apps.test", "A", &[&address]);
    }
    for (server, reason) in
        [(dead, "cannot connect"), (addresses[1], "no answer within"), (addresses[2], "no answer within")]
    {
        eventually(reason, || program.logged_with(&[&format!("place=apps.test at {server}"), reason]));
    }
    paused.resume();
    await_records(&paused, "video.apps.test", "A", &["192.0.2.9"]);
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn a_changed_secret_is_taken_up_at_once() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    std::fs::write(stage.path("key.conf"), TsigKey::new("nearside", "hmac-sha256", "wrong").clause()).unwrap();
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let program = stage.publish(&publication);
    for server in &servers {
        eventually("the refusal is told", || {
            program.logged_with(&[&format!("place=apps.test at {}", server.address())])
        });
        assert_eq!(records(server, "video.apps.test", "A"), set(&[]));
    }
    let log = program.logged("wrong one").is_some() || program.logged(&stage.key.secret).is_some();
    assert!(!log, "a secret is in the log");
    crate::program::put(stage.directory.path(), "key.conf", &stage.key.clause());
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.1"]));
}

#[test]
fn a_file_of_keys_that_is_spoiled_or_gone_stops_nobody_and_is_told() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let mut command = stage.command("publish", &publication, "objects");
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let program = crate::program::Program::spawn(command);
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.1"]));
    crate::program::put(stage.directory.path(), "key.conf", "key nearside {");
    stage.object("video", 2, &[("video.apps.test", "A", &["192.0.2.2"])]);
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.2"]));
    std::fs::remove_file(stage.path("key.conf")).unwrap();
    stage.object("video", 3, &[("video.apps.test", "A", &["192.0.2.3"])]);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.3"]);
        let place = format!("place=apps.test at {}", server.address());
        eventually("it is told", || program.logged_with(&["WARN", &place, "a file of keys is of no use", "key.conf"]));
        let series = format!("nearside_dns_unusable_key_files{{server=\"{}\",zone=\"apps.test\"}}", server.address());
        eventually("it is counted", || program.page("/metrics").contains(&format!("{series} 1\n")));
    }
    crate::program::put(stage.directory.path(), "key.conf", &stage.key.clause());
    stage.object("video", 4, &[("video.apps.test", "A", &["192.0.2.4"])]);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.4"]);
    }
    eventually("it is well again", || program.logged("all files of keys can be read").is_some());
}

#[test]
fn a_zone_that_is_not_served_delays_no_other_zone_of_the_server() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let addresses: Vec<_> = servers.iter().map(NameServer::address).collect();
    let publication = stage.publication("prod", &[("absent.test", &addresses, ""), ("apps.test", &addresses, "")]);
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"]), ("video.absent.test", "A", &["192.0.2.1"])]);
    let program = stage.publish(&publication);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.1"]);
        eventually("told", || program.logged_with(&[&format!("place=absent.test at {}", server.address())]));
    }
}

#[test]
fn of_two_keys_the_one_is_used_that_the_server_knows() {
    let stage = Stage::new();
    let newer = TsigKey::new("newer", "hmac-sha512", "two");
    let with = |key: &TsigKey, software| {
        let zone = Zone::primary("apps.test", &zone_text("apps.test", ""), key);
        NameServer::start(software, &Setup { zones: vec![zone], keys: vec![key.clone()] }).unwrap()
    };
    let servers: Vec<NameServer> =
        Software::ALL.iter().flat_map(|software| [with(&stage.key, *software), with(&newer, *software)]).collect();
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    let both = format!("{}{}", newer.clause(), stage.key.clause());
    std::fs::write(stage.path("key.conf"), both).unwrap();
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let _program = stage.publish(&publication);
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.1"]));
}
