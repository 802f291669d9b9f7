//! Label and field selectors as the list API takes them: an object as JSON flows in, whether it is selected flows out.
//! The manifests source evaluates here what the API server evaluates for a cluster.

use crate::Selection;
use serde_json::Value;

/// A parsed [`Selection`].
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    namespace: Option<String>,
    fields: Vec<Requirement>,
    labels: Vec<Requirement>,
}

/// A selector that does not follow the grammar of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "selector `{selector}`: `{part}` is not a requirement; expected key=value, key!=value, key in (a,b), key or !key"
)]
pub(crate) struct SelectorError {
    selector: String,
    part: String,
}

impl Selector {
    pub(crate) fn parse(selection: &Selection) -> Result<Self, SelectorError> {
        let namespace = selection.namespace.clone().filter(|_| selection.kind.namespaced());
        Ok(Self {
            namespace,
            fields: requirements(selection.fields.as_deref().unwrap_or_default(), Grammar::Fields)?,
            labels: requirements(selection.labels.as_deref().unwrap_or_default(), Grammar::Labels)?,
        })
    }

    /// Whether an object, given as the API would serve it, is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let field = |path: &str| path.split('.').try_fold(object, |value, name| value.get(name));
        let label = |name: &str| object.pointer("/metadata/labels")?.get(name)?.as_str();
        let namespace = field("metadata.namespace").and_then(Value::as_str);
        // A field that is absent has its zero value; a label that is absent has none.
        self.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted))
            && self.fields.iter().all(|field_is| field_is.holds(Some(&text(field(&field_is.key)))))
            && self.labels.iter().all(|label_is| label_is.holds(label(&label_is.key)))
    }
}

/// The text of a field as field selectors compare it.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
        _ => String::new(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    /// `!=` and `notin` hold for what is absent, as in the API.
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |values: &[String]| value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
        match &self.condition {
            Condition::In(values) => listed(values),
            Condition::NotIn(values) => !listed(values),
            Condition::Exists => value.is_some(),
            Condition::Absent => value.is_none(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Grammar {
    /// Equality only.
    Fields,
    /// Equality, sets and existence.
    Labels,
}

fn requirements(selector: &str, grammar: Grammar) -> Result<Vec<Requirement>, SelectorError> {
    let parts = split(selector).into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            requirement(part, grammar)
                .ok_or_else(|| SelectorError { selector: selector.to_owned(), part: part.to_owned() })
        })
        .collect()
}

/// Splits at the commas that stand outside of parentheses.
fn split(selector: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    selector
        .split(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        })
        .collect()
}

fn requirement(part: &str, grammar: Grammar) -> Option<Requirement> {
    let with = |key: &str, condition| {
        let key = key.trim();
        let plain = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "()!=,".contains(c));
        plain.then(|| Requirement { key: key.to_owned(), condition })
    };
    if let Some((key, value)) = part.split_once("!=") {
        return with(key, Condition::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return with(key, Condition::In(vec![value.trim().to_owned()]));
    }
    if grammar == Grammar::Fields {
        return None;
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => with(key, Condition::In(values)),
            "notin" => with(key, Condition::NotIn(values)),
            _ => None,
        };
    }
    match part.strip_prefix('!') {
        Some(key) => with(key, Condition::Absent),
        None => with(part, Condition::Exists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use serde_json::json;

    fn pod() -> Value {
        json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web", "tier": "front", "empty": ""}},
               "spec": {"nodeName": "node-1", "hostNetwork": true}, "type": "kubernetes.io/tls"})
    }

    fn labels(selector: &str) -> bool {
        Selector::parse(&Selection::all(Kind::Pod).labels(selector)).unwrap().matches(&pod())
    }

    fn fields(selector: &str) -> bool {
        Selector::parse(&Selection::all(Kind::Pod).fields(selector)).unwrap().matches(&pod())
    }

    #[test]
    fn labels_follow_the_grammar_of_the_api() {
        for selector in [
            "",
            "app=web",
            "app==web",
            " app = web , tier != back",
            "app in (web, api)",
            "app notin (api)",
            "app",
            "!gone",
            "gone!=x",
            "gone notin (x,y)",
            "empty=",
            "app in (web),tier in (front,back)",
        ] {
            assert!(labels(selector), "{selector}");
        }
        for selector in
            ["app=api", "app!=web", "gone", "!app", "gone=x", "app in (api,db)", "app notin (web)", "app=web,tier=back"]
        {
            assert!(!labels(selector), "{selector}");
        }
    }

    #[test]
    fn absent_fields_compare_as_empty() {
        for selector in [
            "spec.nodeName=node-1",
            "metadata.name=web-1",
            "metadata.namespace==shop",
            "type=kubernetes.io/tls",
            "status.phase=",
            "status.phase!=Failed",
            "spec.nodeName!=node-2,type!=Opaque",
            "spec.hostNetwork=true",
        ] {
            assert!(fields(selector), "{selector}");
        }
        for selector in ["spec.nodeName=node-2", "spec.nodeName=", "status.phase=Running", "type=Opaque"] {
            assert!(!fields(selector), "{selector}");
        }
    }

    #[test]
    fn a_namespace_narrows_only_namespaced_kinds() {
        let matches = |selection: Selection| Selector::parse(&selection.namespace("bank")).unwrap().matches(&pod());
        assert!(!matches(Selection::all(Kind::Pod)));
        assert!(matches(Selection::all(Kind::Node)));
    }

    #[test]
    fn what_is_not_a_requirement_is_refused() {
        for selector in ["app web", "=x", "app in web", "app like (x)", "!(a)"] {
            assert!(Selector::parse(&Selection::all(Kind::Pod).labels(selector)).is_err(), "{selector}");
        }
        for selector in ["spec.nodeName", "!type", "type in (a)"] {
            assert!(Selector::parse(&Selection::all(Kind::Pod).fields(selector)).is_err(), "{selector}");
        }
    }
}
