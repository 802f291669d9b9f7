//! Floods of each kind end, and what ordinary clients do never does, however long.

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, content].concat()
}

fn connected() -> Conduct {
    let mut conduct = Conduct::new();
    assert_eq!(conduct.received(&[b'x'; PREFACE as usize], Duration::ZERO), None);
    conduct
}

fn begin(conduct: &mut Conduct, stream: u32, now: Duration) {
    assert_eq!(conduct.received(&frame(HEADERS, END_HEADERS | END_STREAM, stream, b"x"), now), None);
}

#[test]
fn a_flood_of_any_kind_is_found_after_its_burst() {
    for (kind, flags, content, abuse) in [
        (PING, 0, &[0; 8][..], Abuse::Ping),
        (PING, 1, &[0; 8], Abuse::Ping),
        (SETTINGS, 0, &[], Abuse::Settings),
        (SETTINGS, 1, &[], Abuse::Settings),
        (PRIORITY, 0, &[0; 5], Abuse::Priority),
        (PRIORITY_UPDATE, 0, &[0; 5], Abuse::Priority),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1], Abuse::WindowUpdate),
        (DATA, 0, &[], Abuse::Empty),
        (CONTINUATION, 0, &[], Abuse::Empty),
        (RST_STREAM, 0, &[0, 0, 0, 8], Abuse::Reset),
        (0xfa, 0, &[1, 2, 3], Abuse::Unknown),
    ] {
        let (mut conduct, frame) = (connected(), frame(kind, flags, 1, content));
        let burst = COUNTED.iter().find(|(counted, _)| *counted == abuse).unwrap().1.burst;
        for number in 0..burst {
            assert_eq!(conduct.received(&frame, Duration::ZERO), None, "{abuse:?} {number}");
        }
        assert_eq!(conduct.received(&frame, Duration::ZERO), Some(abuse));
    }
}

#[test]
fn what_comes_no_faster_than_it_is_forgiven_never_ends_a_connection() {
    let (mut conduct, mut now) = (connected(), Duration::ZERO);
    for _ in 0..10_000 {
        now += Duration::from_secs(1);
        for _ in 0..H2_ABUSE_PING.per_second {
            assert_eq!(conduct.received(&frame(PING, 0, 0, &[0; 8]), now), None);
        }
        assert_eq!(conduct.received(&frame(SETTINGS, 0, 0, &[]), now), None);
    }
}

#[test]
fn a_download_may_be_acknowledged_and_measured_part_by_part() {
    let (mut conduct, now) = (connected(), Duration::ZERO);
    for _ in 0..20_000 {
        assert_eq!(conduct.sent(&frame(DATA, 0, 1, b"part"), now), None);
        assert_eq!(conduct.received(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 4]), now), None);
        assert_eq!(conduct.received(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 4]), now), None);
        assert_eq!(conduct.received(&frame(PING, 0, 0, &[0; 8]), now), None);
    }
}

#[test]
fn streams_may_be_given_up_that_are_answered_or_were_waited_for() {
    let (mut conduct, mut stream) = (connected(), 1);
    for _ in 0..10_000 {
        begin(&mut conduct, stream, Duration::ZERO);
        assert_eq!(conduct.sent(&frame(HEADERS, END_HEADERS, stream, b"x"), Duration::ZERO), None);
        assert_eq!(conduct.received(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]), Duration::ZERO), None);
        stream += 2;
    }
    let mut now = Duration::ZERO;
    for _ in 0..100 {
        let batch = stream..stream + 1000;
        batch.clone().step_by(2).for_each(|stream| begin(&mut conduct, stream, now));
        now += H2_YOUNG_STREAM * 2;
        for stream in batch.step_by(2) {
            assert_eq!(conduct.received(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]), now), None, "{now:?}");
        }
        stream += 1000;
    }
}

#[test]
fn streams_that_are_given_up_at_once_are_counted_however_long_the_connection_lives() {
    let (mut conduct, mut now, mut stream) = (connected(), Duration::ZERO, 1);
    let mut found = None;
    for _ in 0..1000 {
        now += Duration::from_millis(10);
        begin(&mut conduct, stream, now);
        found = found.or_else(|| conduct.received(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]), now));
        stream += 2;
    }
    assert_eq!(found, Some(Abuse::Reset));
}

#[test]
fn resets_that_a_client_provokes_are_counted_and_others_are_not() {
    let (mut conduct, now) = (connected(), Duration::ZERO);
    for _ in 0..1000 {
        for code in [0, 2, 7, 8] {
            assert_eq!(conduct.sent(&frame(RST_STREAM, 0, 1, &[0, 0, 0, code]), now), None);
        }
    }
    let mut found = None;
    for number in 0..=usize::from(H2_ABUSE_PROVOKED.burst) {
        let code = [1, 3, 5, 6, 11][number % 5];
        found = found.or_else(|| conduct.sent(&frame(RST_STREAM, 0, 1, &[0, 0, 0, code]), now));
    }
    assert_eq!(found, Some(Abuse::ProvokedReset));
}

#[test]
fn a_header_goes_on_until_it_says_that_it_ends() {
    let (mut conduct, now) = (connected(), Duration::ZERO);
    for (kind, flags, open) in
        [(HEADERS, END_HEADERS, false), (HEADERS, 0, true), (CONTINUATION, 0, true), (CONTINUATION, END_HEADERS, false)]
    {
        assert_eq!(conduct.received(&frame(kind, flags, 5, b"x"), now), None);
        assert_eq!(conduct.is_in_header(), open);
    }
    let whole = frame(HEADERS, END_HEADERS, 5, b"x");
    assert_eq!(conduct.received(&whole[..9], now), None);
    assert!(conduct.is_in_header());
    assert_eq!(conduct.received(&whole[9..], now), None);
    assert!(!conduct.is_in_header());
    assert_eq!(conduct.last_stream(), 5);
    assert!(conduct.may_send_frame());
    assert_eq!(conduct.sent(&frame(DATA, 0, 5, b"part")[..10], now), None);
    assert!(!conduct.may_send_frame());
}
