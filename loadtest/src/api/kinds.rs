//! The table of kinds the fake API serves: one row a kind goes in, discovery, routing and storage read it.
//! Kinds come from the table or from CustomResourceDefinition objects, and can be switched off at run time.

use super::object::{items, text};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};

/// One kind at one version: what its row of discovery says, and how its objects are kept.
#[derive(Clone, Debug)]
pub(crate) struct ResourceKind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) namespaced: bool,
    /// Has the `/status` subresource: the main endpoint then ignores `status`.
    pub(crate) status: bool,
    /// `metadata.generation` counts changes of the specification.
    pub(crate) generation: bool,
    /// An update without `metadata.resourceVersion` is accepted.
    pub(crate) unconditional_update: bool,
    /// Decoded into a Go type by the real server: knows strategic merge, and lists leave out the items' type.
    pub(crate) typed: bool,
    /// The collection that holds the objects; two kinds may be views of one (Event).
    pub(crate) storage: Arc<str>,
    /// Fields that field selectors may name beside `metadata.name` and `metadata.namespace`.
    pub(crate) fields: Vec<String>,
    /// `openAPIV3Schema` of a custom resource.
    pub(crate) schema: Option<Value>,
}

impl ResourceKind {
    /// `group/version`, or `v1` for the core group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `plural.group`, as error messages spell it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// `true` for `name` as plural, qualified plural or kind.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.plural == name || self.kind == name || self.qualified() == name
    }

    /// The kinds one version of a CustomResourceDefinition object declares.
    pub(crate) fn from_definition(definition: &Value) -> Vec<Self> {
        let names = |field: &str| text(definition, &format!("spec.names.{field}")).to_owned();
        let group = text(definition, "spec.group").to_owned();
        let plural = names("plural");
        let storage: Arc<str> = format!("{plural}.{group}").into();
        items(definition, "spec.versions")
            .iter()
            .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false))
            .map(|version| Self {
                group: group.clone(),
                version: text(version, "name").to_owned(),
                kind: names("kind"),
                plural: plural.clone(),
                singular: names("singular"),
                short_names: items(definition, "spec.names.shortNames")
                    .iter()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
                namespaced: text(definition, "spec.scope") == "Namespaced",
                status: version.pointer("/subresources/status").is_some(),
                generation: true,
                unconditional_update: false,
                typed: false,
                storage: Arc::clone(&storage),
                fields: items(version, "selectableFields")
                    .iter()
                    .map(|field| text(field, "jsonPath").trim_start_matches('.').to_owned())
                    .collect(),
                schema: version.pointer("/schema/openAPIV3Schema").cloned(),
            })
            .collect()
    }
}

/// All kinds with their switch. Shared by every request.
#[derive(Debug)]
pub(crate) struct Kinds {
    entries: RwLock<Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: Arc<ResourceKind>,
    enabled: bool,
    /// Came from a CustomResourceDefinition object and goes with it.
    defined: bool,
}

impl Kinds {
    /// The kinds of the table, all switched on.
    pub(crate) fn builtin() -> Self {
        Self::rows(|_| true)
    }

    /// The same without those that a plain cluster has by their definitions alone.
    pub(crate) fn plain() -> Self {
        Self::rows(|row| !["routes", "dnsendpoints"].contains(&row.plural))
    }

    fn rows(wanted: impl Fn(&Row) -> bool) -> Self {
        let rows = TABLE.iter().filter(|row| wanted(row));
        let entries = rows.map(|row| Entry { kind: Arc::new(row.kind()), enabled: true, defined: false }).collect();
        Self { entries: RwLock::new(entries) }
    }

