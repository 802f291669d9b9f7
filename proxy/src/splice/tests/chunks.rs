//! Bodies of unknown length over real sockets: what a client reads in chunks is what the pod sent, however it was cut, and never
//! looks complete where it is not.

use super::*;
use crate::chunked::{Chunked, Malformed};
use bytes::Bytes;
use prop::sample::Index;

/// Another reader than those that are tested: chunks of one form, up to the last one.
fn decoded(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line = wire.windows(2).take(20).position(|end| end == b"\r\n")?;
        let digits = std::str::from_utf8(&wire[..line]).ok()?;
        let size = usize::from_str_radix(digits, 16).ok().filter(|size| digits == format!("{size:x}"))?;
        wire = &wire[line + 2..];
        if size == 0 {
            return (wire == b"\r\n").then_some(data);
        }
        data.extend_from_slice(wire.get(..size)?);
        wire = wire[size..].strip_prefix(b"\r\n")?;
    }
}

/// How a body is sent, and how the two ends behave.
#[derive(Clone, Debug)]
struct Case {
    /// Bytes of each chunk of the pod, and what else is in its line.
    chunks: Vec<(usize, &'static str, &'static str)>,
    trailers: &'static str,
    /// Bytes that the pod sends after the body.
    surplus: usize,
    /// What was passed on before, of everything that the pod sends, and what was read then and was not.
    begun: Index,
    early: Index,
    written: usize,
    read: usize,
    buffers: Option<usize>,
    budget: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let around = |size: usize| size - 3..size + 700;
    let size = prop_oneof![
        6 => 1..300usize,
        2 => 1..20_000usize,
        1 => around(512),
        1 => around(32 * 1024),
        1 => around(64 * 1024),
        1 => 100_000..1_500_000usize,
    ];
    let before = prop_oneof![4 => Just(""), 1 => Just("0"), 1 => Just("000")];
    let after = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just(";name=\"0; 5\"")];
    let chunks = prop::collection::vec((size, before, after), 0..14);
    let trailers = prop_oneof![2 => Just(""), 1 => Just("X-Sum: 0\r\n")];
    let surplus = prop_oneof![2 => Just(0usize), 1 => 1..3000usize];
    let part = || prop_oneof![20..3000usize, 50_000..500_000usize];
    let buffers = prop_oneof![Just(None), (16_000..200_000usize).prop_map(Some)];
    let budget = prop_oneof![Just(0usize), Just(64 * 1024), Just(8 * 1024 * 1024)];
    let ends = (any::<Index>(), any::<Index>());
    (chunks, trailers, surplus, ends, part(), part(), buffers, budget).prop_map(
        |(chunks, trailers, surplus, (begun, early), written, read, buffers, budget)| Case {
            chunks,
            trailers,
            surplus,
            begun,
            early,
            written,
            read,
            buffers,
            budget,
        },
    )
}

impl Case {
    fn coded(&self, data: &[u8]) -> Vec<u8> {
        let (mut coded, mut at) = (Vec::new(), 0);
        for (size, before, after) in &self.chunks {
            coded.extend_from_slice(format!("{before}{size:X}{after}\r\n").as_bytes());
            coded.extend_from_slice(&data[at..at + size]);
            coded.extend_from_slice(b"\r\n");
            at += size;
        }
        coded.extend_from_slice(format!("0\r\n{}\r\n", self.trailers).as_bytes());
        coded
    }

    fn data(&self, seed: u64) -> Vec<u8> {
        bytes(self.chunks.iter().map(|chunk| chunk.0).sum(), seed)
    }

