//! What is somebody else's stays as it is and is told; what is ours is kept as it should be.

use super::{Stage, await_records, records, set, within_a_scan};
use crate::client::eventually;
use nearside_loadtest::name_servers::{NameServer, Software};

#[test]
fn what_is_not_ours_is_not_touched_and_is_told() {
    let stage = Stage::new();
    let others = "foreign A 192.0.2.77\n\
                  external A 192.0.2.77\na-external TXT \"heritage=external-dns,external-dns/owner=them\"\n\
                  cluster A 192.0.2.77\ncluster._nearside TXT \"nearside1 c=other g=1 t=A h=0123456789abcdef\"\n\
                  alias CNAME elsewhere.test.\n\
                  text._nearside TXT \"hands off\"\n";
    let servers = stage.servers(others);
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    for name in ["foreign", "external", "cluster", "alias", "text", "free"] {
        stage.object(name, 1, &[(&format!("{name}.apps.test"), "A", &["192.0.2.1"])]);
    }
    let program = stage.publish(&publication);
    for server in &servers {
        await_records(server, "free.apps.test", "A", &["192.0.2.1"]);
        let place = format!("apps.test at {}", server.address());
        for (name, reason) in [
            ("foreign", "records without a marker stand there (A)"),
            ("external", "an external-dns with the owner id"),
            ("cluster", "its marker is of the cluster"),
            ("alias", "records without a marker stand there (CNAME)"),
            ("text", "text that is no marker stands at the name of its marker"),
        ] {
            let told = || program.logged_with(&[&format!("place={place}"), &format!("name={name}.apps.test"), reason]);
            eventually(&format!("{}: {name} is told", server.software()), told);
        }
        for name in ["foreign", "external", "cluster"] {
            assert_eq!(records(server, &format!("{name}.apps.test"), "A"), set(&["192.0.2.77"]), "{name}");
        }
        assert_eq!(records(server, "alias.apps.test", "CNAME"), set(&["elsewhere.test."]));
        assert_eq!(records(server, "text.apps.test", "A"), set(&[]));
    }
}

#[test]
fn a_listed_name_is_taken_over_and_a_freed_one_is_published() {
    let stage = Stage::new();
    let servers = stage.servers("www A 192.0.2.77\nfreed A 192.0.2.77\n");
    let addresses: Vec<_> = servers.iter().map(|server| server.address()).collect();
    let zone = ("apps.test", addresses.as_slice(), "  adopt: [www.apps.test]\n");
    let publication = stage.publication("prod", &[zone]);
    stage.object("www", 1, &[("www.apps.test", "A", &["192.0.2.1"])]);
    stage.object("freed", 1, &[("freed.apps.test", "A", &["192.0.2.1"])]);
    let _program = stage.publish(&publication);
    servers.iter().for_each(|server| await_records(server, "www.apps.test", "A", &["192.0.2.1"]));
    servers.iter().for_each(|server| assert_eq!(records(server, "freed.apps.test", "A"), set(&["192.0.2.77"])));
    servers.iter().for_each(|server| stage.nsupdate(server, "update delete freed.apps.test A"));
    // Seen by the next scan, so within half a minute.
    for server in &servers {
        within_a_scan(&server.software().to_string(), || {
            records(server, "freed.apps.test", "A") == set(&["192.0.2.1"])
        });
    }
}

/// Publishes a host, spoils it on each server by these lines of nsupdate, and sees that it is put right there; so does `more`.
fn is_put_right(spoil: &str, more: impl Fn(&NameServer)) {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let _program = stage.publish(&publication);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.1"]);
        stage.nsupdate(server, spoil);
    }
    for server in &servers {
        within_a_scan(&server.software().to_string(), || {
            records(server, "video.apps.test", "A") == set(&["192.0.2.1"])
        });
        more(server);
    }
}

#[test]
fn what_somebody_changes_under_our_marker_is_put_right() {
    is_put_right("update delete video.apps.test A\nupdate add video.apps.test 60 A 192.0.2.66", |_| {});
}

#[test]
fn what_somebody_empties_is_filled_again_with_its_marker() {
    let emptied = "update delete video.apps.test A\nupdate delete video._nearside.apps.test TXT";
    is_put_right(emptied, |server| {
        assert_eq!(records(server, "video._nearside.apps.test", "TXT").len(), 1, "{}", server.software());
    });
}

#[test]
fn a_name_that_a_server_refuses_holds_up_nobody_else() {
    let stage = Stage::new();
    // Of the types that are read MX is none; a server that holds one says that the name is in use, whatever is read.
    let servers = stage.servers("n100 MX 10 mail.elsewhere.test.\n");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    let names: Vec<String> = (0..200).map(|number| format!("n{number}.apps.test")).collect();
    let all: Vec<(&str, &str, &[&str])> = names.iter().map(|name| (name.as_str(), "A", &["192.0.2.1"][..])).collect();
    stage.object("all", 1, &all);
    let program = stage.publish(&publication);
    for server in &servers {
        for name in names.iter().filter(|name| *name != "n100.apps.test") {
            await_records(server, name, "A", &["192.0.2.1"]);
        }
        let place = format!("place=apps.test at {}", server.address());
        eventually("the name at fault is told", || {
            program.logged_with(&[&place, "name=n100.apps.test", "left out for now"])
        });
        assert_eq!(records(server, "n100.apps.test", "A"), set(&[]));
    }
    stage.object("late", 1, &[("late.apps.test", "A", &["192.0.2.2"])]);
    servers.iter().for_each(|server| await_records(server, "late.apps.test", "A", &["192.0.2.2"]));
}

#[test]
fn of_more_addresses_than_resolvers_take_a_hundred_are_published() {
    let stage = Stage::new();
    let server = stage.server(Software::Bind, "");
    let publication = stage.apps(&[&server]);
    let addresses: Vec<String> = (1..=150).map(|number| format!("198.51.100.{number}")).collect();
    stage.object("many", 1, &[("many.apps.test", "A", &addresses.iter().map(String::as_str).collect::<Vec<_>>())]);
    let _program = stage.publish(&publication);
    eventually("published", || records(&server, "many.apps.test", "A").len() == 100);
}
