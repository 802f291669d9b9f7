//! Publishes names on name servers that others run, by RFC 2136: what objects desire and what a server holds flow in, signed
//! updates flow out, each bound to what was read before by prerequisites.
//!
//! [`guard`] makes intents of what the source tells, and of what was [`last_good`] before it tells anything; [`cap`] bounds them.
//! The unit is an owner name. For each, [`intent`] says what should stand there, [`observed`] what a server holds, [`marker`]
//! whose it is, [`update`] what a message changes and on which condition, [`failure`] how a server may refuse. [`plan`](mod@plan)
//! makes writes of the first three, [`fence`] says when a newer view may be overwritten, [`batch`] makes messages, [`isolation`]
//! finds the names at fault, [`drift`] those that others change too, [`backoff`] says how long to wait.
//! A [`feed`] makes the intents of each zone, a [`worker`] keeps them on one server, and tells what happens as [`fact`]s; [`diff`]
//! shows a plan to people, [`preview`] makes one without publishing. An [`account`] looks at what each server answers, keeps the
//! [`progress`] of each name, and tells the cluster, the [`metrics`] and the page of it.
//! Servers are spoken to in a [`session`] with a [`key`], over a [`connection`], by which [`reading`] learns what they hold and [`transfer`] a whole zone.

pub mod account;
pub mod backoff;
pub mod batch;
pub mod cap;
pub mod config;
pub mod confirmation;
pub mod connection;
pub mod diff;
pub mod drift;
pub mod fact;
pub mod failure;
pub mod feed;
pub mod fence;
pub mod garbage;
pub mod guard;
pub mod intent;
pub mod isolation;
pub mod key;
pub mod last_good;
pub mod marker;
pub mod metrics;
pub mod observed;
pub mod plan;
pub mod preview;
pub mod progress;
pub mod reading;
pub mod session;
pub mod transfer;
pub mod update;
pub mod worker;

use crate::source::Endpoints;
use account::Account;
use config::Publication;
use connection::Bounds;
use fact::{Facts, Place};
use feed::{Feed, Told};
use guard::List;
use key::Keys;
use plan::ZonePolicy;
use session::Session;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use worker::Worker;

/// All tasks that publish.
#[derive(Debug)]
pub struct Publisher {
    feed: JoinHandle<()>,
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Publisher {
    /// Starts to publish. Gives a flag that turns true with the first complete list of objects, and whose sender goes with the source.
    /// Must run on a Tokio runtime.
    pub fn start(
        publication: &Publication,
        endpoints: Endpoints,
        mut facts: Facts,
        account: Account,
        dry_run: bool,
    ) -> (Self, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        let (synced, first_sync) = watch::channel(false);
        let heard = facts.listen();
        let (news, told_account) = mpsc::unbounded_channel();
        let reports = account.reports();
        tokio::spawn(account.run(told_account, facts.listen()));
        let (mut told, mut workers) = (Told::new(), JoinSet::new());
        for zone in &publication.zones {
            let mut of_zone = Vec::new();
            let policy = Arc::new(ZonePolicy {
                origin: zone.origin.clone(),
                cluster: publication.cluster.clone(),
                dedicated: zone.dedicated,
                adopt: zone.adopt.clone(),
            });
            for server in zone.servers.iter().filter(|server| server.update) {
                let place = Place { zone: zone.origin.clone(), server: server.address };
                let session = Session::new(server.address, Keys::read(&server.keys), Bounds::default());
                let (sender, changes) = mpsc::unbounded_channel();
                of_zone.push(sender);
                let worker = Worker::new(place, Arc::clone(&policy), session, changes, facts.clone(), dry_run);
                workers.spawn(worker.run(stopped.clone()));
            }
            told.insert(zone.origin.clone(), of_zone);
        }
        let list = if endpoints.is_certain() { List::Certain } else { List::Claimed };
        let feed = Feed::new(&publication.cluster, publication.state_dir.as_deref(), told, list, news, reports);
        let feed = tokio::spawn(feed.run(endpoints, heard, synced, stopped));
        (Self { feed, workers, stop }, first_sync)
    }

    /// Ends: what is on its way to a server is waited for, and nothing more is sent.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        // It ends by a panic alone if not by this.
        drop(self.feed.await);
    }
}
