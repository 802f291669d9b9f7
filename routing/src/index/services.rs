//! The part of the index that knows Services: Services, pods and EndpointSlices flow in, the endpoint table flows out.
//! The unit of work is a Service.

use super::selection::Selection;
use super::{EndpointSource, Notice};
use crate::address_policy::AddressPolicy;
use crate::endpoints::{EndpointTable, ServiceEndpoints, ServiceKey, from_pods, from_slices};
use crate::object::{EndpointSlice, Kind, ObjectKey, Pod, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct ServiceIndex {
    source: EndpointSource,
    addresses: AddressPolicy,
    services: BTreeMap<ServiceKey, Service>,
    pods: BTreeMap<ServiceKey, Pod>,
    slices: BTreeMap<ServiceKey, EndpointSlice>,
    /// The slices of each Service.
    slices_of: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    selection: Selection,
    dirty: BTreeSet<ServiceKey>,
    notices: BTreeSet<Notice>,
}

impl ServiceIndex {
    pub(super) fn new(source: EndpointSource, addresses: AddressPolicy) -> Self {
        Self {
            source,
            addresses,
            services: BTreeMap::new(),
            pods: BTreeMap::new(),
            slices: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            selection: Selection::default(),
            dirty: BTreeSet::new(),
            notices: BTreeSet::new(),
        }
    }

    pub(super) fn put_service(&mut self, service: Service) {
        let key = ServiceKey::new(&service.metadata.namespace, &service.metadata.name);
        if self.services.get(&key).is_none_or(|known| known.spec != service.spec) {
            self.dirty.insert(key.clone());
            if let Some(before) = self.services.get(&key) {
                self.selection.remove_service(&key, before);
            }
            self.selection.add_service(&key, &service);
            self.services.insert(key, service);
        }
    }

    pub(super) fn remove_service(&mut self, key: &ObjectKey) {
        let key = ServiceKey::new(&key.namespace, &key.name);
        if let Some(service) = self.services.remove(&key) {
            self.selection.remove_service(&key, &service);
            self.dirty.insert(key);
        }
    }

    pub(super) fn put_pod(&mut self, pod: Pod) {
        let key = ServiceKey::new(&pod.metadata.namespace, &pod.metadata.name);
        if let EndpointSource::Pods { node: Some(node) } = &self.source
            && *pod.spec.node_name != **node
        {
            // In a directory of manifests stand the pods of every node.
            self.remove_pod(&ObjectKey::new(Kind::Pod, &key.namespace, &key.name));
            return;
        }
        if pod.is_ready() && !pod.has_ended() && pod.addresses().is_empty() {
            let message = "the pod is Ready but has no IP address, so no Service can use it";
            self.note(Kind::Pod, &key, "status.podIP", message);
        }
        self.forget_pod(&key);
        self.touch_selecting(&key, &pod);
        if self.source != EndpointSource::Slices {
            self.selection.add_pod(&key, &pod);
        }
        self.pods.insert(key, pod);
    }

    pub(super) fn remove_pod(&mut self, key: &ObjectKey) {
        self.forget_pod(&ServiceKey::new(&key.namespace, &key.name));
    }

    pub(super) fn put_slice(&mut self, slice: EndpointSlice) {
        let key = ServiceKey::new(&slice.metadata.namespace, &slice.metadata.name);
        self.forget_slice(&key);
        if self.source != EndpointSource::Slices && slice.is_derived_from_pods() {
            return;
        }
        let Some(service) = slice.service_name() else {
            return;
        };
        let service = ServiceKey::new(&slice.metadata.namespace, service);
        if slice.address_type != "FQDN" && slice.endpoints.iter().any(|endpoint| endpoint.node_name.is_none()) {
            let message = "an endpoint names no node, so no node answers for it";
            self.note(Kind::EndpointSlice, &key, "endpoints[].nodeName", message);
        }
        self.slices_of.entry(service.clone()).or_default().insert(key.clone());
        self.dirty.insert(service);
        self.slices.insert(key, slice);
    }

    pub(super) fn remove_slice(&mut self, key: &ObjectKey) {
        self.forget_slice(&ServiceKey::new(&key.namespace, &key.name));
    }

    pub(super) fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        let keys: Vec<&ServiceKey> = match kind {
            Kind::Service => self.services.keys().collect(),
            Kind::Pod => self.pods.keys().collect(),
            Kind::EndpointSlice => self.slices.keys().collect(),
            _ => Vec::new(),
        };
        keys.into_iter().map(|key| ObjectKey::new(kind, &key.namespace, &key.name)).collect()
    }

    /// A node's addresses changed, so what is refused can have changed for every Service with an endpoint there. `table` was
    /// published last; what was not is looked at anyway.
    pub(super) fn readdress(&mut self, node: &str, table: &EndpointTable) {
        let there = |endpoints: &ServiceEndpoints| {
            let mut usable = endpoints.ports.iter().flat_map(|port| &port.endpoints);
            usable.any(|endpoint| *endpoint.node == *node)
                || endpoints.refused.iter().any(|endpoint| *endpoint.node == *node)
        };
        self.dirty.extend(table.iter().filter(|(_, endpoints)| there(endpoints)).map(|(key, _)| key.clone()));
    }

    /// The new endpoint table, if any Service's endpoints changed.
    pub(super) fn publish(
        &mut self,
        table: &EndpointTable,
        node_addresses: &dyn Fn(&str) -> Vec<IpAddr>,
        notices: &mut BTreeSet<Notice>,
    ) -> Option<EndpointTable> {
        notices.append(&mut self.notices);
        let mut next: Option<EndpointTable> = None;
        for key in std::mem::take(&mut self.dirty) {
            let endpoints = self.endpoints(&key, node_addresses);
            let known = table.get(&key);
            if known.map(|known| &**known) == endpoints.as_ref() {
                continue;
            }
            notices.extend(endpoints.iter().flat_map(|endpoints| refusals(&key, endpoints)));
            next.get_or_insert_with(|| table.clone()).set(key, endpoints.map(Arc::new));
        }
        next
    }

    fn endpoints(&self, key: &ServiceKey, node_addresses: &dyn Fn(&str) -> Vec<IpAddr>) -> Option<ServiceEndpoints> {
        let service = self.services.get(key);
        let slices = self.slices_of.get(key);
        if service.is_none() && slices.is_none() {
            return None;
        }
        let slices = slices.into_iter().flatten().filter_map(|slice| self.slices.get(slice));
        let mut endpoints = from_slices(service, slices, node_addresses, &self.addresses);
        if let (EndpointSource::Pods { .. }, Some(service)) = (&self.source, service) {
            endpoints.merge(from_pods(service, self.pods_of(key, service), node_addresses, &self.addresses));
        }
        Some(endpoints)
    }

    fn pods_of(&self, key: &ServiceKey, service: &Service) -> impl Iterator<Item = &Pod> {
        self.selection.pods_of(key, service).filter_map(|pod| self.pods.get(pod))
    }

    fn forget_pod(&mut self, key: &ServiceKey) {
        if let Some(pod) = self.pods.remove(key) {
            self.touch_selecting(key, &pod);
            self.selection.remove_pod(key, &pod);
        }
    }

    fn touch_selecting(&mut self, key: &ServiceKey, pod: &Pod) {
        if self.source == EndpointSource::Slices {
            return;
        }
        for key in self.selection.services_of(key, pod) {
            let selects = |service: &Service| {
                let selector = &service.spec.selector;
                selector.iter().all(|(name, value)| pod.metadata.labels.get(name) == Some(value))
            };
            if self.services.get(key).is_some_and(selects) {
                self.dirty.insert(key.clone());
            }
        }
    }

    fn note(&mut self, kind: Kind, key: &ServiceKey, field: &str, message: &str) {
        let object = ObjectKey::new(kind, &key.namespace, &key.name);
        self.notices.insert(Notice { object, field: field.to_owned(), message: message.to_owned() });
    }

    fn forget_slice(&mut self, key: &ServiceKey) {
        let Some(slice) = self.slices.remove(key) else {
            return;
        };
        let Some(service) = slice.service_name() else {
            return;
        };
        let service = ServiceKey::new(&slice.metadata.namespace, service);
        if let Some(slices) = self.slices_of.get_mut(&service) {
            slices.remove(key);
            if slices.is_empty() {
                self.slices_of.remove(&service);
            }
        }
        self.dirty.insert(service);
    }
}

fn refusals<'e>(key: &'e ServiceKey, endpoints: &'e ServiceEndpoints) -> impl Iterator<Item = Notice> + use<'e> {
    endpoints.refused.iter().map(move |refused| {
        let (object, field) = if refused.pod.is_empty() {
            (ObjectKey::new(Kind::Service, &key.namespace, &key.name), "endpoints[].addresses")
        } else {
            (ObjectKey::new(Kind::Pod, &key.namespace, &refused.pod), "status.podIP")
        };
        let message = format!(
            "{} is {}, so Service {key} does not use it; --allow-endpoints can allow it",
            refused.address.ip(),
            refused.refusal
        );
        Notice { object, field: field.into(), message }
    })
}
