//! core/v1 Secret of the types `kubernetes.io/tls` and `Opaque`: JSON in, the entries that a router reads out. Every other
//! entry is dropped here, so that the passwords of applications never stay in memory.

use super::meta::{ObjectMeta, null_as_default};
use base64::Engine;
use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// A Secret; of its data only the entries below are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// The Secret's metadata.
    pub metadata: ObjectMeta,
    /// `type`, such as `kubernetes.io/tls`.
    pub kind: String,
    /// `data["tls.crt"]`, decoded: the certificate chain as PEM.
    pub certificate: Vec<u8>,
    /// `data["tls.key"]`, decoded: the private key as PEM.
    pub key: Vec<u8>,
    /// `data["ca.crt"]`, decoded: certificates of CAs as PEM.
    pub authority: Vec<u8>,
    /// `data["ca.crl"]`, decoded: revocation lists of these CAs as PEM.
    pub revocations: Vec<u8>,
}

impl Secret {
    /// Whether nothing is in it that a router reads.
    pub fn is_empty(&self) -> bool {
        [&self.certificate, &self.key, &self.authority, &self.revocations].iter().all(|entry| entry.is_empty())
    }
}

impl fmt::Debug for Secret {
    /// Leaves the private key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("metadata", &self.metadata).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            metadata: wire.metadata,
            kind: wire.kind,
            certificate: value(wire.data.certificate, wire.string_data.certificate, "tls.crt")?,
            key: value(wire.data.key, wire.string_data.key, "tls.key")?,
            authority: value(wire.data.authority, wire.string_data.authority, "ca.crt")?,
            revocations: value(wire.data.revocations, wire.string_data.revocations, "ca.crl")?,
        })
    }
}

/// The shape on the wire; `stringData` occurs only in manifests, the API server folds it into `data`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    metadata: ObjectMeta,
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    kind: String,
    #[serde(deserialize_with = "null_as_default")]
    data: Entries,
    #[serde(deserialize_with = "null_as_default")]
    string_data: Entries,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entries {
    #[serde(rename = "tls.crt")]
    certificate: Option<String>,
    #[serde(rename = "tls.key")]
    key: Option<String>,
    #[serde(rename = "ca.crt")]
    authority: Option<String>,
    #[serde(rename = "ca.crl")]
    revocations: Option<String>,
}

fn value<E: de::Error>(encoded: Option<String>, plain: Option<String>, name: &str) -> Result<Vec<u8>, E> {
    if let Some(plain) = plain {
        return Ok(plain.into_bytes());
    }
    // A manifest may break the text over lines, as the API server allows.
    let encoded: Vec<u8> = encoded.unwrap_or_default().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|error| E::custom(format!("data[\"{name}\"] is not base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_decoded_also_when_broken_over_lines_and_plain_text_wins() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "s"}, "type": "kubernetes.io/tls",
            "data": {"tls.crt": "aGVs\nbG8=\n", "tls.key": "aGVsbG8=", "other": "AAAA"}, "stringData": {"tls.key": "plain"}
        }))
        .unwrap();
        assert_eq!((secret.certificate.as_slice(), secret.key.as_slice()), (&b"hello"[..], &b"plain"[..]));
        assert!(!format!("{secret:?}").contains("plain"), "the key is not shown");
    }

    #[test]
    fn entries_that_no_router_reads_are_dropped() {
        let data = json!({"password": "c2VjcmV0", "auth": "AAAA"});
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "type": "Opaque", "data": data})).unwrap();
        assert!(secret.is_empty());
        let secret: Secret = serde_json::from_value(
            json!({"metadata": {"name": "s"}, "data": {"ca.crt": "aGVsbG8=", "ca.crl": "aGk="}}),
        )
        .unwrap();
        assert_eq!((secret.authority.as_slice(), secret.revocations.as_slice()), (&b"hello"[..], &b"hi"[..]));
        assert!(!secret.is_empty());
    }

    #[test]
    fn what_is_not_base64_is_refused_by_the_name_of_the_entry() {
        let wrong = json!({"metadata": {"name": "s"}, "data": {"tls.crt": "?"}});
        let error = serde_json::from_value::<Secret>(wrong).unwrap_err();
        assert!(error.to_string().contains("data[\"tls.crt\"] is not base64"), "{error}");
    }
}