    /// What the client reads of what is passed on, and what the pod had said beyond it, where it was read and where not.
    async fn passed(&self, body: Unmeasured, sent: &[u8], ends: bool) -> (Vec<u8>, u64, usize, usize) {
        let (mut source, mut pod, mut sink, mut client) = path().await;
        narrow(&sink, &client, self.buffers);
        let pipes = pool(self.budget);
        let writing = async {
            for part in sent.chunks(self.written) {
                pod.write_all(part).await.unwrap();
            }
            if ends {
                pod.shutdown().await.unwrap();
            }
        };
        let relaying = async {
            let mut heard = 0;
            let surplus = relay_chunks(&source, &sink, body, QUIET, &pipes, |bytes| heard += bytes).await.unwrap();
            sink.write_all(b"0\r\n\r\n").await.unwrap();
            drop(sink);
            (heard, surplus)
        };
        let reading = read_all(&mut client, self.read);
        let ((), (heard, surplus), all) = tokio::join!(writing, relaying, reading);
        drop(pod);
        let mut left = Vec::new();
        source.read_to_end(&mut left).await.unwrap();
        let (spliced, copied) = counted(&pipes);
        assert_eq!(spliced + copied, heard);
        assert!(self.budget > 0 || spliced == 0, "{spliced}");
        let (idle, pipes) = pipes.idle_and_all();
        assert!(idle == pipes && pipes <= 1, "{idle} of {pipes}");
        (all, heard, surplus, left.len())
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn chunks_arrive_in_one_form_however_they_were_sent(case in cases(), seed: u64) {
        let data = case.data(seed);
        let coded = case.coded(&data);
        let all = [&coded[..], &bytes(case.surplus, 1)].concat();
        let begun = case.begun.index(coded.len());
        let early = begun + case.early.index(all.len() - begun + 1);
        let (mut came, mut first, mut before) = (Chunked::START, all[..begun].to_vec(), 0);
        while !first.is_empty() {
            let decoded = came.decode(&mut first).unwrap();
            before += decoded.data.len();
            first.drain(..decoded.taken);
        }
        let body = Unmeasured { early: Bytes::copy_from_slice(&all[begun..early]), coding: Coding::Chunked(came) };
        let (wire, heard, surplus, left) = run(case.passed(body, &all[early..], false));
        prop_assert!(decoded(&wire).as_deref() == Some(&data[before..]), "{} of {}", wire.len(), data.len() - before);
        prop_assert_eq!(heard, (data.len() - before) as u64);
        prop_assert_eq!(surplus + left, case.surplus);
    }

    #[test]
    fn what_ends_with_the_connection_arrives_in_chunks(case in cases(), seed: u64) {
        let data = case.data(seed);
        let early = case.early.index(data.len() + 1);
        let body = Unmeasured { early: Bytes::copy_from_slice(&data[..early]), coding: Coding::UntilEnd };
        let (wire, heard, surplus, left) = run(case.passed(body, &data[early..], true));
        prop_assert!(decoded(&wire).as_ref() == Some(&data), "{} of {}", wire.len(), data.len());
        prop_assert_eq!(heard, data.len() as u64);
        prop_assert_eq!((surplus, left), (0, 0));
    }
}

fn chunked() -> Unmeasured {
    Unmeasured { early: Bytes::new(), coding: Coding::Chunked(Chunked::START) }
}

fn until_end() -> Unmeasured {
    Unmeasured { early: Bytes::new(), coding: Coding::UntilEnd }
}

/// What a pod sends before it closes leads to an error. Gives it, and what the client got.
async fn failed(sent: &[u8], early: usize, reset: bool) -> (RelayError, Vec<u8>) {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    let body = Unmeasured { early: Bytes::copy_from_slice(&sent[..early]), ..chunked() };
    let speaking = async {
        pod.write_all(&sent[early..]).await.unwrap();
        let mut wire = Vec::new();
        if reset {
            // What was sent is to be read before.
            wire = read_data(&mut client, decoded_so_far(sent)).await;
            pod.set_zero_linger().unwrap();
        }
        drop(pod);
        client.read_to_end(&mut wire).await.unwrap();
        wire
    };
    let relaying = async {
        let error = relay_chunks(&source, &sink, body, QUIET, &pipes, |_| {}).await.unwrap_err();
        drop(sink);
        error
    };
    let (wire, error) = tokio::join!(speaking, relaying);
    let (idle, all) = pipes.idle_and_all();
    assert_eq!(idle, all);
    (error, wire)
}

fn decoded_so_far(coded: &[u8]) -> usize {
    Chunked::START.clone().count(coded).unwrap()
}

/// Reads so many bytes of data, and what comes with them.
async fn read_data(client: &mut TcpStream, data: usize) -> Vec<u8> {
    let (mut state, mut read) = (Chunked::START, 0);
    let (mut wire, mut part) = (Vec::new(), vec![0; 100_000]);
    while read < data {
        let count = client.read(&mut part).await.unwrap();
        assert!(count > 0, "ended after {read}");
        read += state.count(&part[..count]).unwrap();
        wire.extend_from_slice(&part[..count]);
    }
    wire
}

#[tokio::test]
async fn what_is_no_chunked_coding_is_the_fault_of_the_source_and_never_looks_complete() {
    let large = |after: &str| [b"186a0\r\n", &bytes(100_000, 2)[..], after.as_bytes()].concat();
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(10_000));
    let trailer = format!("5\r\nhello\r\n0\r\na: {}\r\n\r\n", "x".repeat(10_000));
    for (sent, expected) in [
        (b"x\r\n0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\r\nhello\r\n-5\r\nhello\r\n0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\r\nhelloo\r\n0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\r\nhello0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\r\nhello\n0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\nhello\r\n0\r\n\r\n".to_vec(), Malformed::Chunk),
        (b"5\r\nhello\r\n10000000000000000\r\n".to_vec(), Malformed::Chunk),
        (large("0\r\n\r\n"), Malformed::Chunk),
        (large("\r\n\r\n0\r\n\r\n"), Malformed::Chunk),
        (extension.into_bytes(), Malformed::TooLarge),
        (trailer.into_bytes(), Malformed::TooLarge),
        (b"5\r\nhello\r\n0\r\n folded\r\n\r\n".to_vec(), Malformed::Trailers),
    ] {
        for early in [0, sent.len().min(3), sent.len()] {
            let (error, wire) = failed(&sent, early, false).await;
            let said = String::from_utf8_lossy(&sent[sent.len().saturating_sub(20)..]);
            assert!(matches!(error, RelayError::Malformed(told) if told == expected), "{said:?} {error}");
            assert_eq!(error.side(), Side::Source);
            assert_eq!(decoded(&wire), None, "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_anywhere_is_passed_on_so_far_and_never_looks_complete() {
    let long = [b"9\r\nfirst one\r\n186a0\r\n", &bytes(100_000, 3)[..], b"\r\n2\r\nok\r\n0\r\na: b\r\n\r\n"].concat();
    let around = [0, 1, 4, 11, 13, 14, 19, 20, 21, 30_000, 100_020, 100_021, 100_022, 100_023];
    let ends = long.len() - 19..long.len();
    for length in around.into_iter().chain(ends) {
        let (error, wire) = failed(&long[..length], 0, false).await;
        assert!(matches!(error, RelayError::Truncated { .. } | RelayError::Unended), "{length} {error}");
        assert!(error.side() == Side::Source && !error.is_timeout());
        assert_eq!(decoded_so_far(&wire), decoded_so_far(&long[..length]), "{length}");
        assert_eq!(decoded(&wire), None, "{length}");
    }
    for length in [13, 30_000] {
        let (error, wire) = failed(&long[..length], 0, true).await;
        assert!(matches!(error, RelayError::Source(_)), "{length} {error}");
        assert_eq!(decoded(&wire), None);
    }
}

#[tokio::test]
async fn a_pod_that_breaks_does_not_end_a_body_that_ends_with_its_connection() {
    let (source, mut pod, sink, mut client) = path().await;
    let (pipes, sent) = (pool(1024 * 1024), bytes(200_000, 4));
    let speaking = async {
        pod.write_all(&sent).await.unwrap();
        let mut wire = read_data(&mut client, sent.len()).await;
        pod.set_zero_linger().unwrap();
        drop(pod);
        client.read_to_end(&mut wire).await.unwrap();
        wire
    };
    let relaying = async {
        let error = relay_chunks(&source, &sink, until_end(), QUIET, &pipes, |_| {}).await.unwrap_err();
        drop(sink);
        error
    };
    let (wire, error) = tokio::join!(speaking, relaying);
    assert!(matches!(error, RelayError::Source(_)) && error.side() == Side::Source, "{error}");
    assert_eq!(decoded(&wire), None);
    assert_eq!(decoded(&[&wire[..], b"0\r\n\r\n"].concat()), Some(sent), "all that was there has arrived");
}

#[tokio::test]
async fn what_was_sent_arrives_before_more_is() {
    for coding in [Coding::Chunked(Chunked::START), Coding::UntilEnd] {
        let (source, mut pod, sink, mut client) = path().await;
        let pipes = pool(64 * 1024);
        let body = Unmeasured { early: Bytes::new(), coding };
        let relaying =
            tokio::spawn(async move { drop(relay_chunks(&source, &sink, body, QUIET, &pipes, |_| {}).await) });
        let (mut wire, mut part, mut total) = (Vec::new(), vec![0; 100_000], 0);
        // Also as much as fits into what is read at once, and into a pipe, which look as if more came.
        for size in [1, 20, 512, 40_000, 64 * 1024, 1, 64 * 1024 - 32, 300_000, 100, 64 * 1024] {
            let data = bytes(size, 5);
            total += size;
            if coding == Coding::UntilEnd {
                pod.write_all(&data).await.unwrap();
            } else {
                pod.write_all(&[format!("{size:x}\r\n").as_bytes(), &data, b"\r\n"].concat()).await.unwrap();
            }
            while decoded_so_far(&wire) < total || !wire.ends_with(b"\r\n") {
                let read = client.read(&mut part).await.unwrap();
                assert!(read > 0);
                wire.extend_from_slice(&part[..read]);
            }
        }
        relaying.abort();
    }
}

#[tokio::test]
async fn an_end_that_comes_alone_is_found_and_what_follows_it_is_told() {
    for (end, surplus) in [("0\r\n\r\n", 0), ("0;x\r\na: b\r\n\r\n", 0), ("0\r\n\r\nHTTP/1.1 200 OK\r\n", 17)] {
        let (source, mut pod, mut sink, mut client) = path().await;
        let pipes = pool(1024 * 1024);
        let speaking = async {
            for size in [100_000, 100_000, 50] {
                let chunk = [format!("{size:x}\r\n").as_bytes(), &bytes(size, 6), b"\r\n"].concat();
                pod.write_all(&chunk).await.unwrap();
                read_data(&mut client, size).await;
            }
            for size in [100_000, 70_000] {
                let chunk = [format!("{size:x}\r\n").as_bytes(), &bytes(size, 6)].concat();
                pod.write_all(&chunk).await.unwrap();
                read_data(&mut client, size).await;
                for byte in b"\r\n" {
                    tokio::task::yield_now().await;
                    pod.write_all(&[*byte]).await.unwrap();
                }
            }
            pod.write_all(end.as_bytes()).await.unwrap();
        };
        let relaying = async {
            let surplus = relay_chunks(&source, &sink, chunked(), QUIET, &pipes, |_| {}).await.unwrap();
            sink.write_all(b"0\r\n\r\n").await.unwrap();
            surplus
        };
        let ((), told) = tokio::join!(speaking, relaying);
        let mut left = vec![0; 100];
        let left = source.try_read(&mut left).unwrap_or_default();
        assert_eq!(told + left, surplus, "{end:?}");
    }
}

#[tokio::test]
async fn half_a_chunk_is_not_waited_for() {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    let relaying =
        tokio::spawn(async move { drop(relay_chunks(&source, &sink, chunked(), QUIET, &pipes, |_| {}).await) });
    for (sent, expected) in [
        ("64\r\nha", &b"2\r\nha\r\n"[..]),
        ("lf", b"2\r\nlf\r\n"),
        (&"x".repeat(96), &[&b"60\r\n"[..], &[b'x'; 96], b"\r\n"].concat()),
        ("\r\n10", b""),
        ("0000;a=b\r\nlarge", b"5\r\nlarge\r\n"),
        ("r", b"1\r\nr\r\n"),
    ] {
        pod.write_all(sent.as_bytes()).await.unwrap();
        let mut came = vec![0; expected.len()];
        client.read_exact(&mut came).await.unwrap();
        assert_eq!(came, expected);
    }
    relaying.abort();
}

#[tokio::test]
async fn small_bodies_open_no_pipe() {
    let (source, mut pod, mut sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    pod.write_all(b"5\r\nhello\r\n7d0\r\n").await.unwrap();
    pod.write_all(&[&[b'x'; 2000][..], b"\r\n0\r\n\r\n"].concat()).await.unwrap();
    relay_chunks(&source, &sink, chunked(), QUIET, &pipes, |_| {}).await.unwrap();
    pod.write_all(&[b'x'; 3000]).await.unwrap();
    drop(pod);
    sink.write_all(b"!").await.unwrap();
    relay_chunks(&source, &sink, until_end(), QUIET, &pipes, |_| {}).await.unwrap();
    drop(sink);
    let mut wire = Vec::new();
    client.read_to_end(&mut wire).await.unwrap();
    assert_eq!(pipes.idle_and_all(), (0, 0));
    assert_eq!(counted(&pipes), (0, 5005));
}

#[tokio::test]
async fn a_client_that_breaks_takes_its_pipe_along_and_counts_data_alone() {
    for coding in [Coding::Chunked(Chunked::START), Coding::UntilEnd] {
        let (source, mut pod, sink, client) = path().await;
        let pipes = pool(1024 * 1024);
        let chunk = [b"186a0\r\n", &[b'x'; 100_000][..], b"\r\n"].concat();
        let part = if coding == Coding::UntilEnd { &chunk[7..100_007] } else { &chunk[..] };
        let writing = async { while pod.write_all(part).await.is_ok() {} };
        let body = Unmeasured { early: Bytes::new(), coding };
        let relaying = async {
            let mut heard = 0;
            let error = relay_chunks(&source, &sink, body, QUIET, &pipes, |bytes| heard += bytes).await.unwrap_err();
            drop(source);
            assert!(matches!(error, RelayError::Sink(_)) && heard > 0, "{error}");
            assert_eq!(counted(&pipes).0 + counted(&pipes).1, heard);
        };
        tokio::join!(writing, relaying, break_off(client));
        let (idle, all) = pipes.idle_and_all();
        assert_eq!(idle, all, "no pipe with content is kept");
    }
}

#[tokio::test]
async fn a_body_that_nobody_waits_for_any_more_leaves_no_content_behind() {
    for coding in [Coding::Chunked(Chunked::START), Coding::UntilEnd] {
        let (source, mut pod, sink, client) = path().await;
        let pipes = pool(1024 * 1024);
        let body = Unmeasured { early: Bytes::from_static(b"3d090000\r\n"), coding };
        let writing = async { while pod.write_all(&[b'x'; 100_000]).await.is_ok() {} };
        // The client reads nothing, so nobody gets on.
        let stuck = tokio::time::timeout(Duration::from_millis(300), async {
            tokio::join!(writing, relay_chunks(&source, &sink, body, QUIET, &pipes, |_| {}))
        });
        assert!(stuck.await.is_err());
        drop((source, pod, sink, client));
        let (idle, all) = pipes.idle_and_all();
        assert_eq!(idle, all);
    }
}

#[tokio::test]
async fn silence_and_stalls_of_such_bodies_have_their_limits() {
    const LIMIT: Duration = Duration::from_secs(30);
    let patience = Patience { silence: Some(LIMIT), stall: Some(LIMIT / 30) };
    let small = [b"3e8\r\n", &[b'x'; 1000][..], b"\r\n"].concat().repeat(100);
    let large = [b"f4240\r\n", &[b'x'; 1_000_000][..], b"\r\n"].concat();
    for (part, coding) in [
        (small, Coding::Chunked(Chunked::START)),
        (large, Coding::Chunked(Chunked::START)),
        (vec![b'x'; 1_000_000], Coding::UntilEnd),
    ] {
        let (source, mut pod, sink, _client) = path().await;
        let pipes = pool(1024 * 1024);
        let filling = tokio::spawn(async move {
            while pod.write_all(&part).await.is_ok() {}
            pod
        });
        let body = Unmeasured { early: Bytes::new(), coding };
        let error = relay_chunks(&source, &sink, body, patience, &pipes, |_| {}).await.unwrap_err();
        assert!(matches!(error, RelayError::Stalled(_)) && error.is_timeout(), "{error}");
        filling.abort();
    }
    for coding in [Coding::Chunked(Chunked::START), Coding::UntilEnd] {
        let (source, _pod, sink, _client) = path().await;
        let body = Unmeasured { early: Bytes::from_static(b"5\r\nhe"), coding };
        tokio::time::pause();
        let pipes = pool(1024 * 1024);
        let error = relay_chunks(&source, &sink, body, patience, &pipes, |_| {}).await.unwrap_err();
        assert!(matches!(error, RelayError::Silent(LIMIT)) && error.is_timeout(), "{error}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_noticed_while_the_pod_is_silent() {
    for coding in [Coding::Chunked(Chunked::START), Coding::UntilEnd] {
        let (source, _pod, sink, client) = path().await;
        client.set_zero_linger().unwrap();
        drop(client);
        let body = Unmeasured { early: Bytes::new(), coding };
        let patience = Patience { silence: Some(Duration::from_secs(3600)), stall: None };
        let pipes = pool(1024 * 1024);
        let error = relay_chunks(&source, &sink, body, patience, &pipes, |_| {}).await.unwrap_err();
        assert!(matches!(error, RelayError::Sink(_)) && error.side() == Side::Sink, "{error}");
    }
}

#[tokio::test]
async fn bodies_that_wait_hold_no_pipes() {
    let pipes = pool(1024 * 1024);
    let mut transfers = Vec::new();
    for number in 0..32u8 {
        let (source, mut pod, sink, mut client) = path().await;
        let own = pipes.clone();
        let body = Unmeasured { early: Bytes::from_static(b"30d40\r\n"), ..chunked() };
        let relaying =
            tokio::spawn(async move { relay_chunks(&source, &sink, body, QUIET, &own, |_| {}).await.is_err() });
        let data = bytes(100_000, number.into());
        pod.write_all(&data).await.unwrap();
        read_data(&mut client, data.len()).await;
        transfers.push((relaying, pod, client));
    }
    let (idle, all) = pipes.idle_and_all();
    assert!(idle == all && all == 1, "{idle} of {all}");
    for (relaying, pod, _client) in transfers {
        drop(pod);
        assert!(relaying.await.unwrap(), "a chunk of which half is missing");
    }
}
