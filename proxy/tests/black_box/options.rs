//! Unusable flags: exit code 2 and one line for each.

use std::process::Command;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_nearside-proxy")).env_clear().args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn each_mistake_has_a_line() {
    let (code, error) =
        run(&["--http-listen=nowhere", "--on-miss=maybe", "--default-key=/nothing", "--read-timeout=3"]);
    assert_eq!(code, Some(2));
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    for (line, flag) in
        lines.iter().zip(["--node-name", "--http-listen", "--on-miss", "--default-cert", "--read-timeout"])
    {
        assert!(line.starts_with(&format!("nearside-proxy: {flag}: ")), "{line}");
    }
}

#[test]
fn a_default_certificate_must_be_usable() {
    let files = tempfile::tempdir().unwrap();
    let ca = nearside_loadtest::certificates::TestCa::new("test").unwrap();
    let (one, other) = (ca.identity(&["a"]).unwrap(), ca.identity(&["b"]).unwrap());
    let (certificate, key) = (files.path().join("crt"), files.path().join("key"));
    std::fs::write(&certificate, one.certificate).unwrap();
    std::fs::write(&key, other.key).unwrap();
    let flags = [format!("--default-cert={}", certificate.display()), format!("--default-key={}", key.display())];
    let (code, error) = run(&["--node-name=n1", &flags[0], &flags[1]]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("nearside-proxy: --default-cert: ") && error.contains("does not belong"), "{error}");
}

#[test]
fn an_unknown_flag_is_unusable_and_said_in_one_line() {
    let (code, error) = run(&["--nod-name=n1"]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("nearside-proxy: ") && error.contains("--nod-name"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
