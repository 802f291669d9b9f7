//! Where desired objects come from: changes flow in, builds of the zone store flow out, at most one every
//! `BUILD_INTERVAL`. Started by `main`.

use crate::limits::BUILD_INTERVAL;
use crate::zone_store::{Change, ZoneStore};
use tokio::sync::{mpsc, watch};

/// Feeds the store until the sender of changes is gone. `synced` turns true when the zones of the first complete list
/// are published.
pub async fn follow(mut store: ZoneStore, mut changes: mpsc::Receiver<Change>, synced: watch::Sender<bool>) {
    while let Some(change) = changes.recv().await {
        store.take(change);
        while let Ok(more) = changes.try_recv() {
            store.take(more);
        }
        store.publish();
        synced.send_if_modified(|synced| !std::mem::replace(synced, store.is_synced()) && store.is_synced());
        tokio::time::sleep(BUILD_INTERVAL).await;
    }
}
