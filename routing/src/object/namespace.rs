//! core/v1 Namespace: JSON in, its metadata out.

use super::meta::ObjectMeta;
use serde::Deserialize;

/// A Namespace; only its labels matter to routing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Namespace as the API documents them")]
pub struct Namespace {
    pub metadata: ObjectMeta,
}
