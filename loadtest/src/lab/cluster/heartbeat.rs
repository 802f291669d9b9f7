//! The heartbeats of the lab's kubelets: without them a real cluster takes the nodes for dead. Started by whoever runs a lab in a
//! cluster that has a node lifecycle controller.

use super::{Cluster, timestamp_micros};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

impl Cluster {
    /// Renews the Lease of every node that is not silent, until the returned task is aborted.
    pub fn send_heartbeats(self: &Arc<Self>) -> JoinHandle<()> {
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                for node in cluster.nodes.iter().map(|node| node.name()).filter(|node| cluster.is_node_ready(node)) {
                    let lease = json!({
                        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                        "metadata": {"namespace": "kube-node-lease", "name": node},
                        "spec": {
                            "holderIdentity": node, "leaseDurationSeconds": 40,
                            "renewTime": timestamp_micros(SystemTime::now()),
                        },
                    });
                    // One that is lost is made up for by the next.
                    let _ = cluster.store.put(&lease);
                }
                tokio::time::sleep(PERIOD).await;
            }
        })
    }
}

/// `nodeStatusUpdateFrequency` of a kubelet; a node is given up after 40 s.
const PERIOD: Duration = Duration::from_secs(10);
