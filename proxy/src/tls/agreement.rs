//! What clients and proxy may agree on: the words of flags flow in, versions, cipher suites, groups and protocols of every
//! TLS configuration flow out. Words of OpenSSL, of IANA and of rustls are understood. What exists but is not offered here
//! is left out with a note, so that the settings of another router can be taken over as they are; what does not exist is
//! refused.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// The common part of every TLS configuration towards clients.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) protocols: Vec<Vec<u8>>,
}

/// A protocol version, as a flag names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// Exists and is not offered.
    Old,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Words that were read, and what has no effect of them.
#[derive(Debug)]
pub(crate) struct Chosen<T> {
    /// What is offered, in the order of the words.
    pub(crate) offered: Vec<T>,
    /// Words of what exists and is not offered here.
    pub(crate) left_out: Vec<String>,
}

impl Agreement {
    /// Offers these versions, and of HTTP also version 2 if wanted. Nothing chosen means everything.
    ///
    /// # Errors
    /// If nothing is left to agree on.
    pub(crate) fn new(
        (oldest, newest): (Version, Version),
        suites: Vec<SupportedCipherSuite>,
        groups: Vec<&'static dyn SupportedKxGroup>,
        http2: bool,
    ) -> Result<Self, &'static str> {
        let versions: Vec<&'static SupportedProtocolVersion> =
            [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)]
                .into_iter()
                .filter(|(version, _)| (oldest..=newest).contains(version))
                .map(|(_, version)| version)
                .collect();
        if versions.is_empty() {
            return Err("no version is left between --tls-min-version and --tls-max-version");
        }
        let mut provider = ring::default_provider();
        provider.cipher_suites = complete(suites);
        if !groups.is_empty() {
            provider.kx_groups = groups;
        }
        let mut protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self { provider: Arc::new(provider), versions, protocols })
    }
}

/// TLS 1.3 and the versions before have suites of their own: who chooses among one kind says nothing of the other.
fn complete(mut suites: Vec<SupportedCipherSuite>) -> Vec<SupportedCipherSuite> {
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    for kind in [true, false] {
        if !suites.iter().any(|suite| is_13(suite) == kind) {
            suites.extend(ring::ALL_CIPHER_SUITES.iter().filter(|suite| is_13(suite) == kind));
        }
    }
    suites
}

impl Version {
    /// `1.2`, and as OpenSSL (`TLSv1.2`) and OpenShift's API (`VersionTLS12`) write it.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word.trim_start_matches("TLSv").trim_start_matches("VersionTLS") {
            "1.0" | "10" | "1.1" | "11" | "1" => Some(Self::Old),
            "1.2" | "12" => Some(Self::Tls12),
            "1.3" | "13" => Some(Self::Tls13),
            _ => None,
        }
    }
}

/// Reads cipher suites, separated by colons or commas; a profile of OpenShift stands for all suites, since none that is
/// offered here is excluded by any profile.
///
/// # Errors
/// The first word that names no suite, or that nothing is left.
pub(crate) fn suites(text: &str) -> Result<Chosen<SupportedCipherSuite>, String> {
    if ["modern", "intermediate", "old"].contains(&text.trim()) {
        return Ok(Chosen { offered: Vec::new(), left_out: Vec::new() });
    }
    choose(text, "cipher suite", &OTHER_SUITES, |word| {
        let rustls = SUITES.iter().find(|(_, openssl)| *openssl == word).map_or(word, |(name, _)| *name);
        let rustls = rustls.replace("TLS_AES", "TLS13_AES").replace("TLS_CHACHA20", "TLS13_CHACHA20");
        ring::ALL_CIPHER_SUITES.iter().find(|suite| suite.suite().as_str() == Some(&*rustls)).copied()
    })
}

/// Reads key exchange groups ("curves"), separated by colons or commas.
///
/// # Errors
/// The first word that names no group, or that nothing is left.
pub(crate) fn groups(text: &str) -> Result<Chosen<&'static dyn SupportedKxGroup>, String> {
    choose(text, "group", &OTHER_GROUPS, |word| {
        let (rustls, _) = GROUPS.iter().find(|(_, names)| names.contains(&word))?;
        ring::ALL_KX_GROUPS.iter().find(|group| group.name().as_str() == Some(rustls)).copied()
    })
}