    pub(crate) fn by_resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<ResourceKind>> {
        self.find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    pub(crate) fn by_type(&self, api_version: &str, name: &str) -> Option<Arc<ResourceKind>> {
        self.find(|kind| kind.kind == name && kind.api_version() == api_version)
    }

    pub(crate) fn by_storage(&self, storage: &str) -> Option<Arc<ResourceKind>> {
        self.find(|kind| &*kind.storage == storage)
    }

    fn find(&self, wanted: impl Fn(&ResourceKind) -> bool) -> Option<Arc<ResourceKind>> {
        self.read(|entries| {
            entries.iter().find(|entry| entry.enabled && wanted(&entry.kind)).map(|entry| Arc::clone(&entry.kind))
        })
    }

    /// Every kind that is served now, in the order of the table.
    pub(crate) fn served(&self) -> Vec<Arc<ResourceKind>> {
        self.read(|entries| entries.iter().filter(|entry| entry.enabled).map(|entry| Arc::clone(&entry.kind)).collect())
    }

    /// Switches kinds called `name` (plural, `plural.group` or kind) on or off; the collections concerned.
    pub(crate) fn set_enabled(&self, name: &str, enabled: bool) -> Vec<Arc<str>> {
        self.write(|entries| {
            let mut changed = Vec::new();
            for entry in entries.iter_mut().filter(|entry| entry.kind.is_called(name)) {
                entry.enabled = enabled;
                changed.push(Arc::clone(&entry.kind.storage));
            }
            changed
        })
    }

    /// Serves what a CustomResourceDefinition declares; a kind of the table is switched on instead.
    pub(crate) fn define(&self, definition: &Value) {
        self.write(|entries| {
            for kind in ResourceKind::from_definition(definition) {
                match entries
                    .iter_mut()
                    .find(|entry| entry.kind.qualified() == kind.qualified() && entry.kind.version == kind.version)
                {
                    Some(entry) if !entry.defined => entry.enabled = true,
                    Some(entry) => entry.kind = Arc::new(kind),
                    None => entries.push(Entry { kind: Arc::new(kind), enabled: true, defined: true }),
                }
            }
        });
    }

    /// Stops serving what a CustomResourceDefinition declared; the collections concerned.
    pub(crate) fn undefine(&self, definition: &Value) -> Vec<Arc<str>> {
        let gone = ResourceKind::from_definition(definition);
        self.write(|entries| {
            entries
                .retain(|entry| !(entry.defined && gone.iter().any(|kind| kind.qualified() == entry.kind.qualified())));
            for entry in entries.iter_mut() {
                if gone.iter().any(|kind| kind.qualified() == entry.kind.qualified()) {
                    entry.enabled = false;
                }
            }
        });
        gone.into_iter().map(|kind| kind.storage).collect()
    }

    fn read<T>(&self, with: impl FnOnce(&[Entry]) -> T) -> T {
        with(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, with: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        with(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One row of the table; the flags default to those of a plain typed kind.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: &'static [&'static str],
    namespaced: bool,
    status: bool,
    generation: bool,
    unconditional_update: bool,
    typed: bool,
    fields: &'static [&'static str],
}

impl Row {
    const fn namespaced(group: &'static str, kind: &'static str, plural: &'static str, singular: &'static str) -> Self {
        Self {
            group,
            version: "v1",
            kind,
            plural,
            singular,
            short_names: &[],
            namespaced: true,
            status: false,
            generation: false,
            unconditional_update: true,
            typed: true,
            fields: &[],
        }
    }

    const fn cluster(group: &'static str, kind: &'static str, plural: &'static str, singular: &'static str) -> Self {
        Self { namespaced: false, ..Self::namespaced(group, kind, plural, singular) }
    }

    fn kind(&self) -> ResourceKind {
        let storage = match (self.plural, self.group) {
            ("events", _) | (_, "") => self.plural.to_owned(),
            (plural, group) => format!("{plural}.{group}"),
        };
        let owned = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        ResourceKind {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.singular.to_owned(),
            short_names: owned(self.short_names),
            namespaced: self.namespaced,
            status: self.status,
            generation: self.generation,
            unconditional_update: self.unconditional_update,
            typed: self.typed,
            storage: storage.into(),
            fields: owned(self.fields),
            schema: None,
        }
    }
}

const TABLE: &[Row] = &[
    Row {
        short_names: &["ns"],
        status: true,
        fields: &["status.phase"],
        ..Row::cluster("", "Namespace", "namespaces", "namespace")
    },
    Row {
        short_names: &["no"],
        status: true,
        fields: &["spec.unschedulable"],
        ..Row::cluster("", "Node", "nodes", "node")
    },
    Row {
        short_names: &["po"],
        status: true,
        generation: true,
        fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ..Row::namespaced("", "Pod", "pods", "pod")
    },
    Row {
        short_names: &["svc"],
        status: true,
        fields: &["spec.clusterIP", "spec.type"],
        ..Row::namespaced("", "Service", "services", "service")
    },
    Row { fields: &["type"], ..Row::namespaced("", "Secret", "secrets", "secret") },
    Row { short_names: &["cm"], ..Row::namespaced("", "ConfigMap", "configmaps", "configmap") },
    Row {
        short_names: &["ev"],
        fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..Row::namespaced("", "Event", "events", "event")
    },
    Row { short_names: &["sa"], ..Row::namespaced("", "ServiceAccount", "serviceaccounts", "serviceaccount") },
    Row::namespaced("rbac.authorization.k8s.io", "Role", "roles", "role"),
    Row::namespaced("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", "rolebinding"),
    Row::cluster("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", "clusterrole"),
    Row::cluster("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding"),
    Row { short_names: &["ep"], ..Row::namespaced("", "Endpoints", "endpoints", "endpoints") },
    Row { generation: true, ..Row::namespaced("discovery.k8s.io", "EndpointSlice", "endpointslices", "endpointslice") },
    Row {
        short_names: &["ing"],
        status: true,
        generation: true,
        ..Row::namespaced("networking.k8s.io", "Ingress", "ingresses", "ingress")
    },
    Row { generation: true, ..Row::cluster("networking.k8s.io", "IngressClass", "ingressclasses", "ingressclass") },
    Row {
        generation: true,
        ..Row::namespaced("networking.k8s.io", "NetworkPolicy", "networkpolicies", "networkpolicy")
    },
    Row {
        short_names: &["deploy"],
        status: true,
        generation: true,
        ..Row::namespaced("apps", "Deployment", "deployments", "deployment")
    },
    Row {
        short_names: &["ds"],
        status: true,
        generation: true,
        ..Row::namespaced("apps", "DaemonSet", "daemonsets", "daemonset")
    },
    Row {
        short_names: &["pdb"],
        status: true,
        generation: true,
        ..Row::namespaced("policy", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget")
    },
    Row { unconditional_update: false, ..Row::namespaced("coordination.k8s.io", "Lease", "leases", "lease") },
    Row {
        short_names: &["ev"],
        fields: &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ..Row::namespaced("events.k8s.io", "Event", "events", "event")
    },
    Row {
        status: true,
        generation: true,
        unconditional_update: false,
        fields: &["spec.host", "spec.path", "spec.to.name"],
        ..Row::namespaced("route.openshift.io", "Route", "routes", "route")
    },
    Row {
        version: "v1alpha1",
        status: true,
        generation: true,
        unconditional_update: false,
        typed: false,
        ..Row::namespaced("externaldns.k8s.io", "DNSEndpoint", "dnsendpoints", "dnsendpoint")
    },
    Row {
        short_names: &["crd", "crds"],
        status: true,
        generation: true,
        unconditional_update: false,
        ..Row::cluster(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
        )
    },
];
