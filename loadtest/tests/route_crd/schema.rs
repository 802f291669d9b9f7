//! A structural schema (`openAPIV3Schema` of a CustomResourceDefinition): an object flows in, the same with its defaults flows
//! out, or its first fault, as the API server finds it when an object is created.

use crate::cel;
use regex::Regex;
use serde_json::Value;

/// Fills in defaults, as the API server does.
pub(crate) fn fill(schema: &Value, value: &mut Value) {
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
    for item in value.as_array_mut().into_iter().flatten() {
        fill(&schema["items"], item);
    }
}

/// The first fault, by its field.
pub(crate) fn fault(schema: &Value, value: &Value, field: &str) -> Option<String> {
    if !keeps_limits(schema, value) {
        return Some(format!("{field}: {value}"));
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    if parts.clone().any(|part| fault(part, value, field).is_some()) {
        return Some(format!("{field}: {value}"));
    }
    if schema.get("not").is_some_and(|not| fault(not, value, field).is_none()) {
        return Some(format!("{field}: {value}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            return Some(format!("{field}.{name}: required"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(found) = value.get(name).and_then(|value| fault(schema, value, &format!("{field}.{name}"))) {
            return Some(found);
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(found) = fault(&schema["items"], item, &format!("{field}[{index}]")) {
            return Some(found);
        }
    }
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    // A rule about the object before does not count for a new one.
    let mut rules = rules.filter(|rule| !rule["rule"].as_str().unwrap().contains("oldSelf"));
    let broken = rules.find(|rule| !cel::holds(rule["rule"].as_str().unwrap(), value))?;
    Some(format!("{field}: {}", broken["message"].as_str().unwrap()))
}

fn keeps_limits(schema: &Value, value: &Value) -> bool {
    let kind = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("{other} is not understood"),
        None if schema["x-kubernetes-int-or-string"] == true => value.is_i64() || value.is_string(),
        None => true,
    };
    let within = |length: usize, least: &str, most: &str| {
        let limit = |name: &str| schema[name].as_u64().map(|limit| usize::try_from(limit).unwrap());
        length >= limit(least).unwrap_or(0) && length <= limit(most).unwrap_or(usize::MAX)
    };
    let text = value.as_str().is_none_or(|text| {
        let fits = schema["pattern"].as_str().is_none_or(|pattern| Regex::new(pattern).unwrap().is_match(text));
        fits && within(text.chars().count(), "minLength", "maxLength")
    });
    let number = value.as_i64().is_none_or(|number| {
        number >= schema["minimum"].as_i64().unwrap_or(i64::MIN)
            && number <= schema["maximum"].as_i64().unwrap_or(i64::MAX)
    });
    let list = value.as_array().is_none_or(|list| {
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let key = |item: &Value| keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>();
        let twice = |(index, item): (usize, &Value)| list[..index].iter().any(|other| key(other) == key(item));
        within(list.len(), "minItems", "maxItems") && (keys.is_empty() || !list.iter().enumerate().any(twice))
    });
    kind && text && number && list && schema["enum"].as_array().is_none_or(|known| known.contains(value))
}