fn choose<T>(text: &str, what: &str, others: &[&str], find: impl Fn(&str) -> Option<T>) -> Result<Chosen<T>, String> {
    let mut chosen = Chosen { offered: Vec::new(), left_out: Vec::new() };
    for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let upper = word.to_ascii_uppercase();
        match find(&upper) {
            Some(found) => chosen.offered.push(found),
            None if others.contains(&&*upper) => chosen.left_out.push(word.to_owned()),
            None => return Err(format!("{word:?} is no {what} that is known")),
        }
    }
    if chosen.offered.is_empty() {
        return Err(format!("{text:?} holds no {what} that is offered"));
    }
    Ok(chosen)
}

/// Names of rustls and of OpenSSL. In TLS 1.3, OpenSSL writes the names of IANA, where rustls writes `TLS13` for `TLS`.
const SUITES: [(&str, &str); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];
/// Suites of Mozilla's profiles without forward secrecy or authenticated encryption, or over finite fields.
const OTHER_SUITES: [&str; 26] = [
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-SHA256",
    "DHE-RSA-AES256-SHA256",
    "DHE-RSA-AES128-SHA",
    "DHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-DES-CBC3-SHA",
    "ECDHE-RSA-DES-CBC3-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA256",
    "AES256-SHA256",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
];
const GROUPS: [(&str, &[&str]); 3] = [
    ("X25519", &["X25519"]),
    ("secp256r1", &["P-256", "SECP256R1", "PRIME256V1"]),
    ("secp384r1", &["P-384", "SECP384R1"]),
];
const OTHER_GROUPS: [&str; 14] = [
    "X25519MLKEM768",
    "SECP256R1MLKEM768",
    "SECP384R1MLKEM1024",
    "MLKEM512",
    "MLKEM768",
    "MLKEM1024",
    "P-521",
    "SECP521R1",
    "X448",
    "FFDHE2048",
    "FFDHE3072",
    "FFDHE4096",
    "FFDHE6144",
    "FFDHE8192",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_the_names_of_openssl_iana_and_rustls() {
        for name in ring::ALL_CIPHER_SUITES.iter().map(|suite| suite.suite().as_str().unwrap()) {
            assert_eq!(suites(name).unwrap().offered.len(), 1, "{name}");
            assert_eq!(suites(&name.replace("TLS13_", "TLS_")).unwrap().offered.len(), 1, "{name} of IANA");
        }
        for (name, openssl) in SUITES {
            let by_openssl = suites(&openssl.to_ascii_lowercase()).unwrap().offered;
            assert_eq!(by_openssl[0].suite().as_str(), Some(name));
        }
        assert!(suites("intermediate").unwrap().offered.is_empty(), "a profile excludes nothing");
    }

    #[test]
    fn what_is_not_offered_is_left_out_and_what_does_not_exist_is_refused() {
        let chosen = suites("ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384").unwrap();
        assert_eq!((chosen.offered.len(), chosen.left_out), (1, vec!["DHE-RSA-AES256-GCM-SHA384".to_owned()]));
        assert!(suites("ECDHE-RSA-AES128-GCM-SHA257").unwrap_err().contains("no cipher suite that is known"));
        assert!(suites("AES128-SHA").unwrap_err().contains("no cipher suite that is offered"));
        let chosen = groups("X25519MLKEM768:X25519:P-256:P-384:P-521").unwrap();
        assert_eq!((chosen.offered.len(), chosen.left_out.len()), (3, 2), "the list of OpenShift");
        assert!(groups("P-257").is_err() && groups("X448").is_err());
    }

    #[test]
    fn a_choice_among_the_suites_of_one_version_leaves_those_of_the_other() {
        let only = suites("ECDHE-RSA-AES128-GCM-SHA256").unwrap().offered;
        let agreement = Agreement::new((Version::Old, Version::Tls13), only, Vec::new(), true).unwrap();
        let offered = &agreement.provider.cipher_suites;
        assert_eq!(offered.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
        assert_eq!(offered.len(), 4, "{offered:?}");
        assert_eq!(agreement.versions.len(), 2);
    }

    #[test]
    fn versions_are_known_in_every_spelling() {
        for (word, version) in [
            ("1.2", Version::Tls12),
            ("TLSv1.3", Version::Tls13),
            ("VersionTLS12", Version::Tls12),
            ("TLSv1.1", Version::Old),
            ("VersionTLS10", Version::Old),
        ] {
            assert_eq!(Version::parse(word), Some(version), "{word}");
        }
        assert!(Version::parse("1.4").is_none() && Version::parse("SSLv3").is_none());
        assert!(Agreement::new((Version::Tls13, Version::Tls12), vec![], vec![], true).is_err());
        assert!(Agreement::new((Version::Old, Version::Old), vec![], vec![], true).is_err());
    }
}
