//! Which Secrets may be followed: Routes and Ingresses flow in as they pass by, the Secrets that they name flow out. Kept by the end that
//! reads the cluster, so that the other end, should it fall to an attacker, can ask for no others. Pure.

use crate::{Object, ObjectKey};
use nearside_routing::admission::AdmissionRules;
use nearside_routing::claim::named_secrets;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The Secrets that objects name.
#[derive(Debug)]
pub(super) struct Named {
    rules: AdmissionRules,
    /// By selection and object, those that name any.
    by_object: HashMap<(usize, ObjectKey), BTreeSet<ObjectKey>>,
    /// How many objects name each.
    users: BTreeMap<ObjectKey, usize>,
    /// Whether any came or went since that was asked.
    changed: bool,
}

impl Named {
    pub(super) fn new(rules: AdmissionRules) -> Self {
        Self { rules, by_object: HashMap::new(), users: BTreeMap::new(), changed: false }
    }

    /// Whether an object names this Secret.
    pub(super) fn allows(&self, secret: &ObjectKey) -> bool {
        self.users.contains_key(secret)
    }

    /// Whether they are others than at the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// An object is there.
    pub(super) fn put(&mut self, selection: usize, object: &Object) {
        let (key, secrets) = (object.key(), named_secrets(object, &self.rules));
        self.remove(selection, &key);
        if secrets.is_empty() {
            return;
        }
        for secret in &secrets {
            let users = self.users.entry(secret.clone()).or_default();
            *users += 1;
            self.changed |= *users == 1;
        }
        self.by_object.insert((selection, key), secrets);
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, selection: usize, key: &ObjectKey) {
        for secret in self.by_object.remove(&(selection, key.clone())).into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&secret) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&secret);
                    self.changed = true;
                }
            }
        }
    }

    /// These are all objects of a selection, and those of `kept`, of which nothing new is known.
    pub(super) fn list(&mut self, selection: usize, objects: &[Object], kept: &[ObjectKey]) {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(Object::key).chain(kept.iter().cloned()).collect();
        let of_selection = self.by_object.keys().filter(|(of, key)| *of == selection && !listed.contains(key));
        let gone: Vec<ObjectKey> = of_selection.map(|(_, key)| key.clone()).collect();
        gone.iter().for_each(|key| self.remove(selection, key));
        objects.iter().for_each(|object| self.put(selection, object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use serde_json::json;

    fn ingress(name: &str, secret: Option<&str>) -> Object {
        let annotations = secret.map(|secret| {
            json!({"nginx.ingress.kubernetes.io/auth-type": "basic", "nginx.ingress.kubernetes.io/auth-secret": secret})
        });
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let rule =
            json!({"host": "web.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
        let value = json!({
            "metadata": {"namespace": "shop", "name": name, "annotations": annotations}, "spec": {"rules": [rule]},
        });
        Object::decode(Kind::Ingress, value).unwrap()
    }

    #[test]
    fn a_secret_may_be_read_for_as_long_as_something_names_it() {
        let secret = |name: &str| ObjectKey::new(Kind::Secret, "shop", name);
        let mut named = Named::new(AdmissionRules::default());
        named.put(0, &ingress("a", Some("users")));
        named.put(0, &ingress("b", Some("users")));
        assert!(named.allows(&secret("users")));
        assert!(
            !named.allows(&secret("other")) && !named.allows(&ObjectKey::new(Kind::Secret, "kube-system", "users"))
        );
        named.remove(0, &ingress("a", None).key());
        assert!(named.allows(&secret("users")), "one of two still names it");
        named.put(0, &ingress("b", Some("others")));
        assert!(named.allows(&secret("others")) && !named.allows(&secret("users")));
        named.list(1, &[], &[]);
        assert!(named.allows(&secret("others")), "a list of another selection");
        named.list(0, &[ingress("c", Some("users"))], &[ingress("b", None).key()]);
        assert!(named.allows(&secret("others")) && named.allows(&secret("users")), "what is kept still names its own");
        named.list(0, &[], &[]);
        assert!(named.users.is_empty() && named.by_object.is_empty());
    }
}
