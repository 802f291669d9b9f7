//! Where everything runs that no request waits for: the reading of objects, the making of tables, the planning of checks, the pages of
//! the admin port. Nothing flows in; a runtime of its own flows out, whose threads give way to those that serve requests. Made by `main`.

use crate::limits::{BACKGROUND_NICE, BACKGROUND_THREADS};
use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// The runtime. Its tasks go on beside a long one of its own, and those of requests beside all of them.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

/// Lowers the priority of this thread, from whatever the process has: with 0 for a process, Linux means the calling thread
/// (setpriority(2)). Where a sandbox forbids it, changes cost requests what they cost them otherwise.
fn give_way() {
    if let Ok(nice) = getpriority_process(None) {
        let _ = setpriority_process(None, nice.saturating_add(BACKGROUND_NICE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_threads_give_way_and_no_others_do() {
        let own = getpriority_process(None).unwrap();
        let runtime = runtime().unwrap();
        let nice = || getpriority_process(None).unwrap();
        let (task, blocking) = runtime.block_on(async {
            (tokio::spawn(async move { nice() }).await.unwrap(), tokio::task::spawn_blocking(nice).await.unwrap())
        });
        let expected = (own + BACKGROUND_NICE).min(19);
        assert_eq!((task, blocking), (expected, expected));
        assert_eq!(getpriority_process(None).unwrap(), own);
    }
}
