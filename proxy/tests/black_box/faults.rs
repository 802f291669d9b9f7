//! Faults without end: clients and pods that break off in every way there is, thousands of them, and beside them clients that do not.
//! Those get every byte right, and when all is over the proxy has as many descriptors, connections and requests as before.
//! `clients`, `breaking` and `tunnels` say what clients do, `pods` what pods do.

mod breaking;
mod clients;
mod pods;
mod tunnels;

use super::support::wire::{Numbers, ask, bytes};
use super::support::{Manifests, Proxy, eventually, wanted_requests};
use clients::{Site, WEB};
use pods::Pods;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_off_leaves_no_descriptor_no_pipe_and_no_connection_behind() {
    let requests = wanted_requests().unwrap_or(USUAL);
    let pods = Pods::start().await;
    // A million lines would be kept until the end.
    let proxy = Proxy::of(Manifests::with(&pods.objects()), &["--access-log=off"]);
    let before = descriptors(&proxy);
    let site = Arc::new(Site { http: proxy.http, https: proxy.https, tls: Arc::clone(&pods.tls) });

    wave(&site, 1, requests.div_ceil(8)).await;
    settled(&proxy, &pods, &before).await;
    let warm = proxy.resident_bytes();
    let sent = wave(&site, 2, requests).await;
    let loaded = descriptors(&proxy);
    let after = settled(&proxy, &pods, &before).await;
    let resident = proxy.resident_bytes();

    let told = format!(
        "{sent} requests; descriptors {before:?} before, {loaded:?} at the end, {after:?} after; {warm} bytes resident when warm, \
         {resident} after\n"
    );
    drop(std::io::stderr().write_all(told.as_bytes()));
    assert!(resident < warm + warm / 2 + 64 * 1024 * 1024, "{told}");
    assert!(!proxy.log().contains("panicked"));
}

/// Sends so many requests, a bounded number at once, while clients without faults get every answer right. How many were sent.
async fn wave(site: &Arc<Site>, seed: u64, requests: usize) -> usize {
    let over = Arc::new(AtomicBool::new(false));
    let normal = [
        tokio::spawn(well_behaved(site.connect().await, Arc::clone(&over), seed)),
        tokio::spawn(well_behaved(site.connect_tls().await, Arc::clone(&over), seed + 1)),
    ];
    let sent = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<JoinHandle<()>> = (0..AT_ONCE)
        .map(|number| {
            let (site, sent) = (Arc::clone(site), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut numbers = Numbers(seed << 32 | number);
                while sent.load(Ordering::Relaxed) < requests {
                    let count = clients::visit(&site, &mut numbers).await;
                    sent.fetch_add(count, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for visitor in visitors {
        visitor.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    for client in normal {
        let served = client.await.unwrap();
        assert!(served > 0, "a client without faults was served meanwhile");
        sent.fetch_add(served, Ordering::Relaxed);
    }
    sent.load(Ordering::Relaxed)
}

/// One client on one connection that breaks off nothing. How many answers it got, each of them right.
async fn well_behaved(
    mut client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    over: Arc<AtomicBool>,
    seed: u64,
) -> usize {
    let mut numbers = Numbers(seed);
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        let (size, framing) = (numbers.size() / 4, ["length", "chunked", "close"][numbers.below(3)]);
        let request = format!("GET /{framing}/{size}/{} HTTP/1.1\r\nHost: {WEB}\r\n\r\n", numbers.size().max(200));
        let (header, body) = ask(&mut client, request.as_bytes()).await;
        assert!(
            header.starts_with("HTTP/1.1 200 ") && body == bytes(size),
            "{framing} {size}: {}, {header}",
            body.len()
        );
        served += 1;
    }
    served
}

/// Waits until nothing is left of what was begun: the pods close what the proxy keeps for later, and then there are as many sockets as
/// before the first client came. Pipes may be kept, as many as the proxy tells of.
async fn settled(proxy: &Proxy, pods: &Pods, before: &BTreeMap<&'static str, usize>) -> BTreeMap<&'static str, usize> {
    pods.close_all();
    eventually("what was begun is over", || async {
        let now = descriptors(proxy);
        let pipes = proxy.metric("nearside_splice_pipes", "").await.unwrap();
        assert!(pipes <= 64.0, "{pipes} pipes");
        let mut expected = before.clone();
        *expected.entry("pipe").or_default() += 2 * pipes as usize;
        let mut open = Vec::new();
        for name in GAUGES {
            open.push(proxy.metric(name, "").await.unwrap());
        }
        (now == expected && open.iter().all(|count| *count == 0.0)).then_some(now)
    })
    .await
}

/// The descriptors of the proxy by what they are.
fn descriptors(proxy: &Proxy) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", proxy.process())).unwrap() {
        // One that is closed meanwhile leads nowhere.
        let Ok(target) = std::fs::read_link(entry.unwrap().path()) else { continue };
        let kinds = ["socket", "pipe", "anon_inode"];
        let kind = kinds.into_iter().find(|kind| target.to_string_lossy().starts_with(kind)).unwrap_or("file");
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// What counts something that is under way.
const GAUGES: [&str; 4] = [
    "nearside_connections",
    "nearside_pod_current_requests",
    "nearside_pod_waiting_requests",
    "nearside_waiting_requests",
];
/// Requests, unless more are wanted.
const USUAL: usize = 6000;
/// Connections at once.
const AT_ONCE: u64 = 16;
