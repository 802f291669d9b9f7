//! A name server that is slow, not silent: each of its replies comes late.

use super::between::{Gate, Passed, between};
use super::{NOTHING, Stage, await_records, records, set, within_a_scan};
use nearside_loadtest::name_servers::{NameServer, Software};
use std::net::SocketAddr;
use std::sync::Arc;

#[test]
fn while_replies_of_a_slow_server_are_on_their_way_others_get_what_is_new_and_in_the_end_it_has_all() {
    let stage = Stage::new();
    let fast = stage.server_of(Software::Knot, &["apps.test", "example.test"], "");
    let slow = stage.servers("");
    let gate = Arc::new(Gate::default());
    let late: Vec<SocketAddr> = slow
        .iter()
        .map(|server| {
            let gate = Arc::clone(&gate);
            between(server.address(), move |message, _| {
                gate.pass();
                Passed::Whole(message)
            })
        })
        .collect();
    let all: Vec<SocketAddr> = late.iter().copied().chain([fast.address()]).collect();
    let publication =
        stage.publication("prod", &[("apps.test", &all, NOTHING), ("example.test", &[fast.address()], NOTHING)]);
    let names: Vec<String> = (0..20).map(|number| format!("h{number}.apps.test")).collect();
    let mut program = None;
    let of = |generation: u64| format!("192.0.2.{generation}");
    for generation in 1..=8 {
        let address = [of(generation)];
        let address = [address[0].as_str()];
        let mut asked: Vec<(&str, &str, &[&str])> =
            names.iter().map(|name| (name.as_str(), "A", &address[..])).collect();
        asked.push(("other.example.test", "A", &address));
        stage.object("all", generation, &asked);
        program.get_or_insert_with(|| stage.publish(&publication));
        within_a_scan("a reply is on its way", || gate.held() > 0);
        // One of its replies is on its way all the time.
        await_records(&fast, "other.example.test", "A", &address);
        names.iter().for_each(|name| await_records(&fast, name, "A", &address));
        gate.release();
    }
    gate.open();
    let has_all = |server: &NameServer| names.iter().all(|name| records(server, name, "A") == set(&[of(8).as_str()]));
    for server in &slow {
        within_a_scan("it has all", || has_all(server));
    }
    assert_eq!(program.unwrap().terminate(), Some(0));
}
