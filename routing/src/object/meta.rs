//! `metadata`, conditions and the small value types that every kind shares: JSON in, trimmed structs out.

use super::{Kind, ObjectKey};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `metadata` without managed fields and without the copy of the manifest that `kubectl apply` keeps in an annotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of ObjectMeta as the API documents them")]
pub struct ObjectMeta {
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
    #[serde(deserialize_with = "null_as_default")]
    pub resource_version: String,
    #[serde(deserialize_with = "null_as_default")]
    pub generation: i64,
    /// RFC 3339 in UTC with whole seconds, as the API server writes it.
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub owner_references: Vec<OwnerReference>,
}

impl ObjectMeta {
    /// What identifies the object, given its kind.
    pub fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey::new(kind, &self.namespace, &self.name)
    }

    /// The object's place in the order of claims.
    pub fn age(&self) -> Age {
        Age {
            created: self.creation_timestamp.clone().unwrap_or_else(|| UNDATED.to_owned()),
            uid: self.uid.clone(),
            name: format!("{}/{}", self.namespace, self.name),
        }
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// The order of claims: older first, then the smaller UID, then the name (OpenShift's rule; the name decides between
/// manifests, which carry neither a timestamp nor a UID).
///
/// Timestamps are compared as text: the API server writes them in UTC with whole seconds, so text order is time order.
/// An undated object counts as younger than every dated one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age {
    created: String,
    uid: String,
    name: String,
}

/// One entry of `metadata.ownerReferences[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of OwnerReference as the API documents them")]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub controller: bool,
}

/// One entry of a `status.conditions[]` list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "fields of Condition as the API documents them")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// Whether a list of conditions holds one of this type with status `True`.
pub(crate) fn condition_is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.kind == kind && c.status == "True")
}

/// A port given by number or by name (`IntOrString` of the API).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the two shapes of IntOrString")]
pub enum IntOrString {
    Int(i64),
    String(String),
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// Reads `null` as the type's default: Go writes `null` for an empty list, map or string without `omitempty`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut all: BTreeMap<String, String> = null_as_default(deserializer)?;
    all.remove(LAST_APPLIED);
    Ok(all)
}

/// Sorts after every RFC 3339 timestamp, whose first character is a digit.
const UNDATED: &str = "~";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(created: Option<&str>, uid: &str, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: name.into(),
            uid: uid.into(),
            creation_timestamp: created.map(Into::into),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn age_orders_by_creation_then_uid_then_name() {
        let oldest = meta(Some("2025-01-01T00:00:00Z"), "z", "z").age();
        let same_second = meta(Some("2025-01-01T00:00:01Z"), "a", "b").age();
        let larger_uid = meta(Some("2025-01-01T00:00:01Z"), "b", "a").age();
        let undated = meta(None, "", "a").age();
        let undated_later = meta(None, "", "b").age();
        let mut ages = vec![&undated_later, &undated, &larger_uid, &same_second, &oldest];
        ages.sort();
        assert_eq!(ages, [&oldest, &same_second, &larger_uid, &undated, &undated_later]);
    }

    #[test]
    fn the_manifest_copy_of_kubectl_is_dropped() {
        let meta: ObjectMeta = serde_json::from_value(serde_json::json!({
            "name": "a", "annotations": {LAST_APPLIED: "{}", "nearside.dev/on-miss": "reject"}
        }))
        .unwrap();
        assert_eq!(meta.annotations.len(), 1);
        assert_eq!(meta.annotation("nearside.dev/on-miss"), Some("reject"));
    }
}
