//! Real sockets on loopback: what comes out is what went in, whatever the sizes, the pipes and the speed of either side.

mod chunks;

use super::*;
use crate::rate::pace::Pace;
use nearside_routing::policy::bandwidth::Bandwidth;
use prometheus::Registry;
use proptest::prelude::*;
use socket2::SockRef;
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const QUIET: Patience = Patience { silence: None, stall: None };
const PATIENT: Terms<'static> = Terms { length: Length::UntilEnd, patience: QUIET, pace: None };

fn pool(budget: usize) -> PipePool {
    PipePool::with_budget(SpliceCounts::new(&Registry::new()).unwrap(), budget)
}

fn counted(pipes: &PipePool) -> (u64, u64) {
    (pipes.counts().spliced.get(), pipes.counts().copied.get())
}

/// The proxy's end and the other end.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// The two sockets of a transfer, each with its other end: source, pod, sink, client.
async fn path() -> (TcpStream, TcpStream, TcpStream, TcpStream) {
    let ((source, pod), (sink, client)) = (pair().await, pair().await);
    (source, pod, sink, client)
}

/// Gives the way to a client buffers of this size, if of any.
fn narrow(sink: &TcpStream, client: &TcpStream, size: Option<usize>) {
    if let Some(size) = size {
        SockRef::from(sink).set_send_buffer_size(size).unwrap();
        SockRef::from(client).set_recv_buffer_size(size).unwrap();
    }
}

/// Everything until the end, at most so many bytes at once.
async fn read_all(client: &mut TcpStream, most: usize) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), vec![0; most]);
    loop {
        match client.read(&mut part).await.unwrap() {
            0 => return all,
            read => all.extend_from_slice(&part[..read]),
        }
    }
}

/// Breaks a connection after its first bytes.
async fn break_off(mut client: TcpStream) {
    client.read_exact(&mut [0; 1000]).await.unwrap();
    client.set_zero_linger().unwrap();
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// How the two ends behave.
#[derive(Clone, Debug)]
struct Case {
    length: usize,
    /// Bytes that the pod sends after them.
    surplus: usize,
    /// Bytes of one write of the pod, and of one read of the client.
    written: usize,
    read: usize,
    /// Sizes of the buffers of the sink and its client, where they are not the kernel's choice.
    buffers: Option<usize>,
    budget: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let around = |size: usize| size.saturating_sub(2)..size + 3;
    let length = prop_oneof![
        0..100usize,
        0..2_000_000usize,
        2_500_000..5_000_000usize,
        around(4096),
        around(16 * 1024),
        around(64 * 1024),
        around(256 * 1024),
        around(1024 * 1024),
    ];
    let part = || prop_oneof![1000..5000usize, 50_000..500_000usize];
    let buffers = prop_oneof![Just(None), (16_000..200_000usize).prop_map(Some)];
    let budget = prop_oneof![Just(0usize), Just(64 * 1024), Just(256 * 1024), Just(8 * 1024 * 1024)];
    (length, prop_oneof![Just(0usize), 1..100_000usize], part(), part(), buffers, budget).prop_map(
        |(length, surplus, written, read, buffers, budget)| Case { length, surplus, written, read, buffers, budget },
    )
}

/// Moves `case.length` bytes. What came out, and what is left in the source.
async fn moved(case: &Case, sent: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut source, mut pod, sink, mut client) = path().await;
    narrow(&sink, &client, case.buffers);
    let pipes = pool(case.budget);
    let writing = async {
        for part in sent.chunks(case.written) {
            pod.write_all(part).await.unwrap();
        }
        pod.shutdown().await.unwrap();
    };
    let relaying = async {
        let mut heard = 0;
        let terms = Terms { length: Length::Exactly(case.length as u64), ..PATIENT };
        let total = relay(&source, &sink, terms, &pipes, |bytes| heard += bytes).await.unwrap();
        drop(sink);
        assert_eq!((total, heard), (case.length as u64, case.length as u64));
        let mut left = Vec::new();
        source.read_to_end(&mut left).await.unwrap();
        left
    };
    let reading = read_all(&mut client, case.read);
    let ((), left, all) = tokio::join!(writing, relaying, reading);
    let (spliced, copied) = counted(&pipes);
    assert_eq!(spliced + copied, case.length as u64);
    assert!(if case.budget == 0 { spliced == 0 } else { copied == 0 }, "{spliced} {copied}");
    let (idle, pipes) = pipes.idle_and_all();
    assert!(idle == pipes && pipes <= 1, "{idle} of {pipes}");
    (all, left)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_what_a_plain_copy_gives(case in cases(), seed: u64) {
        let sent = bytes(case.length + case.surplus, seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (all, left) = runtime.block_on(moved(&case, &sent));
        prop_assert!(all == sent[..case.length], "{} bytes of {}", all.len(), case.length);
        prop_assert!(left == sent[case.length..], "{} bytes left of {}", left.len(), case.surplus);
    }
}

#[tokio::test]
async fn all_until_the_end_is_moved_where_no_length_is_known() {
    let (source, mut pod, sink, mut client) = path().await;
    let (pipes, sent) = (pool(1024 * 1024), bytes(3_000_000, 7));
    let writing = async {
        pod.write_all(&sent).await.unwrap();
        drop(pod);
    };
    let relaying = async {
        let total = relay(&source, &sink, PATIENT, &pipes, |_| {}).await.unwrap();
        drop(sink);
        total
    };
    let mut all = Vec::new();
    let ((), total, _) = tokio::join!(writing, relaying, client.read_to_end(&mut all));
    assert!(total == 3_000_000 && all == sent);
}

#[tokio::test]
async fn a_source_that_ends_early_is_told() {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    pod.write_all(b"half").await.unwrap();
    drop(pod);
    let terms = Terms { length: Length::Exactly(8), ..PATIENT };
    let error = relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap_err();
    assert!(matches!(error, RelayError::Truncated { missing: 4 }) && error.side() == Side::Source, "{error}");
    let mut half = [0; 4];
    client.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"half", "what there was has arrived");
}

