//! A thread with a runtime of its own: futures flow in from anywhere, also from a task of another runtime, and their outcome flows out
//! when they are done. For the API server and its clients in tests: whoever waits for an answer must not keep the server from giving it.

use anyhow::{Context as _, Result};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The thread; what was started on it ends with the value.
#[derive(Debug)]
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs a future there and blocks until it is done.
    ///
    /// # Errors
    /// When it panicked.
    pub fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (done, outcome) = mpsc::channel();
        let runtime = self.0.as_ref().context("the thread is on its way out")?;
        runtime.spawn(async move { drop(done.send(future.await)) });
        outcome.recv().context("what ran on another thread ended without an outcome")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Its sockets are closed when this returns: the next lab may be at the same addresses. Waited for by a thread of its own,
        // since those of another runtime may not.
        if let Some(runtime) = self.0.take() {
            let _ = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join();
        }
    }
}

/// For what it runs to end.
const PATIENCE: Duration = Duration::from_secs(5);
