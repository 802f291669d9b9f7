//! Asks a name server for many hosts again and again until each is answered with its new addresses: how many hosts and which turn
//! flow in, the moment at which each was seen flows out. Called by `latency`.

use super::zone::{addresses, host_name};
use anyhow::{Context as _, Result, bail};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A thread that asks.
pub(super) struct Sight {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Option<Instant>>>>,
}

impl Sight {
    /// Begins to ask for the first `hosts`, which are to have the addresses of `turn`.
    pub(super) fn start(server: SocketAddr, hosts: u32, turn: u32) -> Result<Self> {
        let mut waiting = Vec::new();
        for host in 0..hosts {
            let mut name = Name::from_ascii(host_name(host))?;
            name.set_fqdn(true);
            let mut query = Message::query();
            query.metadata.id = u16::try_from(host)?;
            query.metadata.recursion_desired = false;
            query.add_query(Query::query(name, RecordType::A));
            let wanted = addresses(host, turn).next().context("every host has an address")?.0;
            waiting.push((query.to_vec()?, wanted));
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = tokio::task::spawn_blocking(move || look(&socket, &waiting, &stopped));
        Ok(Self { stop, thread })
    }

    /// Waits until all are seen.
    pub(super) async fn end(self, patience: Duration) -> Result<Vec<Instant>> {
        let thread = self.thread;
        tokio::pin!(thread);
        let seen = match tokio::time::timeout(patience, &mut thread).await {
            Ok(seen) => seen,
            Err(_) => {
                self.stop.store(true, Ordering::Relaxed);
                thread.await
            }
        };
        let seen = seen??;
        let missing = seen.iter().filter(|seen| seen.is_none()).count();
        if missing > 0 {
            bail!("{missing} of {} hosts are not answered with their new addresses after {patience:?}", seen.len());
        }
        Ok(seen.into_iter().flatten().collect())
    }
}

/// Rounds of one query for each host that was not seen yet, so many on the way that no socket overflows.
fn look(socket: &UdpSocket, hosts: &[(Vec<u8>, Ipv4Addr)], stop: &AtomicBool) -> Result<Vec<Option<Instant>>> {
    let mut seen = vec![None; hosts.len()];
    let mut buffer = [0; 2048];
    while seen.iter().any(Option::is_none) && !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let waiting: Vec<usize> = (0..hosts.len()).filter(|host| seen[*host].is_none()).collect();
        for some in waiting.chunks(AT_ONCE) {
            let mut expected = 0;
            for host in some {
                expected += usize::from(socket.send(&hosts[*host].0).is_ok());
            }
            while expected > 0 {
                // Lost, or no answer at all: the next round asks again.
                let Ok(length) = socket.recv(&mut buffer) else { break };
                expected -= 1;
                let now = Instant::now();
                let Ok(answer) = Message::from_vec(&buffer[..length]) else { continue };
                let host = usize::from(answer.metadata.id);
                let Some((_, wanted)) = hosts.get(host) else { continue };
                let has = answer.answers.iter().any(|record| matches!(&record.data, RData::A(a) if a.0 == *wanted));
                if has && seen[host].is_none() {
                    seen[host] = Some(now);
                }
            }
        }
        std::thread::sleep(LEAST_PAUSE.max(begun.elapsed().saturating_mul(IDLE_SHARE)));
    }
    Ok(seen)
}

const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two rounds: who looks without a pause takes the processors from the server that is looked at. A round of many takes
/// longer, and so does the pause after it.
const LEAST_PAUSE: Duration = Duration::from_millis(2);
/// For so many times as long as a round nothing is asked.
const IDLE_SHARE: u32 = 4;
