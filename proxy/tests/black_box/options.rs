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
        lines.iter().zip(["--node-name", "--http-listen", "--on-miss", "--read-timeout", "--default-cert"])
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
    assert!(
        error.starts_with("nearside-proxy: --default-cert: ") && error.contains("does not belong to the certificate"),
        "{error}"
    );
}

#[test]
fn words_and_files_of_tls_are_checked() {
    for (flags, at_fault) in [
        (&["--tls-min-version=1.4"][..], "--tls-min-version: \"1.4\" is not one of 1.2, 1.3"),
        (&["--tls-min-version=1.3", "--tls-max-version=1.2"], "--tls-max-version: no version is left"),
        (&["--tls-cipher-suites=ECDHE-RSA-AES128-GCM-SHA999"], "--tls-cipher-suites: \"ECDHE-RSA-AES128-GCM-SHA999\""),
        (&["--tls-curves=P-256:P-257"], "--tls-curves: \"P-257\" is no group that is known"),
        (&["--client-tls=required"], "--client-tls-ca: is required with --client-tls"),
        (&["--client-tls=must"], "--client-tls: \"must\" is not one of none, optional, required"),
        (&["--client-tls=required", "--client-tls-ca=/nothing"], "--client-tls-ca: /nothing: "),
        (&["--client-tls-filter=("], "--client-tls-filter: regex parse error"),
        (&["--client-tls-header-filter=perhaps"], "--client-tls-header-filter: \"perhaps\" is not one of true, false"),
        (&["--client-hello-timeout=0s"], "--client-hello-timeout: must be more than 0"),
        (&["--destination-ca=/nothing"], "--destination-ca: /nothing: "),
    ] {
        let (code, error) = run(&[&["--node-name=n1"], flags].concat());
        assert_eq!(code, Some(2), "{flags:?}");
        assert!(error.starts_with(&format!("nearside-proxy: {at_fault}")), "{error}");
    }
}

#[test]
fn an_unknown_flag_is_unusable_and_said_in_one_line() {
    let (code, error) = run(&["--nod-name=n1"]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("nearside-proxy: ") && error.contains("--nod-name"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
