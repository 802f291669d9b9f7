//! Label and field selectors: query text goes in, a test on objects comes out. Lists, watches and `deletecollection`
//! use them. Grammar: the Kubernetes API concepts page, "Labels and Selectors" and "Field Selectors".

use super::error::ApiError;
use super::kinds::ResourceKind;
use super::object::{at, meta_text, text};
use serde_json::Value;

/// Both selectors of a request; empty ones match everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq)]
enum LabelRequirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

#[derive(Clone, Debug, PartialEq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

impl Selectors {
    /// Parses `labelSelector` and `fieldSelector`; 400 for a syntax error or a field the kind does not index.
    pub(crate) fn parse(kind: &ResourceKind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        Ok(Self {
            labels: split_outside_parentheses(labels)
                .into_iter()
                .map(|part| label_requirement(part.trim()))
                .collect::<Result<_, _>>()
                .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?,
            fields: field_requirements(kind, fields)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|requirement| requirement.matches(object))
    }
}

impl LabelRequirement {
    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|wanted| wanted != value)),
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Value) -> bool {
        let held = match self.path.as_str() {
            "metadata.name" => meta_text(object, "name").to_owned(),
            "metadata.namespace" => meta_text(object, "namespace").to_owned(),
            "source" => match text(object, "source.component") {
                "" => text(object, "reportingComponent").to_owned(),
                component => component.to_owned(),
            },
            path => match at(object, path) {
                Some(Value::String(held)) => held.clone(),
                Some(held) => held.to_string(),
                None if BOOLEAN_FIELDS.contains(&path) => "false".to_owned(),
                None => String::new(),
            },
        };
        (held == self.value) == self.equal
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

fn label_requirement(part: &str) -> Result<LabelRequirement, String> {
    let key = |text: &str| label_key(text.trim());
    let value = |text: &str| label_value(text.trim());
    let number = |text: &str| text.trim().parse().map_err(|_| format!("{text:?} is not an integer"));
    if let Some(absent) = part.strip_prefix('!') {
        return Ok(LabelRequirement::Absent(key(absent)?));
    }
    if let Some((left, right)) = part.split_once("!=") {
        return Ok(LabelRequirement::NotIn(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(LabelRequirement::In(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = part.split_once('>') {
        return Ok(LabelRequirement::Greater(key(left)?, number(right)?));
    }
    if let Some((left, right)) = part.split_once('<') {
        return Ok(LabelRequirement::Less(key(left)?, number(right)?));
    }
    let Some((left, right)) = part.split_once('(') else { return Ok(LabelRequirement::Exists(key(part)?)) };
    let list = right.trim_end().strip_suffix(')').ok_or_else(|| format!("no closing parenthesis in {part:?}"))?;
    let values = list.split(',').map(value).collect::<Result<Vec<_>, _>>()?;
    let mut words = left.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(name), Some("in"), None) => Ok(LabelRequirement::In(key(name)?, values)),
        (Some(name), Some("notin"), None) => Ok(LabelRequirement::NotIn(key(name)?, values)),
        _ => Err(format!("{part:?}: expected 'in' or 'notin'")),
    }
}

fn label_key(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let plain = !name.is_empty() && name.len() <= 63 && name.bytes().all(is_label_byte);
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a label key")) }
}

fn label_value(text: &str) -> Result<String, String> {
    let plain = text.len() <= 63 && text.bytes().all(is_label_byte);
    if plain { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a label value")) }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn field_requirements(kind: &ResourceKind, text: &str) -> Result<Vec<FieldRequirement>, ApiError> {
    let mut requirements = Vec::new();
    for part in split_unescaped(text) {
        let invalid = || ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"));
        let (path, rest) = part.split_once('=').ok_or_else(invalid)?;
        let (path, equal) = path.strip_suffix('!').map_or((path, true), |path| (path, false));
        let value = if equal { rest.strip_prefix('=').unwrap_or(rest) } else { rest };
        let known = path == "metadata.name"
            || (path == "metadata.namespace" && kind.namespaced)
            || kind.fields.iter().any(|field| field == path);
        if !known {
            return Err(ApiError::bad_request(format!("field label not supported: {path}")));
        }
        requirements.push(FieldRequirement { path: path.to_owned(), value: unescape(value), equal });
    }
    Ok(requirements)
}

fn split_unescaped(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        if letter == ',' && !escaped {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        escaped = letter == '\\' && !escaped;
        part.push(letter);
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

fn unescape(text: &str) -> String {
    let (mut plain, mut escaped) = (String::with_capacity(text.len()), false);
    for letter in text.chars() {
        if letter == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(letter);
            escaped = false;
        }
    }
    plain
}

/// Booleans that objects leave out when they are false.
const BOOLEAN_FIELDS: &[&str] = &["spec.unschedulable", "spec.hostNetwork"];

#[cfg(test)]
mod tests {
    use super::super::kinds::Kinds;
    use super::*;
    use serde_json::json;

    fn pods() -> std::sync::Arc<ResourceKind> {
        Kinds::builtin().by_resource("", "v1", "pods").expect("in the table")
    }

    #[test]
    fn label_selectors_match_like_the_api() {
        let pod = json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "5"}}});
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api)", true),
            ("app notin (web)", false),
            ("absent notin (x)", true),
            ("absent!=x", true),
            ("absent=x", false),
            ("app", true),
            ("!app", false),
            ("!absent", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("app=web,tier in (back)", false),
        ] {
            let selectors = Selectors::parse(&pods(), selector, "").expect(selector);
            assert_eq!(selectors.matches(&pod), expected, "{selector}");
        }
        for wrong in ["app in web", "app in (a", "a b c", "app=%", "=x"] {
            assert_eq!(Selectors::parse(&pods(), wrong, "").expect_err(wrong).code, 400);
        }
    }

    #[test]
    fn field_selectors_match_indexed_fields_and_refuse_others() {
        let pod = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "n1"}});
        for (selector, expected) in [
            ("spec.nodeName=n1", true),
            ("spec.nodeName==n2", false),
            ("spec.nodeName!=n2,metadata.name=a", true),
            ("status.phase=", true),
            ("spec.hostNetwork=false", true),
            ("metadata.name=a\\,b", false),
        ] {
            let selectors = Selectors::parse(&pods(), "", selector).expect(selector);
            assert_eq!(selectors.matches(&pod), expected, "{selector}");
        }
        for wrong in ["spec.image=x", "metadata.labels=x", "spec.nodeName"] {
            assert_eq!(Selectors::parse(&pods(), "", wrong).expect_err(wrong).code, 400);
        }
    }
}
