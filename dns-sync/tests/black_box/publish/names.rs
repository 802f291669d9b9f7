//! Names come, change and go: on every server, in several zones, in one piece to whoever asks.

use super::{NOTHING, Stage, await_records, records, set};
use crate::client::eventually;
use nearside_loadtest::name_servers::Software;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn names_come_change_and_go_on_every_server_with_their_markers() {
    let stage = Stage::new();
    let servers = stage.servers("* A 192.0.2.99\n");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    stage.object("other", 1, &[("other.apps.test", "A", &["192.0.2.9"])]);
    stage.object(
        "video",
        1,
        &[
            ("video.apps.test", "A", &["192.0.2.1", "192.0.2.2"]),
            ("video.apps.test", "AAAA", &["2001:db8::1"]),
            ("video--k3x7a.apps.test", "A", &["192.0.2.1"]),
        ],
    );
    let mut program = stage.publish(&publication);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.1", "192.0.2.2"]);
        await_records(server, "video.apps.test", "AAAA", &["2001:db8::1"]);
        await_records(server, "video--k3x7a.apps.test", "A", &["192.0.2.1"]);
        assert_eq!(server.ask("video.apps.test", "A").unwrap().ttl, Some(15));
        let markers = records(server, "video._nearside.apps.test", "TXT");
        assert!(markers.iter().any(|marker| marker.contains("nearside1 c=prod g=1 t=A,AAAA ")), "{markers:?}");
        assert_eq!(records(server, "unknown.apps.test", "A"), set(&["192.0.2.99"]), "{}", server.software());
    }
    stage.object("video", 2, &[("video.apps.test", "A", &["192.0.2.3"])]);
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.3"]);
        await_records(server, "video.apps.test", "AAAA", &[]);
        // Its alias goes with it: the wildcard answers again.
        await_records(server, "video--k3x7a.apps.test", "A", &["192.0.2.99"]);
        await_records(server, "video--k3x7a._nearside.apps.test", "TXT", &[]);
    }
    stage.remove("video");
    eventually("the deletion is told", || {
        program.logged_with(&["INFO", "name=video.apps.test", "its object is deleted"])
    });
    for server in &servers {
        await_records(server, "video.apps.test", "A", &["192.0.2.99"]);
        await_records(server, "video._nearside.apps.test", "TXT", &[]);
        assert_eq!(records(server, "other.apps.test", "A"), set(&["192.0.2.9"]));
    }
    assert!(!program.logged_with(&["WARN", "name=video.apps.test"]), "what goes as it should is no warning");
    assert_eq!(program.terminate(), Some(0));
}

#[test]
fn each_zone_is_published_on_its_own_servers_and_the_longest_takes_a_name() {
    let stage = Stage::new();
    let one = stage.server_of(Software::Knot, &["apps.test", "example.test"], "");
    let other = stage.server_of(Software::Bind, &["apps.test", "deep.apps.test"], "");
    let publication = stage.publication(
        "prod",
        &[
            ("apps.test", &[one.address(), other.address()], NOTHING),
            ("example.test", &[one.address()], NOTHING),
            ("deep.apps.test", &[other.address()], NOTHING),
        ],
    );
    stage.object(
        "all",
        1,
        &[
            ("a.apps.test", "A", &["192.0.2.1"]),
            ("a.example.test", "A", &["192.0.2.2"]),
            ("a.deep.apps.test", "A", &["192.0.2.3"]),
            ("a.elsewhere.test", "A", &["192.0.2.4"]),
        ],
    );
    let _program = stage.publish(&publication);
    await_records(&one, "a.apps.test", "A", &["192.0.2.1"]);
    await_records(&other, "a.apps.test", "A", &["192.0.2.1"]);
    await_records(&one, "a.example.test", "A", &["192.0.2.2"]);
    await_records(&other, "a.deep.apps.test", "A", &["192.0.2.3"]);
    assert_eq!(records(&one, "a.deep.apps.test", "A"), set(&[]));
}

