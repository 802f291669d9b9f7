//! Targets of what stands in Secrets and in the TLS of Routes: PEM, certificates, keys, hashes of passwords.

use crate::certificate::{Authority, CertificateNames, KeyPair, Validity, read_bundle, read_leaf};
use crate::credentials::{PasswordHash, PasswordSecret};
use crate::known_secret::KnownSecret;
use crate::object::Secret;
use crate::policy::authentication::SecretForm;
use base64::Engine;

/// Certificates, key, CA and revocation lists in PEM, with a line `=` between them.
pub fn certificates(bytes: &[u8]) {
    let mut parts = [&[][..]; 4];
    let mut rest = bytes;
    for part in &mut parts {
        let end = rest.windows(3).position(|line| line == b"\n=\n");
        *part = end.map_or(rest, |end| &rest[..end]);
        rest = end.map_or(&[], |end| &rest[end + 3..]);
    }
    let [certificate, key, authority, lists] = parts;
    let pair = KeyPair::with_authority(certificate, key, authority);
    if let Ok(pair) = &pair {
        serves_the_same_when_written(pair);
        let lenient = KeyPair::without_validation(certificate, key, authority).expect("less is asked");
        assert_eq!(lenient.chain().first(), pair.chain().first());
        assert_eq!(read_leaf(certificate).as_ref().ok(), pair.chain().first());
    }
    let messages = [
        pair.err(),
        KeyPair::from_pem(certificate, key).err(),
        Authority::from_pem(authority, lists).err(),
        read_bundle(certificate).err(),
        read_leaf(bytes).err(),
    ];
    for message in messages.into_iter().flatten().map(|error| error.to_string()) {
        assert!(message.len() <= MESSAGE, "{} bytes: {message}", message.len());
    }
    if let Ok(leaf) = read_leaf(certificate) {
        let names = CertificateNames::of(&leaf);
        for name in names.iter().filter(|name| !name.starts_with("*.")) {
            assert!(names.cover(name));
        }
        let _ = Validity::of(&leaf);
    }
    let (certificate, key, authority) = (certificate.to_vec(), key.to_vec(), authority.to_vec());
    let secret = Secret { certificate, key, authority, revocations: lists.to_vec(), ..Secret::default() };
    let _ = KnownSecret::of(&secret);
}

fn serves_the_same_when_written(pair: &KeyPair) {
    let pem = |label: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let chain: String = pair.chain().iter().map(|part| pem("CERTIFICATE", part)).collect();
    let again =
        KeyPair::without_validation(chain.as_bytes(), pem("PRIVATE KEY", pair.key().secret_der()).as_bytes(), b"");
    assert_eq!(again.expect("what is served can be written").fingerprint(), pair.fingerprint());
}

/// The lines of an htpasswd file, which are also taken as a hash each.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut secret = Secret { kind: "Opaque".into(), ..Secret::default() };
    for (number, line) in text.lines().enumerate().take(64) {
        let hash = line.split_once(':').map_or(line, |(_, hash)| hash);
        match PasswordHash::parse(hash) {
            Ok(parsed) => assert_eq!(PasswordHash::parse(&parsed.to_text()), Ok(parsed)),
            // What is wrong is told without what is secret.
            Err(error) => assert!(hash.len() < 12 || !error.to_string().contains(hash)),
        }
        secret.passwords.insert(format!("user{number}").into(), hash.into());
    }
    secret.passwords.insert("auth".into(), text.into());
    let read = PasswordSecret::new(&secret);
    for form in [SecretForm::File, SecretForm::Map] {
        let credentials = read.credentials(form);
        assert_eq!(credentials.is_empty(), credentials.any_hash().is_none());
        assert!(credentials.complaint().is_none_or(|complaint| complaint.len() <= MESSAGE));
        assert!(!credentials.is_empty() || credentials.complaint().is_some(), "nobody is let in, and nobody says so");
    }
}

/// Bytes of what is said of a fault.
const MESSAGE: usize = 2048;
