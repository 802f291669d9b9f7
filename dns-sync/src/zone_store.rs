//! The one owner of what is desired: changes of objects flow in, zones flow out behind one pointer that queries read.
//! Fed by `source`, read through the pointer by `serve`. Nothing is published before the first complete list.

use crate::desired::{Desired, DesiredObject, ObjectKey, Rejection, parse};
use crate::metrics::Metrics;
use crate::name::Name;
use crate::report::Statement;
use crate::report::served::statement;
use crate::serial;
use crate::zone::Zones;
use crate::zone::build::{ZoneSettings, assemble};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// One change of the set of DNSEndpoint objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These are all objects there are; the answer to a complete list.
    Reset(Vec<DesiredObject>),
    /// The object was added or changed.
    Apply(DesiredObject),
    /// The object was deleted.
    Delete(ObjectKey),
}

/// Holds the objects and publishes the zones made of them.
#[derive(Debug)]
pub struct ZoneStore {
    settings: Vec<ZoneSettings>,
    desired: BTreeMap<ObjectKey, Desired>,
    published: HashMap<Name, (u32, u64)>,
    reported: BTreeSet<Rejection>,
    zones: Arc<ArcSwap<Zones>>,
    /// Counts the swaps.
    swaps: watch::Sender<u64>,
    metrics: Arc<Metrics>,
    synced: bool,
    dirty: bool,
}

