//! core/v1 Secret: JSON in, the entries that a router reads out. What else an entry holds is dropped here, so that the
//! passwords of applications never stay in memory.

use super::meta::{ObjectMeta, null_as_default};
use crate::credentials::FILE_ENTRY;
use base64::Engine;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
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
    /// The entry `auth`, and of all others, except in a Secret for certificates, the name with the hash of a password that
    /// they hold, empty where they hold something else.
    pub passwords: BTreeMap<Box<str>, Box<str>>,
}

impl Secret {
    /// The type that holds a certificate and a key.
    pub const TLS: &str = "kubernetes.io/tls";

    /// Whether nothing is in it that a router reads.
    pub fn is_empty(&self) -> bool {
        [&self.certificate, &self.key, &self.authority, &self.revocations].iter().all(|entry| entry.is_empty())
            && self.passwords.values().all(|hash| hash.is_empty())
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
        let Wire { metadata, kind, mut data, mut string_data } = Wire::deserialize(deserializer)?;
        let mut bytes = |name: &str| {
            let (encoded, plain) = (data.remove(name).flatten(), string_data.remove(name).flatten());
            value(encoded, plain).map_err(|error| de::Error::custom(format!("data[\"{name}\"] is not base64: {error}")))
        };
        let (certificate, key) = (bytes("tls.crt")?, bytes("tls.key")?);
        let (authority, revocations) = (bytes("ca.crt")?, bytes("ca.crl")?);
        let passwords = if kind == Self::TLS { BTreeMap::new() } else { passwords(data, string_data) };
        Ok(Self { metadata, kind, certificate, key, authority, revocations, passwords })
    }
}

/// As the API would serve a Secret that holds nothing else.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Kept<'s> {
            metadata: &'s ObjectMeta,
            #[serde(rename = "type")]
            kind: &'s str,
            data: BTreeMap<&'s str, String>,
        }
        let entries = [
            ("tls.crt", &self.certificate),
            ("tls.key", &self.key),
            ("ca.crt", &self.authority),
            ("ca.crl", &self.revocations),
        ];
        let files = entries.into_iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(name, bytes)| (name, &**bytes));
        let passwords = self.passwords.iter().map(|(name, hash)| (&**name, hash.as_bytes()));
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let data = passwords.chain(files).map(|(name, bytes)| (name, encode(bytes))).collect();
        Kept { metadata: &self.metadata, kind: &self.kind, data }.serialize(serializer)
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

type Entries = BTreeMap<String, Option<String>>;

fn value(encoded: Option<String>, plain: Option<String>) -> Result<Vec<u8>, base64::DecodeError> {
    if let Some(plain) = plain {
        return Ok(plain.into_bytes());
    }
    // A manifest may break the text over lines, as the API server allows.
    let encoded: Vec<u8> = encoded.unwrap_or_default().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(encoded)
}

/// What may be hashes of passwords. An entry that cannot be read is kept by its name, so that it can be told.
fn passwords(data: Entries, mut string_data: Entries) -> BTreeMap<Box<str>, Box<str>> {
    let mut passwords = BTreeMap::new();
    let mut keep = |name: String, encoded: Option<String>, plain: Option<String>| {
        let text = value(encoded, plain).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let is_hash = text.len() <= HASH_BYTES && text.starts_with(['$', '{']);
        let kept = if is_hash || name == FILE_ENTRY { text } else { String::new() };
        passwords.insert(name.into(), kept.into());
    };
    for (name, encoded) in data {
        let plain = string_data.remove(&name).flatten();
        keep(name, encoded, plain);
    }
    for (name, plain) in string_data {
        keep(name, None, plain);
    }
    passwords
}

/// Bytes of an entry that may be a hash; the longest has 123.
const HASH_BYTES: usize = 256;

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
        let data = json!({"password": "c2VjcmV0", "token": "AAAA"});
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
    fn of_passwords_only_hashes_are_kept() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "s"}, "type": "Opaque",
            "data": {"auth": "YW5uOiRhcHIx", "ann": "JGFwcjEkeCR5", "token": "aGVsbG8=", "broken": "?"},
            "stringData": {"bob": "{SHA}x", "note": "private"}
        }))
        .unwrap();
        let kept: Vec<(&str, &str)> = secret.passwords.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("ann", "$apr1$x$y"),
            ("auth", "ann:$apr1"),
            ("bob", "{SHA}x"),
            ("broken", ""),
            ("note", ""),
            ("token", ""),
        ];
        assert_eq!(kept, expected);
        assert!(!format!("{secret:?}").contains("apr1"), "nor are they shown");
    }

    #[test]
    fn what_is_not_base64_is_refused_by_the_name_of_the_entry() {
        let wrong = json!({"metadata": {"name": "s"}, "data": {"tls.crt": "?"}});
        let error = serde_json::from_value::<Secret>(wrong).unwrap_err();
        assert!(error.to_string().contains("data[\"tls.crt\"] is not base64"), "{error}");
    }
}
