//! Lists: a query goes in, one page comes out. Pages of one list all show the revision of the first, which the
//! continue token carries; a token older than the history is answered with 410.

use super::super::error::{ApiError, Cause};
use super::super::event_conversion::{is_converted, to_served};
use super::super::kinds::ResourceKind;
use super::super::object::Key;
use super::super::selector::Selectors;
use super::super::store::Collection;
use super::Registry;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Bound;
use std::sync::Arc;

/// The parameters of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListQuery {
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) selectors: Selectors,
    /// Objects a page; 0 for all.
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) revision: u64,
    /// Empty on the last page.
    pub(crate) continue_token: String,
    /// Objects after this page, where the server counts them: without selectors.
    pub(crate) remaining: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "rv")]
    revision: u64,
    namespace: String,
    name: String,
}

impl Registry {
    pub(crate) fn list(&self, kind: &ResourceKind, query: &ListQuery) -> Result<Page, ApiError> {
        let token = query.token(kind)?;
        let asked = query.revision(kind)?;
        let state = self.store.lock();
        let current = state.revision();
        let wants_exact = match query.resource_version_match.as_str() {
            "Exact" => true,
            "NotOlderThan" => false,
            _ => query.limit > 0 && asked > 0,
        };
        let revision = match &token {
            Some(token) => token.revision,
            None if wants_exact => asked,
            None if asked > current => return Err(ApiError::too_large_resource_version(asked, current)),
            None => current,
        };
        let past: Collection;
        let objects = if revision == current {
            state.collection(&kind.storage)
        } else {
            past = state.snapshot(&kind.storage, revision).map_err(|error| match token {
                Some(_) if error.code == 410 => ApiError::expired(TOKEN_EXPIRED),
                _ => error,
            })?;
            &past
        };
        let start = token.map_or(Bound::Unbounded, |token| Bound::Excluded(Key::new(token.namespace, token.name)));
        // The watch cache, which answers "any revision", knows no pages.
        let limit = if query.resource_version == "0" || query.limit == 0 { usize::MAX } else { query.limit };
        let chosen = choose(kind, query, objects, start, limit);
        drop(state);
        let continue_token = match chosen.objects.last() {
            Some((key, _)) if chosen.rest > 0 => {
                Token { revision, namespace: key.namespace.clone(), name: key.name.clone() }.encode()
            }
            _ => String::new(),
        };
        Ok(Page {
            items: chosen.objects.into_iter().map(|(_, object)| to_served(kind, Value::clone(&object))).collect(),
            revision,
            continue_token,
            remaining: (chosen.rest > 0 && query.selectors.is_empty()).then_some(chosen.rest),
        })
    }
}

/// What goes on a page, shared with the store so that the lock is held for no copy.
struct Chosen {
    objects: Vec<(Key, Arc<Value>)>,
    /// How many more match.
    rest: usize,
}

