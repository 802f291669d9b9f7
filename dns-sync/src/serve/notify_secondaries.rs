//! Tells secondaries that a zone has changed (NOTIFY, RFC 1996): the zones of the moment flow in whenever they are swapped, signed
//! messages flow out over UDP until each secondary confirms. Run by the program beside the listeners, one task a secondary.

mod schedule;

use super::TransferKeys;
use super::unix_time;
use crate::metrics::Metrics;
use crate::wire::exchange::{Request, random_id};
use crate::wire::tsig::requests::{self, Verdict};
use crate::zone::Zones;
use arc_swap::ArcSwap;
use schedule::{Notice, Schedule};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

/// Notifies one secondary of every change of every zone, for ever. `changed` is marked whenever zones are swapped.
pub async fn notify(
    secondary: SocketAddr,
    zones: Arc<ArcSwap<Zones>>,
    mut changed: watch::Receiver<u64>,
    keys: TransferKeys,
    metrics: Arc<Metrics>,
) {
    let started = Instant::now();
    let mut schedule = Schedule::default();
    let mut socket = None;
    changed.mark_changed();
    loop {
        let due = schedule.next().map(|due| started + due);
        let socket = match &mut socket {
            Some(socket) => socket,
            closed => match open(secondary).await {
                Ok(opened) => closed.insert(opened),
                Err(error) => {
                    warn!(%secondary, %error, "no socket to notify a secondary; trying again");
                    sleep(SOCKET_PAUSE).await;
                    continue;
                }
            },
        };
        let mut buffer = [0; 1024];
        tokio::select! {
            change = changed.changed() => match change {
                Ok(()) => {
                    let zones = zones.load();
                    let serials = zones.iter().map(|zone| (zone.origin().clone(), zone.serial()));
                    schedule.published(serials, started.elapsed());
                }
                Err(_) => return,
            },
            // A refused datagram shows as an error; the secondary may come back.
            received = socket.recv(&mut buffer) => if let Ok(length) = received {
                read(&buffer[..length], secondary, &mut schedule, &metrics);
            },
            () = until(due) => send(socket, secondary, &mut schedule, started.elapsed(), &keys, &metrics).await,
        }
    }
}

async fn open(secondary: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if secondary.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that only the secondary can confirm.
    socket.connect(secondary).await?;
    Ok(socket)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn send(
    socket: &UdpSocket,
    secondary: SocketAddr,
    schedule: &mut Schedule,
    now: Duration,
    keys: &TransferKeys,
    metrics: &Metrics,
) {
    while let Some(Notice { zone, serial, given_up }) = schedule.take(now) {
        if given_up {
            metrics.notifies.with_label_values(&["unconfirmed"]).inc();
            warn!(%zone, serial, %secondary, "the secondary does not confirm that it was notified; it has to look by itself");
            continue;
        }
        let request = Request::notify(random_id(), zone.clone());
        let mut octets = request.encode_query();
        let verifier = keys.load().first().map(|key| requests::sign(key, &mut octets, unix_time()));
        schedule.sent(&zone, request, verifier);
        metrics.notifies.with_label_values(&["sent"]).inc();
        if let Err(error) = socket.send(&octets).await {
            debug!(%zone, %secondary, %error, "a notice was not sent; it will be again");
        }
    }
}

fn read(octets: &[u8], secondary: SocketAddr, schedule: &mut Schedule, metrics: &Metrics) {
    let confirmed = schedule.confirm(|request, verifier| {
        let message = match verifier {
            Some(mut verifier) => match verifier.verify(octets, unix_time()) {
                Ok(Verdict::Signed { message, error: 0, .. }) => message,
                // Some secondaries do not sign the answer to a NOTIFY; all it could do is to end the repetitions.
                Ok(Verdict::Unsigned) => octets.to_vec(),
                _ => return false,
            },
            None => octets.to_vec(),
        };
        request.read_reply(&message, false).is_ok_and(|reply| reply.rcode == 0)
    });
    if let Some(zone) = confirmed {
        debug!(%zone, %secondary, "notified");
        metrics.notifies.with_label_values(&["confirmed"]).inc();
    }
}

/// How long to wait where the system has no socket to give.
const SOCKET_PAUSE: Duration = Duration::from_secs(5);
