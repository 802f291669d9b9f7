//! A client like any other, that asks again and again while a test does something to the proxy: it is to be served all the time.

use super::client::{get, get_tls};
use super::{PATIENCE, Proxy};
use nearside_loadtest::certificates::TestCa;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// It asks until the value is gone.
pub(crate) struct Canary {
    task: JoinHandle<()>,
    served: watch::Receiver<usize>,
}

impl Canary {
    /// Over plain HTTP, each time on a connection of its own.
    pub(crate) fn start(proxy: &Proxy, host: &'static str) -> Self {
        let address = proxy.http;
        Self::asking(move || async move { get(address, host, "/media/5").await.status })
    }

    /// Over TLS.
    pub(crate) fn start_tls(address: SocketAddr, ca: TestCa, host: &'static str) -> Self {
        let ca = Arc::new(ca);
        Self::asking(move || {
            let ca = Arc::clone(&ca);
            async move { get_tls(address, &ca, host, "/media/5").await.unwrap().status }
        })
    }

    fn asking<F: Future<Output = u16> + Send + 'static>(ask: impl Fn() -> F + Send + 'static) -> Self {
        let (counted, served) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                assert_eq!(ask().await, 200, "what a client like any other gets");
                counted.send_modify(|count| *count += 1);
            }
        });
        Self { task, served }
    }

    /// Waits until it has been served a few times more; it was each time by then.
    pub(crate) async fn was_served(&mut self) {
        let before = *self.served.borrow();
        let more = self.served.wait_for(|count| *count >= before + 3);
        if timeout(PATIENCE, more).await.expect("another answer comes").is_err() {
            (&mut self.task).await.unwrap();
        }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}
