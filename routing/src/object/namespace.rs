//! core/v1 Namespace: JSON in, its metadata out.

use super::meta::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A Namespace; only its labels matter to routing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of Namespace as the API documents them")]
pub struct Namespace {
    pub metadata: ObjectMeta,
}
