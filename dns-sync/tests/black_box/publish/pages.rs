//! What a publisher shows of itself to those whom its admin port lets in: the status, and the page for browsers.

use super::Stage;
use crate::client::PATIENCE;
use crate::program::{Program, command};
use nearside_loadtest::name_servers::Software;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

#[test]
fn status_and_page_are_shown_to_who_knows_the_password() {
    let stage = Stage::new();
    let knot = stage.server(Software::Knot, "");
    let publication = stage.apps(&[&knot]);
    stage.object("a", 1, &[("a.apps.test", "A", &["192.0.2.1"])]);
    let password = stage.path("password");
    std::fs::write(&password, "open sesame\n").unwrap();
    let mut publish = stage.command("publish", &publication, "objects");
    publish.args(["--admin-listen", "127.0.0.1:0", "--admin-username", "reader", "--admin-password-file"]);
    publish.arg(&password);
    let program = Program::spawn(publish);
    let admin = program.address("admin port open");
    let status = |arguments: &[&str]| -> Output {
        command(&["status", "--admin", &admin.to_string()]).args(arguments).output().unwrap()
    };
    let stranger = status(&[]);
    let said = String::from_utf8(stranger.stderr).unwrap();
    assert_eq!(stranger.status.code(), Some(1));
    assert!(said.contains("401") && said.contains("--password-file"), "{said}");
    let reader = ["--username", "reader", "--password-file", password.to_str().unwrap()];
    let shown = status(&[&reader[..], &["--host", "a.apps.test", "--wait", "60"]].concat());
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && text.contains("router/a"), "{text}");
    let page = get(admin, "/", "Authorization: Basic cmVhZGVyOm9wZW4gc2VzYW1l\r\n");
    assert!(page.contains("text/html") && page.contains("Publication of prod"), "{page}");
    assert!(page.contains("a.apps.test") && page.contains(&knot.address().to_string()), "{page}");
    assert!(get(admin, "/", "").starts_with("HTTP/1.1 401"));
}

fn get(admin: std::net::SocketAddr, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
