//! A structural schema (`openAPIV3Schema` of a CustomResourceDefinition): an object flows in, the same without what the schema does not
//! know and with its defaults flows out, or its first fault, as the API server finds it. Called by the registry for kinds that are
//! defined so, and by tests of the definitions.

use super::cel;
use regex::Regex;
use serde_json::Value;

/// What an object is refused for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct Fault {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// Fills in defaults.
pub fn fill(schema: &Value, value: &mut Value) {
    if let (Some(fields), Some(known)) = (value.as_object_mut(), schema["properties"].as_object()) {
        for (name, schema) in known {
            if let Some(default) = schema.get("default") {
                fields.entry(name).or_insert_with(|| default.clone());
            }
            if let Some(field) = fields.get_mut(name) {
                fill(schema, field);
            }
        }
    }
    if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
        value.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()).for_each(|field| fill(schema, field));
    }
    for item in value.as_array_mut().into_iter().flatten() {
        fill(&schema["items"], item);
    }
}

/// Drops what a schema does not know of a whole object.
pub fn prune(schema: &Value, object: &mut Value) {
    let known = |name: &str| schema["properties"].get(name);
    let Some(fields) = object.as_object_mut() else { return };
    fields.retain(|name, _| OF_EVERY_OBJECT.contains(&name.as_str()) || known(name).is_some());
    for (name, field) in fields.iter_mut().filter(|(name, _)| !OF_EVERY_OBJECT.contains(&name.as_str())) {
        if let Some(schema) = known(name) {
            prune_field(schema, field);
        }
    }
}

fn prune_field(schema: &Value, value: &mut Value) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    let others = schema.get("additionalProperties").filter(|others| *others != false);
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| schema["properties"].get(name).is_some() || others.is_some());
        for (name, field) in fields {
            if let Some(schema) = schema["properties"].get(name).or(others).filter(|schema| schema.is_object()) {
                prune_field(schema, field);
            }
        }
    }
    for item in value.as_array_mut().into_iter().flatten() {
        prune_field(&schema["items"], item);
    }
}

/// The first fault of a value that replaces `old`, if there is one.
#[must_use]
pub fn fault(schema: &Value, value: &Value, old: Option<&Value>, field: &str) -> Option<Fault> {
    let of = |field: String, detail: String| Some(Fault { field, detail });
    if let Some(detail) = limit(schema, value) {
        return of(field.to_owned(), detail);
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    if parts.clone().any(|part| fault(part, value, None, field).is_some()) {
        return of(field.to_owned(), format!("{value} must validate all the schemas (allOf)"));
    }
    if schema.get("not").is_some_and(|not| fault(not, value, None, field).is_none()) {
        return of(field.to_owned(), format!("{value} must not validate the schema (not)"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return of(format!("{field}.{name}"), "Required value".to_owned());
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let (value, old) = (value.get(name), old.and_then(|old| old.get(name)));
        if let Some(found) = value.and_then(|value| fault(schema, value, old, &format!("{field}.{name}"))) {
            return Some(found);
        }
    }
    if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if let Some(found) = fault(schema, value, None, &format!("{field}.{name}")) {
                return Some(found);
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(found) = fault(&schema["items"], item, None, &format!("{field}[{index}]")) {
            return Some(found);
        }
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let text = rule["rule"].as_str().unwrap_or_default();
        match cel::holds(text, value, old) {
            Ok(true) => {}
            Ok(false) => return of(field.to_owned(), rule["message"].as_str().unwrap_or(text).to_owned()),
            // A rule that only a real server can judge.
            Err(why) => tracing::warn!("{field}: a rule of the schema is not understood: {why}"),
        }
    }
    None
}

/// Every rule of a schema that is not understood here, and why.
#[must_use]
pub fn rules_not_understood(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let own = rules.filter_map(|rule| cel::holds(rule["rule"].as_str()?, &Value::Null, Some(&Value::Null)).err());
    let below = match schema {
        Value::Object(fields) => fields.values().collect::<Vec<_>>(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    own.chain(below.into_iter().flat_map(rules_not_understood)).collect()
}

/// What a value itself breaks, whatever is in it.
fn limit(schema: &Value, value: &Value) -> Option<String> {
    let wrong = |wanted: &str| Some(format!("{value}: {wanted}"));
    let kind = schema["type"].as_str();
    let fits = match kind {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ if schema["x-kubernetes-int-or-string"] == true => value.is_i64() || value.is_string(),
        _ => true,
    };
    if !fits {
        return wrong(&format!("must be of type {}", kind.unwrap_or("integer or string")));
    }
    let within = |length: usize, least: &str, most: &str| {
        let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
        length >= limit(least).unwrap_or(0) && length <= limit(most).unwrap_or(usize::MAX)
    };
    if let Some(text) = value.as_str() {
        let pattern = schema["pattern"].as_str();
        if pattern.is_some_and(|pattern| !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))) {
            return wrong(&format!("should match '{}'", pattern.unwrap_or_default()));
        }
        if !within(text.chars().count(), "minLength", "maxLength") {
            return wrong("its length is out of bounds");
        }
    }
    if let Some(number) = value.as_i64() {
        let bound = |name: &str| schema[name].as_i64();
        if number < bound("minimum").unwrap_or(i64::MIN) || number > bound("maximum").unwrap_or(i64::MAX) {
            return wrong("out of bounds");
        }
    }
    if let Some(list) = value.as_array() {
        if !within(list.len(), "minItems", "maxItems") {
            return Some(format!("{} items are too few or too many", list.len()));
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let keys: Vec<&str> = keys.collect();
        let key = |item: &Value| keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>();
        let twice = |(index, item): (usize, &Value)| list[..index].iter().any(|other| key(other) == key(item));
        if !keys.is_empty() && list.iter().enumerate().any(twice) {
            return wrong("Duplicate value");
        }
    }
    let known = schema["enum"].as_array();
    if known.is_some_and(|known| !known.contains(value)) {
        return wrong("Unsupported value");
    }
    None
}

/// Fields that no schema needs to name.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_schema_does_not_know_is_dropped_and_nothing_else() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "known": {"type": "string"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
            }},
        }});
        let mut object = json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "anything": 1}, "other": 1,
            "spec": {
                "known": "x", "unknown": "y", "labels": {"any": "z"}, "free": {"any": {"thing": 1}},
                "list": [{"a": 1, "b": 2}],
            },
        });
        prune(&schema, &mut object);
        assert_eq!(
            object,
            json!({
                "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "anything": 1},
                "spec": {"known": "x", "labels": {"any": "z"}, "free": {"any": {"thing": 1}}, "list": [{"a": 1}]},
            })
        );
    }
}
