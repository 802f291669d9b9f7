//! Looks at DNS without a pause: every host is asked for again and again, past all caches. Each change and each answer without an
//! address flows out. Started and stopped by `dns_lab`.

use super::objects::HOSTS;
use super::stage::Stage;
use crate::demo::view::View;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The running watcher.
pub(super) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Seen {
    pub(super) answers: u64,
    /// Answers that had no address, or were no answers.
    pub(super) empty: Vec<String>,
    /// Nodes of each host by its last answer.
    #[serde(skip)]
    hosts: BTreeMap<String, BTreeSet<String>>,
}

impl Watcher {
    pub(super) fn start(stage: &Stage, view: Arc<View>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (names, shared) = (stage.names(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                for host in HOSTS.iter().map(super::objects::Host::name) {
                    let answer = names.nodes_of(&host).await;
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.answers += 1;
                    match answer {
                        Ok(nodes) if nodes.is_empty() => seen.complain(&view, format!("{host}: no address")),
                        Ok(nodes) => {
                            if seen.hosts.get(&host) != Some(&nodes) {
                                let list: Vec<&str> = nodes.iter().map(String::as_str).collect();
                                view.event("dns", &format!("{host} -> {}", list.join(" ")));
                                seen.hosts.insert(host, nodes);
                            }
                        }
                        Err(error) => seen.complain(&view, format!("{host}: {error:#}")),
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { seen, task }
    }

    /// The nodes of a host by its last answer.
    pub(super) fn nodes(&self, host: &str) -> BTreeSet<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).hosts.get(host).cloned().unwrap_or_default()
    }

    pub(super) async fn stop(self) -> Seen {
        self.task.abort();
        let _ = self.task.await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    fn complain(&mut self, view: &View, what: String) {
        view.event("dns", &format!("WRONG: {what}"));
        if self.empty.len() < MOST_KEPT {
            self.empty.push(what);
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);
const MOST_KEPT: usize = 100;
