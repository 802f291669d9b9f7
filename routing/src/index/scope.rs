//! Which Routes and Ingresses are ours: objects of both kinds, IngressClasses and Namespaces flow in, for each object its
//! claims flow out, or nothing where it is somebody else's. The index takes the claims of every object that a change names.

use crate::admission::AdmissionRules;
use crate::claim::{Claims, ingress_claims, route_claims};
use crate::object::{Ingress, IngressClass, Kind, Namespace, ObjectKey, ObjectMeta, Route};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Scope {
    rules: AdmissionRules,
    classes: BTreeMap<ObjectKey, Class>,
    /// The namespaces that the source gives; asked only where it selects.
    namespaces: BTreeSet<Box<str>>,
    /// Every Route, served or not: what keeps it out may go.
    routes: BTreeMap<ObjectKey, KnownRoute>,
    /// Every Ingress, of whatever class: its class may become ours.
    ingresses: BTreeMap<ObjectKey, Ingress>,
    /// The Routes that were made from an Ingress.
    made_from: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

#[derive(Debug)]
struct KnownRoute {
    claims: Arc<Claims>,
    /// The Ingress that a controller made the Route from.
    made_from: Option<ObjectKey>,
}

/// What of an IngressClass decides.
#[derive(Debug, PartialEq, Eq)]
struct Class {
    ours: bool,
    default: bool,
    created: String,
}

impl Scope {
    pub(super) fn new(rules: AdmissionRules) -> Self {
        Self {
            rules,
            classes: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            routes: BTreeMap::new(),
            ingresses: BTreeMap::new(),
            made_from: BTreeMap::new(),
        }
    }

    /// What an object of ours asks for.
    pub(super) fn claims(&self, key: &ObjectKey) -> Option<Arc<Claims>> {
        if key.kind == Kind::Ingress {
            let ingress = self.ingresses.get(key).filter(|_| self.serves_ingress(key))?;
            return Some(Arc::new(ingress_claims(ingress, &self.rules.hosts)));
        }
        let route = self.routes.get(key).filter(|_| self.is_selected(&key.namespace))?;
        // OpenShift makes Routes of Ingresses. An Ingress that is served itself must not be served twice.
        let twice = route.made_from.as_ref().is_some_and(|ingress| self.serves_ingress(ingress));
        (!twice).then(|| Arc::clone(&route.claims))
    }

    /// Takes a Route in; gives the objects whose claims may have changed, as all of these do.
    pub(super) fn put_route(&mut self, route: &Route) -> Vec<ObjectKey> {
        let key = route.metadata.key(Kind::Route);
        self.forget_origin(&key);
        let made_from = origin(&route.metadata);
        if let Some(ingress) = &made_from {
            self.made_from.entry(ingress.clone()).or_default().insert(key.clone());
        }
        let claims = Arc::new(route_claims(route, &self.rules));
        self.routes.insert(key.clone(), KnownRoute { claims, made_from });
        vec![key]
    }

    pub(super) fn put_ingress(&mut self, ingress: Ingress) -> Vec<ObjectKey> {
        let key = ingress.metadata.key(Kind::Ingress);
        self.ingresses.insert(key.clone(), ingress);
        self.with_routes_of([key])
    }

    pub(super) fn put_class(&mut self, class: &IngressClass) -> Vec<ObjectKey> {
        let known = Class {
            ours: class.spec.controller == super::CONTROLLER,
            default: class.metadata.annotation(DEFAULT_CLASS) == Some("true"),
            created: class.metadata.creation_timestamp.clone().unwrap_or_default(),
        };
        let key = class.metadata.key(Kind::IngressClass);
        if self.classes.get(&key) == Some(&known) {
            return Vec::new();
        }
        self.classes.insert(key, known);
        self.with_routes_of(self.ingresses.keys().cloned())
    }

    pub(super) fn put_namespace(&mut self, namespace: &Namespace) -> Vec<ObjectKey> {
        let name = namespace.metadata.name.as_str();
        if self.namespaces.insert(name.into()) { self.of_namespace(name) } else { Vec::new() }
    }

    /// Takes an object of any of the four kinds out.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Vec<ObjectKey> {
        match key.kind {
            Kind::Route => {
                self.forget_origin(key);
                self.routes.remove(key).map(|_| key.clone()).into_iter().collect()
            }
            Kind::Ingress => match self.ingresses.remove(key) {
                Some(_) => self.with_routes_of([key.clone()]),
                None => Vec::new(),
            },
            Kind::IngressClass => match self.classes.remove(key) {
                Some(_) => self.with_routes_of(self.ingresses.keys().cloned()),
                None => Vec::new(),
            },
            _ => {
                if self.namespaces.remove(&key.name) {
                    self.of_namespace(&key.name)
                } else {
                    Vec::new()
                }
            }
        }
    }

    pub(super) fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Route => self.routes.keys().cloned().collect(),
            Kind::Ingress => self.ingresses.keys().cloned().collect(),
            Kind::IngressClass => self.classes.keys().cloned().collect(),
            _ => self.namespaces.iter().map(|name| ObjectKey::new(Kind::Namespace, "", name)).collect(),
        }
    }

    fn is_selected(&self, namespace: &str) -> bool {
        !self.rules.selected_namespaces || self.namespaces.contains(namespace)
    }

    fn serves_ingress(&self, key: &ObjectKey) -> bool {
        let ingress = self.ingresses.get(key);
        self.is_selected(&key.namespace) && ingress.is_some_and(|ingress| self.is_of_our_class(ingress))
    }

    /// The class object decides first, then the annotation of older manifests, then what is said of Ingresses without.
    fn is_of_our_class(&self, ingress: &Ingress) -> bool {
        let rules = &self.rules.classes;
        match (&ingress.spec.ingress_class_name, ingress.metadata.annotation(CLASS_ANNOTATION)) {
            (Some(name), _) => {
                let key = ObjectKey::new(Kind::IngressClass, "", name);
                self.classes.get(&key).is_some_and(|class| class.ours)
            }
            (None, Some(name)) => *name == rules.name,
            (None, None) => {
                let default = self.default_class().filter(|_| rules.fill_in_default);
                default.map_or(rules.without_class, |class| class.ours)
            }
        }
    }

    /// Of several the newest, then the first by name, as the API server has it.
    fn default_class(&self) -> Option<&Class> {
        let defaults = self.classes.iter().filter(|(_, class)| class.default);
        defaults.min_by_key(|(key, class)| (Reverse(&class.created), &key.name)).map(|(_, class)| class)
    }

    fn with_routes_of(&self, ingresses: impl IntoIterator<Item = ObjectKey>) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        for ingress in ingresses {
            keys.extend(self.made_from.get(&ingress).into_iter().flatten().cloned());
            keys.push(ingress);
        }
        keys
    }

    fn of_namespace(&self, namespace: &str) -> Vec<ObjectKey> {
        let first = |kind| ObjectKey::new(kind, namespace, "");
        let within = |key: &&ObjectKey| *key.namespace == *namespace;
        let routes = self.routes.range(first(Kind::Route)..).map(|(key, _)| key).take_while(within);
        let ingresses = self.ingresses.range(first(Kind::Ingress)..).map(|(key, _)| key).take_while(within);
        routes.chain(ingresses).cloned().collect()
    }

    fn forget_origin(&mut self, route: &ObjectKey) {
        let Some(ingress) = self.routes.get(route).and_then(|known| known.made_from.as_ref()) else { return };
        if let Some(routes) = self.made_from.get_mut(ingress) {
            routes.remove(route);
            if routes.is_empty() {
                self.made_from.remove(ingress);
            }
        }
    }
}

/// The Ingress of which a controller made a Route.
fn origin(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let owner =
        metadata.owner_references.iter().find(|owner| owner.controller && owner.kind == Kind::Ingress.name())?;
    Some(ObjectKey::new(Kind::Ingress, &metadata.namespace, &owner.name))
}

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
