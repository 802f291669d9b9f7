//! What happens to the cluster while the clients ask: a pod moves, a router is replaced by a second one beside it, another is
//! restarted, a node is drained and emptied, one dies. Orders go to the stage, the reasons for missing answers to the load; each
//! step waits until DNS shows its effect. Called by `dns_lab`.

use super::load::Load;
use super::objects::{HOSTS, MOVING, ZONE};
use super::stage::{DRAIN, Stage};
use super::watcher::Watcher;
use crate::demo::view::View;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Plays the whole script.
pub(super) async fn play(stage: &mut Stage, load: &Load, watcher: &Watcher, view: &View) -> Result<()> {
    let mut script = Script { stage, load, watcher, view };
    script.act(Duration::from_secs(5)).await?;
    script.move_pod().await?;
    script.replace_router("n1").await?;
    script.restart_router("n3").await?;
    script.drain_node("n2").await?;
    script.lose_node("n4").await
}

struct Script<'a> {
    stage: &'a mut Stage,
    load: &'a Load,
    watcher: &'a Watcher,
    view: &'a View,
}

impl Script<'_> {
    /// As a Deployment moves a pod: the new one is ready, then the old one is deleted.
    async fn move_pod(&mut self) -> Result<()> {
        self.begin("pod move", "moving-1 on n1 gets a successor on n2, and is deleted when that is ready");
        self.replace_pod(MOVING, (1, "n1"), (2, "n2")).await?;
        self.act(self.stage.times.known()).await
    }

    /// As a DaemonSet with `maxSurge: 1`: the new router is ready beside the old one, then the old one is deleted.
    async fn replace_router(&mut self, node: &str) -> Result<()> {
        self.begin(
            "router upgrade, side by side",
            &format!("a second router starts on {node}, and the first is deleted"),
        );
        let new = self.stage.start_router(node).await?;
        let Some(old) = self.stage.install_router(node, new) else { bail!("no router on {node}") };
        self.while_ending(old.end(&self.stage.cluster.clone(), self.patience())).await?;
        self.view.event("router", &format!("the first router on {node} has ended"));
        self.act(Duration::from_secs(3)).await
    }

    /// As a DaemonSet without surge: the router is deleted, ends when everybody has left, and another starts in its place.
    async fn restart_router(&mut self, node: &str) -> Result<()> {
        self.begin("router restart", &format!("the router on {node} is deleted; another starts when it has ended"));
        self.end_router(node).await?;
        self.bring_back(node).await
    }

    /// As an operator takes a node out for maintenance: withdraw it, move its pods, end its router; and bring it back.
    async fn drain_node(&mut self, node: &str) -> Result<()> {
        self.begin("node drain", &format!("{node} is annotated nearside.dev/drain=true"));
        self.stage.control.annotate_node(node, DRAIN_ANNOTATION, Some("true"))?;
        self.gone(node, |host| host != MOVING).await?;
        self.replace_pod(MOVING, (2, node), (3, "n3")).await?;
        self.replace_pod("video", (1, node), (4, "n1")).await?;
        self.gone(node, |_| true).await?;
        self.act(self.stage.times.known()).await?;
        self.end_router(node).await?;
        self.stage.control.annotate_node(node, DRAIN_ANNOTATION, None)?;
        self.bring_back(node).await
    }

    async fn lose_node(&mut self, node: &str) -> Result<()> {
        let how =
            if self.stage.network.has_links() { "its link is cut, nothing on it runs" } else { "nothing on it runs" };
        self.begin("node death", &format!("{node} dies without a word: {how}"));
        self.load.node_dies(node);
        let id = self.stage.id_of(node).await?;
        self.stage.kill_node(node).await?;
        self.act(DETECTION).await?;
        self.stage.cluster.set_node_ready(node, false)?;
        self.view.event("death", &format!("Kubernetes notices: {node} is NotReady, its pods are unready"));
        self.gone(node, |_| true).await?;
        self.forgotten(&id).await?;
        self.load.death_is_known(node);
        self.view.event("death", &format!("no router sends anybody to {node}"));
        self.act(self.stage.times.known() + Duration::from_secs(5)).await
    }

    async fn replace_pod(&mut self, app: &str, (old, from): (u8, &str), (new, to): (u8, &str)) -> Result<()> {
        self.stage.run_pod(app, new, to)?;
        self.view.event("pod", &format!("{app}-{new} is ready on {to}; {app}-{old} on {from} is deleted"));
        self.stage.end_pod(app, old).await?;
        self.view.event("pod", &format!("{app}-{old} is gone"));
        let (from, to) = (from.to_owned(), to.to_owned());
        self.until(&format!("{app}.{ZONE}"), |nodes| nodes.contains(&to) && !nodes.contains(&from)).await
    }

    async fn end_router(&mut self, node: &str) -> Result<()> {
        let router = self.stage.take_router(node)?;
        self.load.node_leaves(node);
        self.while_ending(router.end(&self.stage.cluster.clone(), self.patience())).await?;
        self.view.event("router", &format!("the router on {node} has ended"));
        Ok(())
    }

    async fn bring_back(&mut self, node: &str) -> Result<()> {
        let router = self.stage.start_router(node).await?;
        self.stage.install_router(node, router);
        self.view.event("router", &format!("the new router on {node} is ready"));
        let node = node.to_owned();
        self.until(&format!("everywhere.{ZONE}"), |nodes| nodes.contains(&node)).await?;
        self.act(Duration::from_secs(3)).await
    }

    fn begin(&self, phase: &'static str, text: &str) {
        self.load.phase(phase);
        self.view.event("PHASE", &format!("{phase}: {text}"));
    }

    /// The longest that a router may take to end.
    fn patience(&self) -> Duration {
        self.stage.times.shutdown_delay.unwrap_or(LONGEST_DELAY) + DRAIN + Duration::from_secs(30)
    }

    /// Shows the load until a router has ended, which is no longer the stage's.
    async fn while_ending(&mut self, end: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::pin!(end);
        loop {
            tokio::select! {
                outcome = &mut end => return outcome,
                () = sleep(REFRESH) => self.show()?,
            }
        }
    }

    /// Lets the clients ask for a while.
    async fn act(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.show()?;
            sleep(REFRESH.min(end.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    /// Waits until no host that is meant leads to `node`.
    async fn gone(&mut self, node: &str, meant: impl Fn(&str) -> bool) -> Result<()> {
        for host in HOSTS.iter().filter(|host| meant(host.app)) {
            self.until(&host.name(), |nodes| !nodes.contains(node)).await?;
        }
        self.view.event("dns", &format!("{node} is gone"));
        Ok(())
    }

    /// Waits until no router would redirect to the node of this id.
    async fn forgotten(&mut self, id: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.stage.is_named(id).await? {
            if Instant::now() > deadline {
                bail!("a router still redirects to node {id} after {PATIENCE:?}; see its page /routes and its log");
            }
            self.show()?;
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn until(&mut self, host: &str, wanted: impl Fn(&BTreeSet<String>) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = Instant::now();
        loop {
            let nodes = self.watcher.nodes(host);
            if wanted(&nodes) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "{host}: DNS still answers with {nodes:?} after {PATIENCE:?}; see the logs of controller and dns-sync"
                );
            }
            if shown.elapsed() > REFRESH {
                shown = Instant::now();
                self.show()?;
            }
            sleep(POLL).await;
        }
    }

    fn show(&mut self) -> Result<()> {
        self.stage.check()?;
        self.view.status(&self.load.status());
        Ok(())
    }
}

const DRAIN_ANNOTATION: &str = "nearside.dev/drain";
/// Kubernetes takes 40 seconds by default (`--node-monitor-grace-period`); nothing is learned by waiting that long here.
const DETECTION: Duration = Duration::from_secs(3);
/// `--shutdown-delay-max` of a proxy.
const LONGEST_DELAY: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(90);
const REFRESH: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
