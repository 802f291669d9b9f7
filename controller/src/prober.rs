//! Probes of routers: the nodes to look at flow in with their addresses, whether each takes a TCP connection flows out. A thin
//! shell for the placement task, which asks only about nodes that the API server calls not Ready.

use crate::limits::{PROBE_EVERY, PROBE_TIMEOUT, PROBES_AT_ONCE};
use crate::liveness::{Probe, Probes};
use futures::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The nodes to look at.
pub(crate) type Wanted = BTreeMap<Arc<str>, Vec<IpAddr>>;

/// The side of the one who asks; the task ends with it.
#[derive(Debug)]
pub(crate) struct Prober {
    wanted: watch::Sender<Wanted>,
    found: watch::Receiver<Probes>,
}

impl Prober {
    /// Starts the task. Times are counted from `epoch`.
    pub(crate) fn spawn(port: u16, epoch: Instant) -> Self {
        let (wanted, asked) = watch::channel(Wanted::new());
        let (told, found) = watch::channel(Probes::new());
        tokio::spawn(run(port, epoch, asked, told));
        Self { wanted, found }
    }

    /// Looks at these nodes from now on, and at once where they are others than before.
    pub(crate) fn ask(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|known| {
            let differs = *known != wanted;
            *known = wanted;
            differs
        });
    }

    /// What the next round finds.
    pub(crate) async fn found(&mut self) -> Probes {
        match self.found.changed().await {
            Ok(()) => self.found.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }
}

async fn run(port: u16, epoch: Instant, mut asked: watch::Receiver<Wanted>, told: watch::Sender<Probes>) {
    loop {
        let nodes = asked.borrow_and_update().clone();
        if nodes.is_empty() {
            match asked.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        let at = epoch.elapsed();
        let probes =
            nodes.into_iter().map(|(name, addresses)| async move { (name, (probe(&addresses, port).await, at)) });
        told.send_replace(stream::iter(probes).buffer_unordered(PROBES_AT_ONCE).collect().await);
        tokio::select! {
            changed = asked.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(PROBE_EVERY) => {}
        }
    }
}

/// One address that answers is enough.
async fn probe(addresses: &[IpAddr], port: u16) -> Probe {
    let connects = addresses.iter().map(|address| TcpStream::connect(SocketAddr::new(*address, port)));
    let mut connects: stream::FuturesUnordered<_> = connects.collect();
    let any = async {
        while let Some(connected) = connects.next().await {
            if connected.is_ok() {
                return Probe::Green;
            }
        }
        Probe::Red
    };
    timeout(PROBE_TIMEOUT, any).await.unwrap_or(Probe::Red)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_listener_is_seen_and_its_end_too() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut prober = Prober::spawn(listener.local_addr().unwrap().port(), Instant::now());
        let node: Arc<str> = "n1".into();
        let elsewhere = IpAddr::from([127, 0, 0, 9]);
        prober.ask([(Arc::clone(&node), vec![elsewhere, Ipv4Addr::LOCALHOST.into()]), ("n2".into(), vec![])].into());
        let found = prober.found().await;
        assert_eq!((found[&node].0, found["n2"].0), (Probe::Green, Probe::Red));
        drop(listener);
        while prober.found().await[&node].0 == Probe::Green {}
    }
}
