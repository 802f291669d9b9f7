//! The real name servers that other tests rely on: each answers, is changed and transferred with its key alone, follows a primary,
//! and comes back with what it had.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use nearside_loadtest::lab::Place;
use nearside_loadtest::name_servers::{NameServer, Setup, Software, TsigKey, Zone, free_address, zone_text};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ZONE: &str = "z.test";

fn key() -> TsigKey {
    TsigKey::new("the-key", "hmac-sha256", "one")
}

fn setup() -> Setup {
    let zone = Zone::primary(ZONE, &zone_text(ZONE, "www A 192.0.2.1\n"), &key());
    Setup { zones: vec![zone], keys: vec![key()] }
}

/// What `nsupdate` says to a change; nothing when it succeeded.
fn update(server: SocketAddr, key: Option<&TsigKey>, change: &str) -> String {
    let mut command = Command::new("nsupdate");
    if let Some(key) = key {
        command.arg("-y").arg(format!("{}:{}:{}", key.algorithm, key.name, key.secret));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let script = format!("server {} {}\nzone {ZONE}\n{change}\nsend\n", server.ip(), server.port());
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of a transfer with `dig`.
fn transfer(server: SocketAddr, key: Option<&TsigKey>) -> Vec<String> {
    let mut command = Command::new("dig");
    command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), ZONE, "AXFR", "+noall", "+answer"]);
    if let Some(key) = key {
        command.arg("-y").arg(format!("{}:{}:{}", key.algorithm, key.name, key.secret));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).map(ToOwned::to_owned).collect()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn changed_with_its_key_alone(software: Software) {
    let server = NameServer::start(software, &setup()).unwrap();
    let answer = server.ask("www.z.test", "A").unwrap();
    assert_eq!((answer.rcode.as_str(), answer.authoritative, answer.ttl), ("No Error", true, Some(30)));
    assert_eq!(answer.records, ["192.0.2.1".to_owned()].into());
    assert_eq!(server.serial(ZONE).unwrap(), 1);

    for (key, allowed) in
        [(None, false), (Some(TsigKey::new("the-key", "hmac-sha256", "two")), false), (Some(key()), true)]
    {
        let said = update(server.address(), key.as_ref(), "update add new.z.test 30 A 192.0.2.7");
        assert_eq!(said.is_empty(), allowed, "{software}: {said}");
        assert_eq!(!server.ask("new.z.test", "A").unwrap().records.is_empty(), allowed, "{software}");
        assert_eq!(!transfer(server.address(), key.as_ref()).is_empty(), allowed, "{software}");
    }
    assert_eq!(server.serial(ZONE).unwrap(), 2);
}

#[test]
fn bind_is_changed_with_its_key_alone() {
    changed_with_its_key_alone(Software::Bind);
}

#[test]
fn knot_is_changed_with_its_key_alone() {
    changed_with_its_key_alone(Software::Knot);
}

#[test]
fn powerdns_is_changed_with_its_key_alone() {
    changed_with_its_key_alone(Software::PowerDns);
}

#[test]
fn a_secondary_follows_its_primary() {
    for primary_software in Software::ALL {
        let ip = [127, 0, 0, 1].into();
        let addresses = Software::ALL.map(|_| free_address(&Place::host(), ip).unwrap());
        let mut setup = setup();
        setup.zones[0].notify = addresses.to_vec();
        let primary = NameServer::start(primary_software, &setup).unwrap();
        let copy = Setup { zones: vec![Zone::secondary(ZONE, primary.address(), &key())], keys: vec![key()] };
        let directories = Software::ALL.map(|_| tempfile::tempdir().unwrap());
        let secondaries: Vec<NameServer> = Software::ALL
            .iter()
            .zip(addresses)
            .zip(&directories)
            .map(|((software, address), at)| {
                NameServer::start_at(*software, &copy, &Place::host(), address, at.path()).unwrap()
            })
            .collect();
        for secondary in &secondaries {
            eventually(&format!("{} from {primary_software}:\n{}", secondary.software(), secondary.log()), || {
                secondary.serial(ZONE).is_ok()
            });
        }
        assert_eq!(update(primary.address(), Some(&key()), "update add new.z.test 30 A 192.0.2.7"), "");
        for secondary in &secondaries {
            eventually(&format!("{} follows {primary_software}", secondary.software()), || {
                secondary.ask("new.z.test", "A").is_ok_and(|answer| answer.records.len() == 1)
            });
        }
    }
}

#[test]
fn a_server_that_is_started_again_has_what_it_had() {
    for software in Software::ALL {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address(&Place::host(), [127, 0, 0, 1].into()).unwrap();
        let start = || NameServer::start_at(software, &setup(), &Place::host(), address, directory.path()).unwrap();
        let server = start();
        assert_eq!(update(address, Some(&key()), "update add new.z.test 30 A 192.0.2.7"), "");
        server.stop().unwrap();
        assert_eq!(start().ask("new.z.test", "A").unwrap().records.len(), 1, "{software}");
    }
}
