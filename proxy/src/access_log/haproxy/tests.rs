//! Formats and the lines that they make of one record, and what no value can do to a line.

use super::super::termination::Phase;
use super::record::RequestParts;
use super::*;
use crate::access_log::Counts;
use crate::connection::Arrived;
use crate::http::timers::Steps;
use http::{Method, Version};
use std::time::{Duration, SystemTime};

fn record<'l>(method: &'l Method) -> Record<'l> {
    let milliseconds = |ms| Some(Duration::from_millis(ms));
    Record {
        host: "n1",
        client: "198.18.0.9:33317".parse().unwrap(),
        local: "10.0.0.1:443".parse().unwrap(),
        accepted: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_251_199_007),
        begun: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_251_199_655),
        frontend: "fe_sni",
        tls: Some(("TLSv1.3".into(), "TLS13_AES_256_GCM_SHA384".into())),
        server_name: "a.example.com",
        backend: "be_edge_http:shop:web".into(),
        server: "pod:web-1:web::10.1.2.3:8080".into(),
        server_address: Some("10.1.2.3:8080".parse().unwrap()),
        arrived: Arrived {
            handshake: Duration::from_millis(5),
            idle: Duration::from_millis(2),
            header: Duration::from_millis(10),
        },
        steps: Steps {
            wait: Some(Duration::ZERO),
            connect: milliseconds(30),
            response: milliseconds(69),
            data: milliseconds(1),
        },
        active: Duration::from_millis(110),
        status: 200,
        sent: 2750,
        received: 12,
        termination: *b"--VN",
        counts: Counts { process: 4, frontend: 3, backend: 2, server: 1 },
        retries: 1,
        request: Some(RequestParts { method, path: "/index.html", query: Some("a=1"), version: Version::HTTP_11 }),
        request_cookie: Some(b"session=1"),
        response_cookie: None,
        request_fields: vec![Some(b"a.example.com"), None],
        response_fields: vec![],
        unique_id: "7",
    }
}

fn line(format: &str) -> String {
    format.parse::<HaproxyFormat>().unwrap().line(&record(&Method::GET))
}

#[test]
fn the_default_lines_are_those_of_haproxy() {
    assert_eq!(
        HaproxyFormat::http().line(&record(&Method::GET)),
        "198.18.0.9:33317 [29/Feb/2024:23:59:59.655] fe_sni~ be_edge_http:shop:web/pod:web-1:web::10.1.2.3:8080 \
         10/0/30/69/110 200 2750 session=1 - --VN 4/3/2/1/+1 0/0 {a.example.com|} \"GET /index.html?a=1 HTTP/1.1\""
    );
    let mut connection = record(&Method::GET);
    connection.steps = Steps::default();
    connection.request = None;
    connection.frontend = "public_ssl";
    connection.arrived = Arrived::default();
    assert_eq!(
        HaproxyFormat::tcp().line(&connection),
        "198.18.0.9:33317 [29/Feb/2024:23:59:59.007] public_ssl \
         be_edge_http:shop:web/pod:web-1:web::10.1.2.3:8080 -1/-1/110 2750 -- 4/3/2/1/+1 0/0"
    );
}

