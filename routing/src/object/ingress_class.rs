//! `networking.k8s.io/v1` IngressClass: JSON in, the controller it names out.

use super::meta::{ObjectMeta, null_as_default};
use serde::{Deserialize, Serialize};

/// An IngressClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressClass as the API documents them")]
pub struct IngressClass {
    pub metadata: ObjectMeta,
    #[serde(deserialize_with = "null_as_default")]
    pub spec: IngressClassSpec,
}

/// `spec` of an IngressClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[expect(missing_docs, reason = "fields of IngressClassSpec as the API documents them")]
pub struct IngressClassSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub controller: String,
}
