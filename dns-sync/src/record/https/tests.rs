//! HTTPS records against the test vectors of RFC 9460 Appendix D and against themselves.

use super::*;
use proptest::prelude::*;

fn https(text: &str) -> Https {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_vectors_of_rfc_9460_appendix_d() {
    let foo = b"\x03foo\x07example\x03com\x00";
    for (text, wire) in [
        ("0 foo.example.com.", [b"\x00\x00", &foo[..]].concat()),
        ("1 .", b"\x00\x01\x00".to_vec()),
        ("16 foo.example.com. port=53", [b"\x00\x10", &foo[..], b"\x00\x03\x00\x02\x00\x35"].concat()),
        ("1 foo.example.com. key667=hello", [b"\x00\x01", &foo[..], b"\x02\x9b\x00\x05hello"].concat()),
        (
            r#"1 foo.example.com. key667="hello\210qoo""#,
            [b"\x00\x01", &foo[..], b"\x02\x9b\x00\x09hello\xd2qoo"].concat(),
        ),
        (
            "1 foo.example.com. ipv6hint=\"2001:db8::1,2001:db8::53:1\"",
            [
                b"\x00\x01",
                &foo[..],
                b"\x00\x06\x00\x20\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
                b"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x53\x00\x01",
            ]
            .concat(),
        ),
        (
            "16 foo.example.com. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
            [
                b"\x00\x10",
                &foo[..],
                b"\x00\x00\x00\x04\x00\x01\x00\x04\x00\x01\x00\x09\x02h2\x05h3-19\x00\x04\x00\x04\xc0\x00\x02\x01",
            ]
            .concat(),
        ),
        (
            r#"16 foo.example.com. alpn="f\\\\oo\\,bar,h2""#,
            [b"\x00\x10", &foo[..], b"\x00\x01\x00\x0c\x08f\\oo,bar\x02h2"].concat(),
        ),
        (
            r"16 foo.example.com. alpn=f\\\092oo\092,bar,h2",
            [b"\x00\x10", &foo[..], b"\x00\x01\x00\x0c\x08f\\oo,bar\x02h2"].concat(),
        ),
    ] {
        let record = https(text);
        assert_eq!(record.to_wire(), wire, "{text}");
        assert_eq!(Https::from_wire(&wire).as_ref(), Ok(&record), "{text}");
        assert_eq!(https(&record.to_string()), record, "{record}");
    }
}

#[test]
fn what_is_written_is_what_tools_write() {
    for (text, written) in [
        ("1 . alpn=h2,http/1.1", r#"1 . alpn="h2,http/1.1""#),
        (
            " 2  Svc.Example.COM  no-default-alpn port=8443 alpn=\"h3\" ",
            r#"2 svc.example.com. alpn="h3" no-default-alpn port=8443"#,
        ),
        ("1 . ipv4hint=192.0.2.1,192.0.2.2 mandatory=ipv4hint", "1 . mandatory=ipv4hint ipv4hint=192.0.2.1,192.0.2.2"),
        ("1 . key7=\"/dns{?q}\"", "1 . key7=\"/dns{?q}\""),
    ] {
        assert_eq!(https(text).to_string(), written);
    }
}

#[test]
fn a_malformed_record_says_what_is_wrong() {
    for (text, expected) in [
        ("", "priority"),
        ("one . alpn=h2", "priority"),
        ("70000 .", "priority"),
        ("1", "the target name is missing"),
        ("1 a..b", "empty label"),
        ("1 . ech=AAAA", "\"ech\" is not known"),
        ("1 . key01=x", "\"key01\" is not known"),
        ("1 . key65535=x", "reserves as invalid"),
        ("1 . port=99999", "is no port number"),
        ("1 . port", "value of port is missing"),
        ("1 . alpn=\"h2", "unfinished"),
        ("1 . alpn=h2,,h3", "empty protocol"),
        ("1 . alpn=h2 alpn=h3", "given twice"),
        ("1 . no-default-alpn", "needs alpn"),
        ("1 . no-default-alpn=x alpn=h2", "must be absent"),
        ("1 . ipv4hint=2001:db8::1", "is no list of IP addresses"),
        ("1 . mandatory=alpn", "names alpn"),
        ("1 . mandatory=mandatory", "not itself"),
        ("1 . mandatory=port,port port=1", "each key once"),
        ("0 other.example. alpn=h2", "no parameters"),
        (r"1 . key9=\30", "unfinished"),
    ] {
        let error = text.parse::<Https>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let long = format!("1 . key9={}", "x".repeat(5000));
    assert_eq!(long.parse::<Https>(), Err(HttpsError::TooLong));
}

fn record() -> impl Strategy<Value = Https> {
    let params = prop::collection::btree_map(
        prop_oneof![Just(ALPN), Just(PORT), Just(IPV4HINT), Just(IPV6HINT), 7..300_u16],
        prop::collection::vec(any::<u8>(), 0..40),
        0..5,
    );
    (1..u16::MAX, prop_oneof![Just("."), Just("svc.example.com.")], params).prop_map(|(priority, target, params)| {
        let target = if target == "." { root() } else { target.parse().unwrap() };
        let fit = |key: u16, octets: Vec<u8>| -> Vec<u8> {
            match key {
                ALPN => {
                    let id: Vec<u8> = octets.iter().map(|octet| b'!' + octet % 94).chain([b'x']).collect();
                    [&[u8::try_from(id.len()).unwrap()][..], &id].concat()
                }
                PORT => vec![octets.first().copied().unwrap_or(1), 0],
                IPV4HINT => [octets, vec![1; 4]].concat().as_chunks::<4>().0[0].into(),
                IPV6HINT => [octets, vec![1; 16]].concat().as_chunks::<16>().0[0].into(),
                _ => octets,
            }
        };
        let params = params.into_iter().map(|(key, octets)| (key, fit(key, octets).into())).collect();
        Https { priority, target, params }.checked().unwrap()
    })
}

proptest! {
    #[test]
    fn text_and_wire_give_back_the_record(record in record()) {
        prop_assert_eq!(&record.to_string().parse::<Https>().unwrap(), &record);
        prop_assert_eq!(&Https::from_wire(&record.to_wire()).unwrap(), &record);
    }

    #[test]
    fn no_text_and_no_octets_panic(text in ".{0,60}", params in "[01] \\. [a-z0-9=,\\\\\" ]{0,40}", octets in prop::collection::vec(any::<u8>(), 0..60)) {
        for text in [text, params] {
            if let Ok(record) = text.parse::<Https>() {
                prop_assert_eq!(record.to_string().parse::<Https>().unwrap(), record);
            }
        }
        if let Ok(record) = Https::from_wire(&octets) {
            // The target is kept in lower case.
            prop_assert_eq!(record.to_wire().to_ascii_lowercase(), octets.to_ascii_lowercase());
        }
    }
}
