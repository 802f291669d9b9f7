//! The keys with which secondaries may have zones: files flow in, keys flow out behind one pointer that `respond` and `notify`
//! read. A file that changes is read again, so that a new key can be given beside the old one and the old one taken away later.

use super::TransferKeys;
use crate::limits::KEY_CHECK;
use crate::publish::config::KeySource;
use crate::publish::key::{Keys, UnusableKey};
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{info, warn};

/// Reads the files, and gives what follows them for ever. A file that is of no use is told and costs only its own keys: queries are
/// answered all the same.
pub fn follow_keys(files: Vec<PathBuf>, keys: TransferKeys) -> impl Future<Output = ()> + Send + 'static {
    let sources: Vec<KeySource> = files.into_iter().map(KeySource::File).collect();
    let mut read = Keys::read(&sources);
    let mut told = Vec::new();
    publish(&read, &keys, &mut told);
    async move {
        loop {
            tokio::time::sleep(KEY_CHECK).await;
            if read.refresh() || read.problems() != told {
                publish(&read, &keys, &mut told);
            }
        }
    }
}

fn publish(read: &Keys, keys: &TransferKeys, told: &mut Vec<UnusableKey>) {
    let problems = read.problems();
    for problem in problems.iter().filter(|problem| !told.contains(*problem)) {
        warn!("the key of zone transfers {problem}");
    }
    *told = problems;
    let known = read.all();
    let names: Vec<String> = known.iter().map(|key| key.name().to_string()).collect();
    info!(keys = names.join(" "), "keys of zone transfers read");
    keys.store(Arc::new(known));
}
