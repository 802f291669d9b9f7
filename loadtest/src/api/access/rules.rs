//! Roles and their bindings (`rbac.authorization.k8s.io/v1`): a user and what is asked flow in, the rules that count for the user
//! flow out, and whether one of them allows it. Rules only add; there is none that denies.

use super::super::error::ApiError;
use super::super::object::{Key, items, meta_text, text};
use super::super::registry::{ListQuery, Registry};
use super::super::request::ObjectPath;
use super::User;
use serde_json::{Value, json};
use std::fmt;

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Something with objects.
    Objects { verb: String, path: ObjectPath },
    /// To read a path that leads to no object.
    Path { verb: String, path: String },
}

impl Asked {
    /// A verb on objects; a list or watch of one object by its name is one of that name, as the real server has it.
    pub(crate) fn objects(verb: &str, path: &ObjectPath, field_selector: &str) -> Self {
        let mut path = path.clone();
        if path.name.is_none() {
            let named = field_selector.split(',').find_map(|term| term.trim().strip_prefix("metadata.name="));
            path.name = named.map(|name| name.trim_start_matches('=').to_owned());
        }
        if path.plural == "namespaces" && path.group.is_empty() {
            path.namespace.clone_from(&path.name);
        }
        Self::Objects { verb: verb.to_owned(), path }
    }

    /// What a SubjectAccessReview asks about; `None` when it asks nothing.
    pub(crate) fn of_review(review: &Value) -> Option<Self> {
        if let Some(resource) = review.pointer("/spec/resourceAttributes") {
            let part = |field: &str| text(resource, field).to_owned();
            let given = |field: &str| Some(part(field)).filter(|part| !part.is_empty());
            let path = ObjectPath {
                group: part("group"),
                version: part("version"),
                plural: part("resource"),
                namespace: given("namespace"),
                name: given("name"),
                subresource: given("subresource"),
            };
            return Some(Self::Objects { verb: part("verb"), path });
        }
        let path = review.pointer("/spec/nonResourceAttributes")?;
        Some(Self::Path { verb: text(path, "verb").to_owned(), path: text(path, "path").to_owned() })
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Objects { path, .. } => path.namespace.as_deref(),
            Self::Path { .. } => None,
        }
    }

    /// 403 in the words of the real server.
    pub(crate) fn refused(&self, user: &str) -> ApiError {
        match self {
            Self::Path { verb, path } => {
                let why = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
                let mut error = ApiError::new(403, "Forbidden", why);
                error.details = json!({});
                error
            }
            Self::Objects { verb, path } => {
                let group = &path.group;
                let qualified = if group.is_empty() { path.plural.clone() } else { format!("{}.{group}", path.plural) };
                let named = path.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
                let place = match &path.namespace {
                    Some(namespace) => format!("in the namespace {namespace:?}"),
                    None => "at the cluster scope".to_owned(),
                };
                let resource = resource(path);
                let why = format!(
                    "{qualified}{named} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}"
                );
                let mut error = ApiError::new(403, "Forbidden", why);
                error.details =
                    json!({"name": path.name.as_deref().unwrap_or_default(), "group": group, "kind": path.plural});
                error
            }
        }
    }
}

/// As accounts of tests have it: `get route.openshift.io/routers/metrics`, or `get /metrics`.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { verb, path } => write!(f, "{verb} {path}"),
            Self::Objects { verb, path } => {
                let subresource = path.subresource.as_deref().unwrap_or_default();
                write!(f, "{verb} {}/{}/{subresource}", path.group, path.plural)
            }
        }
    }
}

/// `pods`, or `pods/status`.
fn resource(path: &ObjectPath) -> String {
    match &path.subresource {
        Some(subresource) => format!("{}/{subresource}", path.plural),
        None => path.plural.clone(),
    }
}

/// Rules that count for one user: PolicyRules as the API has them.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Value>);

impl Rules {
    pub(crate) fn allows(&self, asked: &Asked) -> bool {
        self.0.iter().any(|rule| allows(rule, asked))
    }
}

fn allows(rule: &Value, asked: &Asked) -> bool {
    let lists = |field: &str, wanted: &dyn Fn(&str) -> bool| {
        items(rule, field).iter().filter_map(Value::as_str).any(|held| held == "*" || wanted(held))
    };
    match asked {
        Asked::Path { verb, path } => {
            lists("verbs", &|held| held == verb)
                && lists("nonResourceURLs", &|held| match held.strip_suffix('*') {
                    Some(prefix) => path.starts_with(prefix),
                    None => held == path,
                })
        }
        Asked::Objects { verb, path } => {
            let wanted = resource(path);
            let names = items(rule, "resourceNames");
            let below = path.subresource.as_ref().map(|subresource| format!("*/{subresource}"));
            lists("verbs", &|held| held == verb)
                && lists("apiGroups", &|held| held == path.group)
                && lists("resources", &|held| held == wanted || Some(held) == below.as_deref())
                && (names.is_empty() || names.iter().any(|held| held.as_str() == path.name.as_deref()))
        }
    }
}

