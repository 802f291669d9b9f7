//! Keeps account of what is published: what is desired, what the workers tell and what looks show flow in; statements about objects,
//! metrics and the page flow out. One task for the whole program, started with the workers; it writes nothing to any name server.

use super::config::Publication;
use super::fact::{Fact, Place};
use super::guard::{Changed, Shared};
use super::metrics::PublishMetrics;
use super::progress::Progress;
use crate::desired::{ObjectKey, Rejection};
use crate::limits::{ACCOUNT_PERIOD, BUILD_INTERVAL, SIGHTINGS_AT_ONCE};
use crate::overview::Overview;
use crate::reporter::SharedReports;
use crate::verify::{Resolver, Sighting, Unseen, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// What is desired now, and what that follows from. The parts belong together: statements are about the generations.
#[derive(Debug, Default)]
pub struct News {
    /// What has changed, by zone and name.
    pub names: Changed,
    /// Objects with another generation; without one those that are gone.
    pub objects: BTreeMap<ObjectKey, Option<i64>>,
    /// All that is not published, where that has changed.
    pub rejections: Option<BTreeSet<Rejection>>,
    /// Names that several objects ask for, where that has changed.
    pub shared: Option<Shared>,
    /// Whether all objects are known.
    pub synced: bool,
}

/// The page, made anew for each request.
#[derive(Clone, Debug)]
pub struct OverviewPage(Arc<Mutex<Progress>>);

impl OverviewPage {
    /// All that is known at this moment.
    pub fn overview(&self) -> Overview {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).overview(Instant::now())
    }
}

/// The task.
#[derive(Debug)]
pub struct Account {
    progress: Arc<Mutex<Progress>>,
    watchers: BTreeMap<Place, Watcher>,
    sightings: mpsc::Receiver<Sighting>,
    reports: SharedReports,
    metrics: PublishMetrics,
}

impl Account {
    /// Starts to look at each name server of each zone. Must run on a Tokio runtime.
    ///
    /// # Errors
    /// Where looking cannot be set up.
    pub fn start(publication: &Publication, reports: SharedReports, metrics: PublishMetrics) -> Result<Self, Unseen> {
        let (sender, sightings) = mpsc::channel(SIGHTINGS_AT_ONCE);
        let mut places = Vec::new();
        let mut watchers = BTreeMap::new();
        for zone in &publication.zones {
            for server in &zone.servers {
                let place = Place { zone: zone.origin.clone(), server: server.address };
                let watcher = Watcher::default();
                let resolver = Resolver::new(server.address)?;
                tokio::spawn(watcher.clone().run(place.clone(), resolver, sender.clone()));
                places.push((place.clone(), server.update));
                watchers.insert(place, watcher);
            }
        }
        let progress = Progress::new(&publication.cluster, places, Instant::now());
        Ok(Self { progress: Arc::new(Mutex::new(progress)), watchers, sightings, reports, metrics })
    }

    /// The page.
    pub fn page(&self) -> OverviewPage {
        OverviewPage(Arc::clone(&self.progress))
    }

    /// Where the statements go.
    pub(super) fn reports(&self) -> SharedReports {
        self.reports.clone()
    }

    /// Keeps account until nobody tells news any more.
    pub async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>, mut facts: mpsc::UnboundedReceiver<Fact>) {
        let mut period = tokio::time::interval(ACCOUNT_PERIOD);
        let (mut told, mut heard, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            // What is desired comes first: facts and sightings are about it.
            let period_is_over = tokio::select! {
                biased;
                count = news.recv_many(&mut told, AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    false
                }
                _ = facts.recv_many(&mut heard, AT_ONCE), if !facts.is_closed() || !facts.is_empty() => false,
                _ = self.sightings.recv_many(&mut seen, AT_ONCE) => false,
                _ = period.tick() => true,
            };
            self.take(told.drain(..), heard.drain(..), seen.drain(..));
            if period_is_over {
                self.metrics.show(&self.page().overview());
            } else {
                tokio::time::sleep(BUILD_INTERVAL).await;
            }
        }
    }

    fn take(
        &self,
        told: impl Iterator<Item = News>,
        heard: impl Iterator<Item = Fact>,
        seen: impl Iterator<Item = Sighting>,
    ) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for news in told {
            for (zone, names) in &news.names {
                for (name, intent) in names {
                    let wanted = progress.intend(zone, name, intent.as_ref(), now);
                    let watchers = self.watchers.iter().filter(|(place, _)| place.zone == *zone);
                    watchers.for_each(|(_, watcher)| watcher.want(name, wanted.as_ref()));
                }
            }
            news.objects.iter().for_each(|(key, generation)| progress.object(key, *generation));
            if let Some(rejections) = &news.rejections {
                progress.rejected(rejections);
            }
            if let Some(shared) = news.shared {
                progress.share(shared);
            }
            if news.synced {
                progress.synced();
            }
        }
        for fact in heard {
            self.metrics.hear(&fact);
            if let Some(written) = progress.hear(&fact)
                && let Some(watcher) = self.watchers.get(&fact.place)
            {
                watcher.written(&written);
                // A secondary has it soon.
                let others =
                    self.watchers.iter().filter(|(place, _)| place.zone == fact.place.zone && **place != fact.place);
                others.for_each(|(_, watcher)| watcher.written(&written));
            }
        }
        for Sighting { place, name, wanted, outcome, at } in seen {
            progress.saw(&place, &name, &wanted, &outcome, at.into_std());
        }
        progress.pass(now);
        progress.samples().iter().for_each(|sample| self.metrics.sample(sample));
        self.reports.tell(progress.statements(now));
    }
}

const AT_ONCE: usize = 1024;