#[tokio::test]
async fn a_broken_source_is_told() {
    let (source, pod, sink, _client) = path().await;
    pod.set_zero_linger().unwrap();
    drop(pod);
    let error = relay(&source, &sink, PATIENT, &pool(1024 * 1024), |_| {}).await.unwrap_err();
    assert!(matches!(error, RelayError::Source(_)), "{error}");
}

#[tokio::test]
async fn a_sink_that_is_gone_is_noticed_while_the_source_is_silent() {
    let (source, _pod, sink, client) = path().await;
    let pipes = pool(1024 * 1024);
    client.set_zero_linger().unwrap();
    drop(client);
    let patience = Patience { silence: Some(Duration::from_secs(3600)), ..QUIET };
    let terms = Terms { patience, ..PATIENT };
    let error = relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap_err();
    assert!(matches!(error, RelayError::Sink(_)) && error.side() == Side::Sink, "{error}");
}

#[tokio::test]
async fn a_sink_that_breaks_midway_takes_its_pipe_along() {
    let (source, mut pod, sink, client) = path().await;
    let pipes = pool(1024 * 1024);
    let writing = async {
        // Ends when the transfer has ended and the source is closed.
        while pod.write_all(&[b'x'; 100_000]).await.is_ok() {}
    };
    let relaying = async {
        let mut heard = 0;
        let error = relay(&source, &sink, PATIENT, &pipes, |bytes| heard += bytes).await.unwrap_err();
        drop(source);
        assert!(matches!(error, RelayError::Sink(_)) && heard > 0, "{error}");
    };
    tokio::join!(writing, relaying, break_off(client));
    let (idle, all) = pipes.idle_and_all();
    assert_eq!(idle, all, "no pipe with content is kept");
}

#[tokio::test]
async fn a_transfer_that_is_dropped_leaves_no_content_to_the_next() {
    let (source, mut pod, sink, client) = path().await;
    let pipes = pool(1024 * 1024);
    let writing = async { while pod.write_all(&[b'x'; 100_000]).await.is_ok() {} };
    // The client reads nothing, so nobody gets on.
    let stuck = tokio::time::timeout(Duration::from_millis(300), async {
        tokio::join!(writing, relay(&source, &sink, PATIENT, &pipes, |_| {}))
    });
    assert!(stuck.await.is_err());
    drop((source, pod, sink, client));
    let (idle, all) = pipes.idle_and_all();
    assert_eq!(idle, all);
    let case = Case { length: 100_000, surplus: 0, written: 1000, read: 1000, buffers: None, budget: 1024 * 1024 };
    let sent = bytes(case.length, 3);
    assert!(moved(&case, &sent).await.0 == sent);
}

#[tokio::test]
async fn transfers_that_wait_hold_no_pipes() {
    let pipes = pool(1024 * 1024);
    let mut transfers = Vec::new();
    for number in 0..32u8 {
        let (source, mut pod, sink, mut client) = path().await;
        let (own, first) = (pipes.clone(), bytes(10_000, number.into()));
        let relaying = tokio::spawn(async move { relay(&source, &sink, PATIENT, &own, |_| {}).await.map_err(|_| ()) });
        pod.write_all(&first).await.unwrap();
        let mut came = vec![0; first.len()];
        client.read_exact(&mut came).await.unwrap();
        assert!(came == first);
        transfers.push((relaying, pod, client));
    }
    let (idle, all) = pipes.idle_and_all();
    assert!(idle == all && all == 1, "{idle} of {all}");
    for (relaying, pod, _client) in transfers {
        drop(pod);
        assert_eq!(relaying.await.unwrap(), Ok(10_000));
    }
}