impl ZoneStore {
    /// A store of the given zones that has seen no object yet.
    pub fn new(settings: Vec<ZoneSettings>, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            desired: BTreeMap::new(),
            published: HashMap::new(),
            reported: BTreeSet::new(),
            zones: Arc::default(),
            swaps: watch::Sender::new(0),
            metrics,
            synced: false,
            dirty: false,
        }
    }

    /// The pointer to the zones of the moment.
    pub fn zones(&self) -> Arc<ArcSwap<Zones>> {
        Arc::clone(&self.zones)
    }

    /// Changes whenever zones are swapped.
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swaps.subscribe()
    }

    /// Whether a complete list has been seen. Before that an absent name means nothing.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Takes a change; [`publish`](Self::publish) makes it visible.
    pub fn take(&mut self, change: Change) {
        match change {
            Change::Reset(objects) => {
                self.desired = objects.iter().map(|object| (object.key.clone(), parse(object))).collect();
                self.synced = true;
            }
            Change::Apply(object) => {
                self.desired.insert(object.key.clone(), parse(&object));
            }
            Change::Delete(key) => {
                self.desired.remove(&key);
            }
        }
        self.dirty = true;
    }

    /// Builds the zones of all changes taken and swaps them in, all at once. Does nothing before the first complete
    /// list, or when nothing was taken since the last call.
    pub fn publish(&mut self) {
        if !self.synced || !std::mem::take(&mut self.dirty) {
            return;
        }
        let (drafts, conflicts) = assemble(&self.settings, self.desired.values());
        let mut zones = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let digest = draft.digest();
            let previous = self.published.get(draft.origin()).copied();
            let serial = serial::next(previous, draft.generation(), digest);
            let zone = draft.finish(serial);
            if previous != Some((serial, digest)) {
                self.published.insert(zone.origin().clone(), (serial, digest));
                self.metrics.set_zone(&zone);
                let names = zone.name_count();
                match previous {
                    None => info!(zone = %zone.origin(), serial, names, "zone published"),
                    Some(_) => debug!(zone = %zone.origin(), serial, names, "zone changed"),
                }
            }
            zones.push(zone);
        }
        // Also where the content is the same: the shares of the addresses may not be.
        self.zones.store(Arc::new(Zones::new(zones)));
        self.swaps.send_modify(|swaps| *swaps = swaps.wrapping_add(1));
        self.report(conflicts);
    }

    /// The serial of each published zone.
    pub fn serials(&self) -> BTreeMap<Name, u32> {
        self.published.iter().map(|(origin, (serial, _))| (origin.clone(), *serial)).collect()
    }

    /// What is to be said of each object now that the zones are published: a function of its key and `metadata.generation`.
    pub fn statements(&self) -> impl Fn(&ObjectKey, i64) -> Option<Statement> {
        let mut rejections: BTreeMap<&ObjectKey, Vec<&Rejection>> = BTreeMap::new();
        for rejection in &self.reported {
            rejections.entry(&rejection.object).or_default().push(rejection);
        }
        move |key, generation| {
            let rejected = rejections.get(key).map_or(&[][..], Vec::as_slice);
            self.desired.get(key).and_then(|desired| statement(desired, rejected, generation))
        }
    }

    /// Logs what is newly left out, and what no longer is, each once.
    fn report(&mut self, conflicts: Vec<Rejection>) {
        let own = self.desired.values().flat_map(|desired| desired.rejections.iter().cloned());
        let rejections: BTreeSet<Rejection> = own.chain(conflicts).collect();
        for rejection in rejections.difference(&self.reported) {
            warn!("{rejection}");
        }
        for settled in self.reported.difference(&rejections) {
            info!(object = %settled.object, field = settled.field, "no longer rejected");
        }
        self.metrics.rejected_endpoints.set(i64::try_from(rejections.len()).unwrap_or(i64::MAX));
        self.reported = rejections;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::DesiredEndpoint;
    use crate::zone::build::NameServer;

    fn object(name: &str, target: &str) -> DesiredObject {
        let endpoint = DesiredEndpoint {
            dns_name: format!("{name}.example.com"),
            record_type: "A".into(),
            targets: vec![target.into()],
            record_ttl: None,
        };
        let key = ObjectKey { namespace: "router".into(), name: name.into() };
        DesiredObject { key, endpoints: vec![endpoint], ..DesiredObject::default() }
    }

    fn store() -> ZoneStore {
        let server = NameServer { name: "ns.example.com".parse().unwrap(), addresses: Vec::new() };
        let settings = ZoneSettings { origin: "example.com".parse().unwrap(), name_servers: vec![server] };
        ZoneStore::new(vec![settings], Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap()))
    }

    fn serial(store: &ZoneStore) -> Option<u32> {
        store.zones.load().iter().next().map(crate::zone::Zone::serial)
    }

    #[test]
    fn nothing_is_published_before_a_complete_list() {
        let mut store = store();
        store.take(Change::Apply(object("a", "192.0.2.1")));
        store.publish();
        assert_eq!(serial(&store), None);
        store.take(Change::Reset(vec![object("a", "192.0.2.1")]));
        store.publish();
        assert!(serial(&store).is_some());
    }

    #[test]
    fn the_serial_advances_with_the_content_and_only_then() {
        let mut store = store();
        store.take(Change::Reset(vec![object("a", "192.0.2.1")]));
        store.publish();
        let first = serial(&store).unwrap();
        store.take(Change::Reset(vec![object("a", "192.0.2.1")]));
        store.publish();
        assert_eq!(serial(&store), Some(first));
        store.take(Change::Apply(object("a", "192.0.2.2")));
        store.publish();
        let second = serial(&store).unwrap();
        assert!(serial::is_greater(second, first));
        store.take(Change::Apply(object("a", "192.0.2.1")));
        store.publish();
        let third = serial(&store).unwrap();
        assert!(serial::is_greater(third, second));
        assert_eq!(third & 0xffff, first & 0xffff);
        store.take(Change::Delete(object("a", "").key));
        store.publish();
        assert!(serial::is_greater(serial(&store).unwrap(), third));
    }

    #[test]
    fn replicas_with_the_same_objects_agree_in_whatever_order_they_came() {
        let (mut one, mut other) = (store(), store());
        one.take(Change::Reset(vec![object("a", "192.0.2.1"), object("b", "192.0.2.2")]));
        one.publish();
        other.take(Change::Reset(vec![object("b", "192.0.2.2")]));
        other.take(Change::Apply(object("a", "192.0.2.1")));
        other.publish();
        assert_eq!(serial(&one), serial(&other));
    }

    #[test]
    fn an_object_is_served_when_all_of_it_that_is_ours_is() {
        let mut store = store();
        let mut both = object("a", "192.0.2.1");
        both.endpoints.push(DesiredEndpoint { dns_name: "a.example.net".into(), ..both.endpoints[0].clone() });
        let mut elsewhere = object("b", "192.0.2.1");
        elsewhere.endpoints[0].dns_name = "b.example.net".into();
        store.take(Change::Reset(vec![both, elsewhere, object("c", "no address")]));
        store.publish();
        let statements = store.statements();
        let said = |name: &str| statements(&object(name, "").key, 1).map(|statement| statement.visible);
        assert_eq!((said("a"), said("b"), said("c"), said("d")), (Some(true), None, Some(false), None));
        let said = statements(&object("c", "").key, 1).unwrap().conditions;
        assert_eq!(said[0].reason, "Rejected");
        assert!(said[0].message.starts_with("spec.endpoints[0].targets: no usable target"), "{}", said[0].message);
    }

    #[test]
    fn rejected_endpoints_are_counted_until_they_are_mended() {
        let mut store = store();
        store.take(Change::Reset(vec![object("a", "no address"), object("b", "192.0.2.1")]));
        store.publish();
        // The target, and the set that is empty without it.
        assert_eq!(store.metrics.rejected_endpoints.get(), 2);
        store.take(Change::Apply(object("a", "192.0.2.1")));
        store.publish();
        assert_eq!(store.metrics.rejected_endpoints.get(), 0);
    }
}