/// The rules that the bindings give a user, for the whole cluster and in one namespace.
pub(crate) fn of(registry: &Registry, user: &User, namespace: Option<&str>) -> Rules {
    let mut rules = Vec::new();
    let mut bound = |plural: &str, namespace: Option<&str>| {
        let Some(kind) = registry.kinds.by_resource(GROUP, "v1", plural) else { return };
        let query = ListQuery { namespace: namespace.map(str::to_owned), ..ListQuery::default() };
        let bindings = registry.list(&kind, &query).map(|page| page.items).unwrap_or_default();
        for binding in bindings.iter().filter(|binding| names(binding, user)) {
            let of = match text(binding, "roleRef.kind") {
                "Role" => ("roles", namespace.unwrap_or_default()),
                _ => ("clusterroles", ""),
            };
            let role = registry
                .kinds
                .by_resource(GROUP, "v1", of.0)
                .and_then(|kind| registry.get(&kind, &Key::new(of.1, text(binding, "roleRef.name"))).ok());
            rules.extend(role.iter().flat_map(|role| items(role, "rules").to_vec()));
        }
    };
    bound("clusterrolebindings", None);
    if let Some(namespace) = namespace {
        bound("rolebindings", Some(namespace));
    }
    Rules(rules)
}

/// Whether a binding names a user, one of its groups, or its ServiceAccount.
fn names(binding: &Value, user: &User) -> bool {
    items(binding, "subjects").iter().any(|subject| {
        let name = text(subject, "name");
        match text(subject, "kind") {
            "User" => name == user.name,
            "Group" => user.groups.iter().any(|group| group == name),
            "ServiceAccount" => {
                let namespace = match text(subject, "namespace") {
                    "" => meta_text(binding, "namespace"),
                    namespace => namespace,
                };
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

/// What every cluster lets everybody do: `system:discovery` and `system:basic-user` for users, `system:public-info-viewer` for all.
pub(crate) fn everybody(user: &User) -> Rules {
    let mut rules = vec![json!({
        "verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"],
    })];
    if user.groups.iter().any(|group| group == super::AUTHENTICATED) {
        rules.push(json!({
            "verbs": ["get"],
            "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"],
        }));
        rules.push(json!({
            "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        }));
    }
    Rules(rules)
}

const GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &str, path: &str, fields: &str) -> Asked {
        let super::super::super::request::Target::Objects(path) = super::super::super::request::Target::parse(path)
        else {
            panic!("{path} leads to no objects")
        };
        Asked::objects(verb, &path, fields)
    }

    #[test]
    fn a_rule_allows_its_verbs_on_its_resources_and_names() {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets", "pods/status"]});
        let named = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls"]});
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        let scale = json!({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["*/scale"]});
        for (rule, asked, expected) in [
            (&rule, asked("get", "/api/v1/namespaces/a/secrets/x", ""), true),
            (&rule, asked("list", "/api/v1/secrets", ""), true),
            (&rule, asked("watch", "/api/v1/secrets", ""), false),
            (&rule, asked("get", "/api/v1/namespaces/a/pods/x", ""), false),
            (&rule, asked("get", "/api/v1/namespaces/a/pods/x/status", ""), true),
            (&rule, asked("get", "/apis/example.com/v1/namespaces/a/secrets/x", ""), false),
            (&named, asked("get", "/api/v1/namespaces/a/secrets/tls", ""), true),
            (&named, asked("get", "/api/v1/namespaces/a/secrets/other", ""), false),
            (&named, asked("list", "/api/v1/namespaces/a/secrets", ""), false),
            (&named, asked("watch", "/api/v1/namespaces/a/secrets", "metadata.name=tls"), true),
            (&named, asked("create", "/api/v1/namespaces/a/secrets", ""), false),
            (&all, asked("delete", "/apis/apps/v1/namespaces/a/deployments/x/scale", ""), true),
            (&scale, asked("get", "/apis/apps/v1/namespaces/a/deployments/x/scale", ""), true),
            (&scale, asked("get", "/apis/apps/v1/namespaces/a/deployments/x", ""), false),
        ] {
            assert_eq!(allows(rule, &asked), expected, "{rule} {asked:?}");
        }
    }

    #[test]
    fn a_refusal_is_worded_as_the_real_server_words_it() {
        let user = "system:serviceaccount:nearside:nearside-proxy";
        for (asked, expected) in [
            (
                asked("list", "/apis/route.openshift.io/v1/routes", ""),
                "routes.route.openshift.io is forbidden: User \"system:serviceaccount:nearside:nearside-proxy\" cannot list resource \"routes\" in API group \"route.openshift.io\" at the cluster scope",
            ),
            (
                asked("patch", "/api/v1/namespaces/a/pods/b/status", ""),
                "pods \"b\" is forbidden: User \"system:serviceaccount:nearside:nearside-proxy\" cannot patch resource \"pods/status\" in API group \"\" in the namespace \"a\"",
            ),
            (
                Asked::Path { verb: "get".into(), path: "/metrics".into() },
                "forbidden: User \"system:serviceaccount:nearside:nearside-proxy\" cannot get path \"/metrics\"",
            ),
        ] {
            assert_eq!(asked.refused(user).message, expected);
        }
    }
}