#[tokio::test]
async fn silence_and_stalls_have_their_limits() {
    const LIMIT: Duration = Duration::from_secs(30);
    let (source, mut pod, sink, _client) = path().await;
    let pipes = pool(1024 * 1024);
    let filling = tokio::spawn(async move {
        while pod.write_all(&[b'x'; 100_000]).await.is_ok() {}
        pod
    });
    let patience = Patience { silence: Some(LIMIT), stall: Some(LIMIT / 30) };
    let terms = Terms { patience, ..PATIENT };
    let error = relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap_err();
    assert!(matches!(error, RelayError::Stalled(_)) && error.is_timeout(), "{error}");
    filling.abort();

    let (source, _pod, sink, _client) = path().await;
    tokio::time::pause();
    let patience = Patience { silence: Some(LIMIT), stall: Some(LIMIT) };
    let terms = Terms { patience, ..PATIENT };
    let error = relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap_err();
    assert!(matches!(error, RelayError::Silent(LIMIT)) && error.is_timeout(), "{error}");
}

#[tokio::test]
async fn bytes_pass_no_faster_than_they_may() {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    pod.write_all(&[b'x'; 5500]).await.unwrap();
    // Everything that is sent has arrived when its end has.
    drop(pod);
    source.readable().await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let mut pace = Pace::new(Bandwidth { rate: NonZeroU64::new(1000).unwrap(), after: 500 }, start);
    let terms = Terms { length: Length::Exactly(5500), pace: Some(&mut pace), ..PATIENT };
    relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(4900) && took <= Duration::from_millis(5200), "{took:?}");
    client.read_exact(&mut [0; 5500]).await.unwrap();
}

#[tokio::test]
async fn the_last_bytes_before_a_pause_are_not_held_back() {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(64 * 1024);
    let relaying = tokio::spawn(async move { drop(relay(&source, &sink, PATIENT, &pipes, |_| {}).await) });
    for _ in 0..50 {
        // As much as fits into the pipe, which looks as if more came at once.
        let sent = bytes(64 * 1024, 9);
        pod.write_all(&sent).await.unwrap();
        let mut came = vec![0; sent.len()];
        client.read_exact(&mut came).await.unwrap();
        assert!(came == sent);
    }
    relaying.abort();
}

#[tokio::test]
async fn what_a_source_gathers_is_waited_for_by_nobody() {
    let (source, mut pod, sink, mut client) = path().await;
    let pipes = pool(1024 * 1024);
    // Enough for the source to gather, and then pauses of which each lasts until everything before it has come.
    let pieces = [6_000_000, 1, 70_000, 2_000_000, 10_000];
    let sent = bytes(pieces.iter().sum(), 5);
    let patience = Patience { silence: Some(Duration::from_secs(3600)), ..QUIET };
    let terms = Terms { length: Length::Exactly(sent.len() as u64), patience, ..PATIENT };
    let relaying = async {
        assert_eq!(relay(&source, &sink, terms, &pipes, |_| {}).await.unwrap(), sent.len() as u64);
        // The next answer on the same connection may be short.
        assert_eq!(source.peek(&mut [0; 10]).await.unwrap(), 1);
    };
    let speaking = async {
        let mut came = vec![0; sent.len()];
        let mut at = 0;
        for piece in pieces {
            let end = at + piece;
            let (written, read) = tokio::join!(pod.write_all(&sent[at..end]), client.read_exact(&mut came[at..end]));
            assert!(written.is_ok() && read.is_ok());
            at = end;
        }
        assert!(came == sent);
        pod.write_all(b"!").await.unwrap();
    };
    tokio::join!(relaying, speaking);
}

#[tokio::test]
async fn lots_whose_calls_are_dropped_and_made_again_lose_nothing() {
    const LENGTH: usize = 3_000_000;
    let (source, mut pod, sink, mut client) = path().await;
    SockRef::from(&sink).set_send_buffer_size(20_000).unwrap();
    let (pipes, sent) = (pool(1024 * 1024), bytes(LENGTH + 5, 21));
    let moving = async {
        let (mut left, mut lot) = (LENGTH as u64, None::<Lot>);
        while left > 0 || lot.is_some() {
            // Each turn ends whatever is under way, as whoever listens to more than these two would.
            let turn = async {
                match &mut lot {
                    None => {
                        let fetched = Lot::fetch(&source, &sink, left, &pipes).await.unwrap();
                        left -= fetched.left() as u64;
                        lot = Some(fetched);
                    }
                    Some(held) => {
                        held.give(&sink, left > 0, &pipes).await.unwrap();
                        lot = None;
                    }
                }
            };
            tokio::select! {
                biased;
                () = turn => {}
                () = tokio::task::yield_now() => {}
            }
        }
        source.peek(&mut [0; 10]).await.unwrap()
    };
    let mut came = vec![0; LENGTH];
    let (written, surplus, read) =
        tokio::join!(async { pod.write_all(&sent).await }, moving, client.read_exact(&mut came));
    assert!(written.is_ok() && read.is_ok() && came == sent[..LENGTH]);
    assert_eq!(surplus, 5, "what follows stays in the source");
    assert_eq!(counted(&pipes), (LENGTH as u64, 0));
    let (idle, all) = pipes.idle_and_all();
    assert_eq!(idle, all);
}
