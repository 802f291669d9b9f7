//! Request lines: method, path and query go in, what is asked for comes out. Pure; `http` acts on it.

use super::error::ApiError;
use super::kinds::ResourceKind;
use super::registry::{Caller, ListQuery, Part, parse_revision};
use super::representation::Form;
use super::selector::Selectors;
use super::watch::WatchQuery;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Neither discovery nor objects: `/version`, `/healthz`, `/openapi/…`.
    Other(String),
    /// `/api`, `/apis`.
    Versions { is_core: bool },
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    Resources { group: String, version: String },
    /// A collection, an object or a subresource.
    Objects(ObjectPath),
}

/// The path of a collection, an object or a subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectPath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    /// `None` for a cluster-scoped object, or a collection over all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads a path; percent escapes are undone first.
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        let (group, rest) = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api"] => return Self::Versions { is_core: true },
            ["apis"] => return Self::Versions { is_core: false },
            ["apis", group] => return Self::Group((*group).to_owned()),
            ["api", ..] => (String::new(), &segments[1..]),
            ["apis", group, ..] => ((*group).to_owned(), &segments[2..]),
            _ => return Self::Other(segments.join("/")),
        };
        let version = rest[0].clone();
        let owned = |text: &str| Some(text.to_owned());
        let mut target = ObjectPath { group, version, ..ObjectPath::default() };
        match rest[1..].iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => return Self::Resources { group: target.group, version: target.version },
            ["namespaces", name, subresource @ ("status" | "finalize")] => {
                target.plural = "namespaces".to_owned();
                target.name = owned(name);
                target.subresource = owned(subresource);
            }
            ["namespaces", namespace, plural, below @ ..] => {
                target.namespace = owned(namespace);
                target.plural = (*plural).to_owned();
                target.name = below.first().and_then(|name| owned(name));
                target.subresource = (below.len() > 1).then(|| below[1..].join("/"));
            }
            [plural, below @ ..] => {
                target.plural = (*plural).to_owned();
                target.name = below.first().and_then(|name| owned(name));
                target.subresource = (below.len() > 1).then(|| below[1..].join("/"));
            }
        }
        Self::Objects(target)
    }
}

/// The query of a request; the last of several values counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, ApiError> {
        match self.text(name) {
            "" => Ok(0),
            text => text.parse().map_err(|_| ApiError::bad_request(format!("{name}: {text:?} is not a number"))),
        }
    }

    /// `fieldManager` (by default the program of `User-Agent`) and `dryRun`. An apply has no default.
    pub(crate) fn caller(&self, user_agent: &str, is_apply: bool) -> Result<Caller, ApiError> {
        let manager = match self.text("fieldManager") {
            "" if is_apply => String::new(),
            "" => match user_agent.split(['/', ' ']).next().unwrap_or_default() {
                "" => "unknown".to_owned(),
                program => program.to_owned(),
            },
            manager if manager.len() > 128 || manager.chars().any(char::is_control) => {
                return Err(ApiError::bad_request("fieldManager: must be at most 128 printable characters"));
            }
            manager => manager.to_owned(),
        };
        let dry_run = match self.text("dryRun") {
            "" => false,
            "All" => true,
            other => return Err(ApiError::bad_request(format!("dryRun: unsupported value {other:?}"))),
        };
        Ok(Caller { manager, dry_run, is_lab: false })
    }

    fn selectors(&self, kind: &ResourceKind, path: &ObjectPath) -> Result<Selectors, ApiError> {
        let mut fields = self.text("fieldSelector").to_owned();
        if let Some(name) = &path.name {
            fields = format!("metadata.name={name}");
        }
        Selectors::parse(kind, self.text("labelSelector"), &fields)
    }

    /// Forgets parameters.
    pub(crate) fn without(&mut self, names: &[&str]) {
        self.0.retain(|name, _| !names.contains(&name.as_str()));
    }

    pub(crate) fn list(&self, kind: &ResourceKind, path: &ObjectPath) -> Result<ListQuery, ApiError> {
        Ok(ListQuery {
            namespace: path.namespace.clone(),
            selectors: self.selectors(kind, path)?,
            limit: usize::try_from(self.number("limit")?).unwrap_or(usize::MAX),
            continue_token: self.text("continue").to_owned(),
            resource_version: self.text("resourceVersion").to_owned(),
            resource_version_match: self.text("resourceVersionMatch").to_owned(),
        })
    }

    pub(crate) fn watch(&self, kind: &ResourceKind, path: &ObjectPath, form: Form) -> Result<WatchQuery, ApiError> {
        let seconds = match self.number("timeoutSeconds")? {
            0 => DEFAULT_WATCH_SECONDS,
            seconds => seconds.min(LONGEST_WATCH_SECONDS),
        };
        let query = WatchQuery {
            namespace: path.namespace.clone(),
            selectors: self.selectors(kind, path)?,
            revision: parse_revision(self.text("resourceVersion"))?,
            resource_version_match: self.text("resourceVersionMatch").to_owned(),
            bookmarks: self.flag("allowWatchBookmarks"),
            send_initial_events: match self.text("sendInitialEvents") {
                "" => None,
                _ => Some(self.flag("sendInitialEvents")),
            },
            timeout: Duration::from_secs(seconds),
            form,
        };
        query.check(kind)?;
        Ok(query)
    }
}

impl ObjectPath {
    /// The endpoint of an object that this path names; `None` for a subresource the server has not.
    pub(crate) fn part(&self, kind: &ResourceKind) -> Option<Part> {
        match self.subresource.as_deref() {
            None => Some(Part::Main),
            Some("status") if kind.status => Some(Part::Status),
            Some(_) => None,
        }
    }
}

/// Undoes percent escapes, and `+` in a query. What is no escape stays as it is.
fn decode(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escaped = text.get(index + 1..index + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[index], escaped) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                index += 2;
            }
            (b'+', _) if is_query => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// How long a watch lasts that does not say, in seconds; the real server takes half an hour to an hour.
const DEFAULT_WATCH_SECONDS: u64 = 1800;
const LONGEST_WATCH_SECONDS: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_collections_objects_and_subresources() {
        let path = |text: &str| match Target::parse(text) {
            Target::Objects(path) => (path.group, path.plural, path.namespace, path.name, path.subresource),
            other => panic!("{text} leads to {other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        let none = || None;
        assert_eq!(path("/api/v1/namespaces"), (String::new(), "namespaces".into(), none(), none(), none()));
        assert_eq!(path("/api/v1/namespaces/a"), (String::new(), "namespaces".into(), none(), some("a"), none()));
        assert_eq!(
            path("/api/v1/namespaces/a/status"),
            (String::new(), "namespaces".into(), none(), some("a"), some("status"))
        );
        assert_eq!(path("/api/v1/namespaces/a/pods"), (String::new(), "pods".into(), some("a"), none(), none()));
        assert_eq!(
            path("/apis/route.openshift.io/v1/namespaces/a/routes/b/status"),
            ("route.openshift.io".into(), "routes".into(), some("a"), some("b"), some("status"))
        );
        assert_eq!(Target::parse("/apis/"), Target::Versions { is_core: false });
        assert_eq!(Target::parse("/apis/a"), Target::Group("a".into()));
        assert_eq!(Target::parse("/readyz"), Target::Other("readyz".into()));
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+(d)&watch=1&bad=%zz&limit=x");
        assert_eq!(query.text("labelSelector"), "a=b,c in (d)");
        assert!(query.flag("watch"));
        assert_eq!(query.text("bad"), "%zz");
        assert_eq!(query.number("limit").expect_err("no number").code, 400);
    }
}