#[test]
fn each_variable_has_its_value() {
    for (format, expected) in [
        ("%ci:%cp %fi:%fp %si:%sp %H", "198.18.0.9:33317 10.0.0.1:443 10.1.2.3:8080 n1"),
        ("%{+X}o%ci_%fp %{-X}fp", "C6120009_1BB 443"),
        ("%t|%trg|%Ts%ms", "29/Feb/2024:23:59:59.007|29/Feb/2024:23:59:59 +0000|1709251199007"),
        ("%Th/%Ti/%TR/%Tw/%Tc/%Tr/%Td/%Ta/%Tt/%Tu/%Tq", "5/2/10/0/30/69/1/110/117/112/17"),
        ("%HM %HP %HQ %HU %HV", "GET /index.html ?a=1 /index.html?a=1 HTTP/1.1"),
        ("%ST %B %U %ts %tsc %ID", "200 2750 12 -- --VN 7"),
        ("%f %ft %sslv %sslc", "fe_sni fe_sni~ TLSv1.3 TLS13_AES_256_GCM_SHA384"),
        ("%{+Q}CS %CS %{+Q,+X}cp", "\"\" - 8225"),
        ("%hr  %hs  %{+Q}r", "{a.example.com|} \"GET /index.html?a=1 HTTP/1.1\""),
        ("%[capture.req.hdr(0)] %[capture.req.hdr(9)] %[ssl_fc_sni]", "a.example.com - a.example.com"),
        ("100%%\\%ci\\ \\\"%ci\\\"", "100%%ci \"198.18.0.9\""),
        ("  a   b ", "a b "),
    ] {
        assert_eq!(line(format), expected, "{format}");
    }
}

#[test]
fn every_variable_writes_one_line_whatever_the_values_are() {
    let hostile: &[u8] = b"a\r\n<14>Jan 1 forged {|} \" \\ ] # \x00\x7f\xff\xe2\x80\xa8";
    let text = String::from_utf8_lossy(hostile);
    let method = Method::from_bytes(b"G|T").unwrap();
    let mut record = record(&method);
    record.server_name = &text;
    record.unique_id = &text;
    record.backend = text.to_string();
    record.request = Some(RequestParts { method: &method, path: &text, query: Some(&text), version: Version::HTTP_2 });
    record.request_cookie = Some(hostile);
    record.response_cookie = Some(hostile);
    record.request_fields = vec![Some(hostile); 3];
    record.response_fields = vec![Some(hostile)];
    for flags in ["", "{+Q}", "{+E}", "{+Q,+E,+X}"] {
        let variables = VARIABLES.iter().map(|(name, _)| (*name).to_owned());
        let samples = SAMPLES.iter().map(|(name, _)| format!("[{name}]"));
        for name in variables.chain(samples).chain(["[capture.res.hdr(0)]".to_owned()]) {
            let line = format!("%{flags}{name}").parse::<HaproxyFormat>().unwrap().line(&record);
            assert!(line.bytes().all(|byte| (32..127).contains(&byte)), "{name}: {line:?}");
        }
    }
    let quoted = "%{+Q}r".parse::<HaproxyFormat>().unwrap().line(&record);
    assert_eq!(quoted.matches('"').count(), 2, "{quoted}");
    let fields = "%hr".parse::<HaproxyFormat>().unwrap().line(&record);
    assert_eq!(fields.matches(['{', '|', '}']).count(), 4, "{fields}");
}

#[test]
fn what_has_no_meaning_here_is_a_mistake() {
    for format in [
        "",
        "%",
        "%zz",
        "%cix",
        "%{+Z}ci",
        "%{Q}ci",
        "%{+Q",
        "%[src",
        "%[var(txn.a)]",
        "%[capture.req.hdr(x)]",
        "a\\",
        "a\nb",
        "%[capture.req.hdr(+1)]",
    ] {
        assert!(format.parse::<HaproxyFormat>().is_err(), "{format:?}");
    }
    let message = "%ci %zebra".parse::<HaproxyFormat>().unwrap_err();
    assert!(message.starts_with("at \"%zebra\": "), "{message}");
    assert!("%ci".repeat(2000).parse::<HaproxyFormat>().is_err(), "too long");
}

#[test]
fn a_request_that_waited_in_vain_is_told_from_one_that_never_had_a_pod() {
    use super::super::termination::{Persistence, letters};
    assert_eq!(letters(Some("pod_busy"), Phase::Queue, Persistence::Off, false), *b"sQ--");
    assert_eq!(letters(Some("no_endpoint"), Phase::Request, Persistence::Off, false), *b"SC--");
}
