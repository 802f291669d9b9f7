//! A name server in this process: real sockets on a free port, zones made of the given records, stopped when dropped.

use nearside_dns_sync::desired::{DesiredEndpoint, DesiredObject, ObjectKey};
use nearside_dns_sync::metrics::Metrics;
use nearside_dns_sync::serve::{Answering, Listeners, LoopEnded, Responder, TransferKeys, notify, serve};
use nearside_dns_sync::zone::build::{NameServer, ZoneSettings};
use nearside_dns_sync::zone_store::{Change, ZoneStore};
use prometheus::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: ZoneStore,
    registry: Registry,
    metrics: Arc<Metrics>,
    keys: TransferKeys,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<Result<(), LoopEnded>>>,
    runtime: Runtime,
}

/// A zone with `ns1.<origin>` at 192.0.2.53.
pub(crate) fn zone(origin: &str) -> ZoneSettings {
    let server =
        NameServer { name: format!("ns1.{origin}").parse().unwrap(), addresses: vec!["192.0.2.53".parse().unwrap()] };
    ZoneSettings { origin: origin.parse().unwrap(), name_servers: vec![server] }
}

/// An object `router/<name>` with the given (name, type, targets).
pub(crate) fn object<T: AsRef<str>>(name: &str, records: &[(&str, &str, &[T])]) -> DesiredObject {
    let endpoint = |(dns_name, record_type, targets): &(&str, &str, &[T])| DesiredEndpoint {
        dns_name: (*dns_name).into(),
        record_type: (*record_type).into(),
        targets: targets.iter().map(|target| target.as_ref().into()).collect(),
        record_ttl: None,
    };
    let key = ObjectKey { namespace: "router".into(), name: name.into() };
    DesiredObject { key, endpoints: records.iter().map(endpoint).collect(), ..DesiredObject::default() }
}

impl Server {
    pub(crate) fn start(listen: &str, zones: Vec<ZoneSettings>, objects: Vec<DesiredObject>) -> Self {
        Self::start_with(listen, zones, objects, &Answering::default(), TransferKeys::default())
    }

    pub(crate) fn start_with(
        listen: &str,
        zones: Vec<ZoneSettings>,
        objects: Vec<DesiredObject>,
        answering: &Answering,
        keys: TransferKeys,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let registry = Registry::new();
        let metrics = Arc::new(Metrics::register(&registry).unwrap());
        let mut store = ZoneStore::new(zones, Arc::clone(&metrics));
        store.take(Change::Reset(objects));
        store.publish();
        let responder = Responder::new(store.zones(), Arc::clone(&metrics), answering, Arc::clone(&keys));
        let responder = Arc::new(responder);
        let entered = runtime.enter();
        let listeners = Listeners::bind(&[listen.parse().unwrap()]).unwrap();
        drop(entered);
        let address = listeners.addresses()[0];
        let (stop, stopped) = watch::channel(false);
        let task = Some(runtime.spawn(serve(listeners, responder, stopped)));
        Self { address, store, registry, metrics, keys, stop, task, runtime }
    }

    /// Replaces all objects.
    pub(crate) fn publish(&mut self, objects: Vec<DesiredObject>) {
        self.store.take(Change::Reset(objects));
        self.store.publish();
    }

    /// Notifies this secondary of every change.
    pub(crate) fn notify(&self, secondary: SocketAddr) {
        let (zones, swaps) = (self.store.zones(), self.store.swaps());
        let (keys, metrics) = (Arc::clone(&self.keys), Arc::clone(&self.metrics));
        self.runtime.spawn(notify(secondary, zones, swaps, keys, metrics));
    }

    /// The sum of all series of a name.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let value =
            |metric: &prometheus::proto::Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
        family.get_metric().iter().map(value).sum()
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until every loop has ended.
    pub(crate) fn join(&mut self) {
        if let Some(task) = self.task.take() {
            self.runtime.block_on(task).unwrap().unwrap();
        }
    }
}
