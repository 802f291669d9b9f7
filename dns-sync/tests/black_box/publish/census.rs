//! Which names nobody asks for is learnt from a whole, signed transfer of the zone, and from nothing less.

use super::between::{Passed, between};
use super::{Stage, await_records, records, set, within_a_scan};
use crate::client::eventually;
use hickory_proto::op::Message;
use nearside_loadtest::name_servers::NameServer;
use std::net::SocketAddr;

const DEDICATED: &str = "  dedicated: true\n";

#[test]
fn in_a_dedicated_zone_what_nobody_asks_for_is_found_and_nothing_of_others_and_only_in_a_whole_signed_zone() {
    let stage = Stage::new();
    let servers = stage.servers(
        "orphan A 192.0.2.1\norphan._nearside TXT \"nearside1 c=prod g=3 t=A h=0123456789abcdef\"\n\
         stray A 192.0.2.9\n\
         theirs A 192.0.2.7\ntheirs._nearside TXT \"nearside1 c=other g=1 t=A h=0123456789abcdef\"\n\
         mail A 192.0.2.25\nmail MX 10 mail\n\
         sub NS ns.sub\nns.sub A 192.0.2.54\n",
    );
    let place = |server: SocketAddr| format!("place=apps.test at {server}");
    // What one server shows is looked for on the others of a zone, too: so each of them has a publisher of its own.
    let publish = |servers: &[SocketAddr]| {
        let stage = Stage::new();
        stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
        let program = stage.publish(&stage.publication("prod", &[("apps.test", servers, DEDICATED)]));
        (stage, program)
    };
    let whole: Vec<_> = servers.iter().map(|server| publish(&[server.address()])).collect();
    let cut = |message, is_transfer| if is_transfer { Passed::Cut(message) } else { Passed::Whole(message) };
    let unsigned = |message: Vec<u8>, is_transfer: bool| {
        if !is_transfer {
            return Passed::Whole(message);
        }
        let mut message = Message::from_vec(&message).unwrap();
        message.signature = None;
        Passed::Whole(message.to_vec().unwrap())
    };
    let address = NameServer::address;
    let through: Vec<SocketAddr> =
        servers.iter().flat_map(|server| [between(address(server), cut), between(address(server), unsigned)]).collect();
    let (_stage, partial) = publish(&through);

    for (server, (_, program)) in servers.iter().zip(&whole) {
        await_records(server, "video.apps.test", "A", &["192.0.2.1"]);
        let place = place(server.address());
        within_a_scan(&place, || program.logged_with(&[&place, "nobody asks for some names of the zone", "names=2"]));
        for name in ["orphan", "stray"] {
            let told = || program.logged_with(&[&place, &format!("name={name}.apps.test"), "no object asks for it"]);
            eventually("it is told, and goes after the grace", told);
        }
        for name in ["theirs", "mail", "ns.sub", "ns1"] {
            assert!(!program.logged_with(&[&format!("name={name}.apps.test")]), "{name} is no matter of ours");
        }
    }
    for place in through.iter().map(|server| place(*server)) {
        within_a_scan(&place, || partial.logged_with(&[&place, "the zone cannot be read as a whole"]));
    }
    assert!(partial.logged("nobody asks for some names").is_none(), "a part of a zone tells nothing");
    for server in &servers {
        for (name, address) in [("orphan", "1"), ("stray", "9"), ("theirs", "7"), ("mail", "25")] {
            let there = records(server, &format!("{name}.apps.test"), "A");
            assert_eq!(there, set(&[&format!("192.0.2.{address}")]), "{}: {name}", server.software());
        }
    }
}