fn choose(kind: &ResourceKind, query: &ListQuery, objects: &Collection, start: Bound<Key>, limit: usize) -> Chosen {
    let is_wanted = |(key, object): &(&Key, &Arc<Value>)| {
        let here = query.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        here && if is_converted(kind) {
            query.selectors.matches(&to_served(kind, Value::clone(object)))
        } else {
            query.selectors.matches(object)
        }
    };
    let mut wanted = objects.range((start, Bound::Unbounded)).filter(is_wanted);
    let objects = wanted.by_ref().take(limit).map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
    Chosen { objects, rest: wanted.count() }
}

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl ListQuery {
    fn token(&self, kind: &ResourceKind) -> Result<Option<Token>, ApiError> {
        if self.continue_token.is_empty() {
            return Ok(None);
        }
        if !matches!(self.resource_version.as_str(), "" | "0") {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        if !self.resource_version_match.is_empty() {
            let cause =
                Cause::forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
            return Err(ApiError::invalid(kind, "", &[cause]));
        }
        let token = Token::decode(&self.continue_token);
        token.map(Some).ok_or_else(|| ApiError::bad_request("continue key is not valid"))
    }

    fn revision(&self, kind: &ResourceKind) -> Result<u64, ApiError> {
        let rule = |detail: &str| {
            let cause = Cause::forbidden("resourceVersionMatch", detail);
            Err(ApiError::invalid(kind, "", &[cause]))
        };
        match (self.resource_version_match.as_str(), self.resource_version.as_str()) {
            ("", _) | ("NotOlderThan", "0") => {}
            ("Exact" | "NotOlderThan", "") => {
                return rule("resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            ("Exact", "0") => {
                return rule("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
            }
            ("Exact" | "NotOlderThan", _) => {}
            (other, _) => {
                let cause = Cause::unsupported("resourceVersionMatch", &json!(other), &["Exact", "NotOlderThan"]);
                return Err(ApiError::invalid(kind, "", &[cause]));
            }
        }
        parse_revision(&self.resource_version)
    }
}

/// A `resourceVersion` parameter; absent reads as 0.
pub(crate) fn parse_revision(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| ApiError::bad_request(format!("Invalid value: {text:?}: not a resourceVersion")))
}

const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";

#[cfg(test)]
mod tests {
    use super::super::super::defaults::Allocator;
    use super::super::super::kinds::Kinds;
    use super::super::super::object::meta_text;
    use super::super::super::store::Store;
    use super::super::Caller;
    use super::*;
    use proptest::prelude::*;

    fn registry() -> Registry {
        Registry {
            store: Store::new(1000, 10),
            kinds: Kinds::builtin(),
            allocator: Allocator::default(),
            graceful_pod_deletion: false,
            needs_accounts: false,
            loopback_endpoints: false,
        }
    }

    fn names(items: &[Value]) -> Vec<String> {
        items.iter().map(|object| format!("{}/{}", meta_text(object, "namespace"), meta_text(object, "name"))).collect()
    }

    proptest! {
        #[test]
        fn the_pages_of_a_list_are_the_whole_list_as_it_was_when_it_began(
            seeds in prop::collection::btree_set(("[ab]", "[a-f]{1,2}", any::<bool>()), 0..30),
            churn in prop::collection::vec(("[ab]", "[a-f]{1,2}", any::<bool>()), 0..20),
            limit in 1_usize..8,
            labelled_only in any::<bool>(),
        ) {
            let registry = registry();
            let caller = Caller { manager: "test".into(), dry_run: false, is_lab: true };
            let kind = registry.kinds.by_type("v1", "ConfigMap").expect("in the table");
            let seed = |namespace: &str, name: &str, labelled: bool| {
                let labels = if labelled { json!({"x": "1"}) } else { json!({}) };
                let object = json!({"metadata": {"namespace": namespace, "name": name, "labels": labels}});
                registry.seed(&kind, object, &caller).expect("valid");
            };
            for (namespace, name, labelled) in &seeds {
                seed(namespace, name, *labelled);
            }
            let labels = if labelled_only { "x=1" } else { "" };
            let selectors = Selectors::parse(&kind, labels, "").expect("valid");
            let all = ListQuery { selectors, ..ListQuery::default() };
            let whole = registry.list(&kind, &all).expect("no pages");

            let mut churn = churn.into_iter();
            let mut paged = Vec::new();
            let mut query = ListQuery { limit, ..all };
            loop {
                let page = registry.list(&kind, &query).expect("in the history");
                prop_assert_eq!(page.revision, whole.revision);
                prop_assert!(page.items.len() == limit || page.continue_token.is_empty());
                if let Some(remaining) = page.remaining {
                    prop_assert_eq!(remaining, whole.items.len() - paged.len() - page.items.len());
                }
                paged.extend(page.items);
                if page.continue_token.is_empty() {
                    break;
                }
                query.continue_token = page.continue_token;
                for (namespace, name, labelled) in churn.by_ref().take(3) {
                    if registry.delete(&kind, &Key::new(&*namespace, &*name), &Default::default(), &caller).is_err() {
                        seed(&namespace, &name, labelled);
                    }
                }
            }
            prop_assert_eq!(names(&paged), names(&whole.items));
        }
    }
}
