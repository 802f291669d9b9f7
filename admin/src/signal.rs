//! Signals: SIGTERM and SIGINT flow in, one request to shut down flows out to every task that asks.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells tasks that the program is to end. Clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens for SIGTERM and SIGINT. The first asks for an orderly end, the second ends the process at once (exit
    /// code 1).
    ///
    /// # Errors
    /// If the process cannot take signals.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, requested) = watch::channel(false);
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "shutting down; a second signal ends the program at once");
            sender.send_replace(true);
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "second signal: ending now");
            std::process::exit(1);
        });
        Ok(Self { requested })
    }

    /// Whether the end has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns when the end is asked for.
    pub async fn requested(&self) {
        // The sender lives as long as the process; if it were gone, nothing could ask for the end any more.
        if self.requested.clone().wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
