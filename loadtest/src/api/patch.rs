//! Patches of three of the API's four media types: `(object, patch)` goes in, the patched object comes out.
//! JSON merge patch is RFC 7386, JSON patch is RFC 6902; the strategic merge patch is Kubernetes' own.
//! Server-side apply has its own file.

use super::error::ApiError;
use super::kinds::ResourceKind;
use super::schema;
use serde_json::{Map, Value};

/// JSON merge patch (RFC 7386 §2).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (field, value) in fields {
        if value.is_null() {
            object.remove(field);
        } else {
            merge(object.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Strategic merge patch: lists with a merge key are merged item by item, directives (`$patch`,
/// `$deleteFromPrimitiveList`, `$setElementOrder`, `$retainKeys`) are obeyed.
pub(crate) fn strategic(kind: &ResourceKind, target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    strategic_at(kind, "", target, patch)
}

fn strategic_at(kind: &ResourceKind, path: &str, target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return Ok(()) };
    match fields.get("$patch").and_then(Value::as_str) {
        Some("replace") => object.clear(),
        Some("delete") => {
            object.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(ApiError::bad_request(format!("unknown patch directive {other:?} at {path:?}"))),
    }
    if let Some(kept) = fields.get("$retainKeys").and_then(Value::as_array) {
        object.retain(|field, _| kept.iter().any(|name| name.as_str() == Some(field)));
    }
    for (field, value) in fields {
        let (name, directive) = match field.strip_prefix('$').and_then(|rest| rest.split_once('/')) {
            Some((directive, name)) => (name, Some(directive)),
            None if field.starts_with('$') => continue,
            None => (field.as_str(), None),
        };
        let below = join(path, name);
        match directive {
            Some("deleteFromPrimitiveList") => {
                if let (Some(list), Some(gone)) = (object.get_mut(name).and_then(Value::as_array_mut), value.as_array())
                {
                    list.retain(|item| !gone.contains(item));
                }
            }
            Some("setElementOrder") => {}
            Some(other) => return Err(ApiError::bad_request(format!("unknown patch directive {other:?} at {path:?}"))),
            None if value.is_null() => {
                object.remove(name);
            }
            None => {
                let slot = object.entry(name.to_owned()).or_insert(Value::Null);
                match (value, schema::merge_key(kind, &below)) {
                    (Value::Array(items), Some(key)) => strategic_list(kind, &below, key, slot, items)?,
                    (Value::Object(_), _) => strategic_at(kind, &below, slot, value)?,
                    _ => *slot = value.clone(),
                }
            }
        }
    }
    // Last, when every list has its final items.
    for (field, order) in fields {
        if let (Some(name), Some(order)) = (field.strip_prefix("$setElementOrder/"), order.as_array()) {
            let key = schema::merge_key(kind, &join(path, name)).unwrap_or_default();
            if let Some(list) = object.get_mut(name).and_then(Value::as_array_mut) {
                let identity = |item: &Value| if key.is_empty() { item.clone() } else { item[key].clone() };
                list.sort_by_key(|item| {
                    order.iter().position(|wanted| identity(wanted) == identity(item)).unwrap_or(order.len())
                });
            }
        }
    }
    Ok(())
}

fn strategic_list(
    kind: &ResourceKind,
    path: &str,
    key: &str,
    target: &mut Value,
    items: &[Value],
) -> Result<(), ApiError> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(list) = target else { return Ok(()) };
    if key.is_empty() {
        for item in items {
            if !list.contains(item) {
                list.push(item.clone());
            }
        }
        return Ok(());
    }
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if items.iter().any(|item| directive(item).as_deref() == Some("replace") && item.get(key).is_none()) {
        list.clear();
    }
    for item in items {
        let Some(identity) = item.get(key) else {
            if directive(item).as_deref() == Some("replace") {
                continue;
            }
            return Err(ApiError::bad_request(format!("map: {item} does not contain declared merge key: {key}")));
        };
        let position = list.iter().position(|held| held.get(key) == Some(identity));
        match (directive(item).as_deref(), position) {
            (Some("delete"), Some(at)) => {
                list.remove(at);
            }
            (Some("delete"), None) => {}
            (_, Some(at)) => strategic_at(kind, path, &mut list[at], item)?,
            (_, None) => {
                let mut fresh = Value::Null;
                strategic_at(kind, path, &mut fresh, item)?;
                list.push(fresh);
            }
        }
    }
    Ok(())
}

/// JSON patch (RFC 6902); 422 when an operation cannot be carried out.
pub(crate) fn json_patch(target: &mut Value, operations: &Value) -> Result<(), ApiError> {
    let list = operations.as_array().ok_or_else(|| ApiError::bad_request("a JSON patch is a list of operations"))?;
    if list.len() > JSON_PATCH_LIMIT {
        return Err(ApiError::new(413, "RequestEntityTooLarge", "the JSON patch has too many operations"));
    }
    list.iter().try_for_each(|operation| {
        json_operation(target, operation).ok_or_else(|| {
            ApiError::new(
                422,
                "Invalid",
                format!("the server rejected our request due to an error in our request: {operation}"),
            )
        })
    })
}

fn json_operation(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let from = || operation.get("from").and_then(Value::as_str);
    match operation.get("op")?.as_str()? {
        "add" => add(target, path, operation.get("value")?.clone()),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            *target.pointer_mut(path)? = operation.get("value")?.clone();
            Some(())
        }
        "move" => {
            let value = remove(target, from()?)?;
            add(target, path, value)
        }
        "copy" => {
            let value = target.pointer(from()?)?.clone();
            add(target, path, value)
        }
        "test" => (target.pointer(path)? == operation.get("value")?).then_some(()),
        _ => None,
    }
}

fn parent<'v>(target: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((target.pointer_mut(parent)?, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    match parent(target, path)? {
        (Value::Object(map), field) => {
            map.insert(field, value);
        }
        (Value::Array(list), field) if field == "-" => list.push(value),
        (Value::Array(list), field) => {
            let index = field.parse::<usize>().ok().filter(|&index| index <= list.len())?;
            list.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    match parent(target, path)? {
        (Value::Object(map), field) => map.remove(&field),
        (Value::Array(list), field) => {
            let index = field.parse::<usize>().ok().filter(|&index| index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

/// `parent.field` in the dotted form that `schema` reads.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// As many operations as the real server takes.
const JSON_PATCH_LIMIT: usize = 10_000;

#[cfg(test)]
mod tests;
