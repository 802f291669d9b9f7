//! Which Services may select which pods: Services and pods flow in, for a pod the Services that share a label with it and for
//! a Service the pods that do flow out, so that neither asks every other object of its namespace. The caller compares
//! the whole selector.

use crate::endpoints::ServiceKey;
use crate::object::{Pod, Service};
use std::collections::{BTreeMap, BTreeSet};

/// A label in a namespace: namespace, name, value.
type Label = (Box<str>, Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Services by the first label of their selector.
    services: BTreeMap<Label, BTreeSet<ServiceKey>>,
    /// Pods by each of their labels; a pod's key has the form of a Service's.
    pods: BTreeMap<Label, BTreeSet<ServiceKey>>,
}

impl Selection {
    pub(super) fn add_service(&mut self, key: &ServiceKey, service: &Service) {
        if let Some(label) = labels(key, &service.spec.selector).next() {
            self.services.entry(label).or_default().insert(key.clone());
        }
    }

    pub(super) fn remove_service(&mut self, key: &ServiceKey, service: &Service) {
        if let Some(label) = labels(key, &service.spec.selector).next() {
            remove(&mut self.services, &label, key);
        }
    }

    pub(super) fn add_pod(&mut self, key: &ServiceKey, pod: &Pod) {
        for label in labels(key, &pod.metadata.labels) {
            self.pods.entry(label).or_default().insert(key.clone());
        }
    }

    pub(super) fn remove_pod(&mut self, key: &ServiceKey, pod: &Pod) {
        for label in labels(key, &pod.metadata.labels) {
            remove(&mut self.pods, &label, key);
        }
    }

    /// The Services that may select a pod.
    pub(super) fn services_of(&self, key: &ServiceKey, pod: &Pod) -> impl Iterator<Item = &ServiceKey> {
        labels(key, &pod.metadata.labels).filter_map(|label| self.services.get(&label)).flatten()
    }

    /// The pods that a Service may select: those with the rarest label of its selector.
    pub(super) fn pods_of(&self, key: &ServiceKey, service: &Service) -> impl Iterator<Item = &ServiceKey> {
        let sets = labels(key, &service.spec.selector).map(|label| self.pods.get(&label));
        let rarest = sets.min_by_key(|set| set.map_or(0, BTreeSet::len)).flatten();
        rarest.into_iter().flatten()
    }
}

fn labels(key: &ServiceKey, labels: &BTreeMap<String, String>) -> impl Iterator<Item = Label> {
    labels.iter().map(|(name, value)| (key.namespace.clone(), name.as_str().into(), value.as_str().into()))
}

fn remove(index: &mut BTreeMap<Label, BTreeSet<ServiceKey>>, label: &Label, key: &ServiceKey) {
    if let Some(keys) = index.get_mut(label) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(label);
        }
    }
}