#[test]
fn whoever_asks_sees_the_old_or_the_new_addresses_and_never_none_in_a_hundred_swaps() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    let of = |round: usize| [format!("192.0.2.{}", 1 + round % 2 * 2), format!("192.0.2.{}", 2 + round % 2 * 2)];
    let put = |round: usize| {
        let addresses = of(round);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        stage.object("video", round as u64 + 1, &[("video.apps.test", "A", &addresses)]);
    };
    let await_round = |round: usize| {
        let addresses = of(round);
        servers
            .iter()
            .for_each(|server| await_records(server, "video.apps.test", "A", &[&addresses[0], &addresses[1]]));
    };
    put(0);
    let _program = stage.publish(&publication);
    await_round(0);
    let stop = AtomicBool::new(false);
    let asked: Vec<AtomicUsize> = servers.iter().map(|_| AtomicUsize::new(0)).collect();
    let whole = [set(&["192.0.2.1", "192.0.2.2"]), set(&["192.0.2.3", "192.0.2.4"])];
    std::thread::scope(|scope| {
        for (server, asked) in servers.iter().zip(&asked) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seen = server.ask("video.apps.test", "A").unwrap().records;
                    assert!(whole.contains(&seen), "{}: {seen:?}", server.software());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The scope waits for those who ask: they stop also where a round fails.
        let _stop = Stop(&stop);
        for round in 1..=100 {
            put(round);
            await_round(round);
        }
    });
    assert!(asked.iter().all(|asked| asked.load(Ordering::Relaxed) > 100));
}

/// Sets a flag when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_restart_writes_nothing_and_a_dry_run_never_does() {
    let stage = Stage::new();
    let servers = stage.servers("");
    let publication = stage.apps(&servers.iter().collect::<Vec<_>>());
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"])]);
    let mut program = stage.publish(&publication);
    servers.iter().for_each(|server| await_records(server, "video.apps.test", "A", &["192.0.2.1"]));
    assert_eq!(program.terminate(), Some(0));
    let serials = || servers.iter().map(|server| server.serial("apps.test").unwrap()).collect::<Vec<_>>();
    let before = serials();
    let mut program = stage.publish(&publication);
    eventually("objects are known", || program.logged("every DNSEndpoint is known").is_some());
    // What differs is told when it was read, so what does not was read as well.
    stage.object("new", 1, &[("new.apps.test", "A", &["192.0.2.2"])]);
    servers.iter().for_each(|server| await_records(server, "new.apps.test", "A", &["192.0.2.2"]));
    let one_more: Vec<u32> = before.iter().map(|serial| serial + 1).collect();
    assert_eq!(serials(), one_more, "one change, one serial: BIND, Knot, PowerDNS");
    assert_eq!(program.terminate(), Some(0));

    stage.object("new", 2, &[("new.apps.test", "A", &["192.0.2.3"])]);
    let mut command = stage.command("publish", &publication, "objects");
    command.arg("--dry-run");
    let program = crate::program::Program::spawn(command);
    eventually("it says what it would do", || program.logged("would be written: replace").is_some());
    assert_eq!(serials(), one_more);
}

#[test]
fn plan_shows_what_would_change_and_its_exit_code_tells_whether_anything_would() {
    let stage = Stage::new();
    let server = stage.server(Software::Knot, "theirs A 192.0.2.77\n");
    let publication = stage.apps(&[&server]);
    stage.object("video", 1, &[("video.apps.test", "A", &["192.0.2.1"]), ("theirs.apps.test", "A", &["192.0.2.2"])]);
    let (code, text) = stage.plan(&publication);
    assert_eq!(code, Some(1), "{text}");
    for line in
        ["+ video.apps.test", "    + 15 A 192.0.2.1", "! theirs.apps.test  (records without a marker stand there (A))"]
    {
        assert!(text.lines().any(|said| said == line), "{line} is not in {text}");
    }
    assert_eq!(records(&server, "video.apps.test", "A"), set(&[]));
    let program = stage.publish(&publication);
    await_records(&server, "video.apps.test", "A", &["192.0.2.1"]);
    drop(program);
    let (code, text) = stage.plan(&publication);
    assert_eq!(code, Some(0), "{text}");
    drop(server);
    let (code, text) = stage.plan(&publication);
    assert!(code == Some(2) && text.contains("cannot be read: cannot connect"), "{text}");
}
