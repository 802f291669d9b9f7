//! Which TLS material is served, as tables. The fixtures hold what rcgen cannot make: old hashes, kinds of keys, and files
//! as tools write them.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, date_time_ymd};

const RSA_KEY: &str = include_str!("fixtures/rsa.key");
const EC_KEY_WITH_PARAMETERS: &str = include_str!("fixtures/ec.key");
const ED25519_KEY: &str = include_str!("fixtures/ed25519.key");
const P521_KEY: &str = include_str!("fixtures/p521.key");
const SELFSIGNED_SHA1: &str = include_str!("fixtures/selfsigned-sha1.pem");
const SELFSIGNED_MD5: &str = include_str!("fixtures/selfsigned-md5.pem");
const SIGNED_SHA1: &str = include_str!("fixtures/signed-sha1.pem");
const SIGNED_MD5: &str = include_str!("fixtures/signed-md5.pem");
const SIGNED_SHA256: &str = include_str!("fixtures/signed-sha256.pem");
const ED25519: &str = include_str!("fixtures/ed25519.pem");
const P521: &str = include_str!("fixtures/p521.pem");

struct Ca {
    pem: String,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

fn params(name: &str, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["web.example.com".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn ca(name: &str, above: Option<&Ca>) -> Ca {
    let (key, params) = (rcgen::KeyPair::generate().unwrap(), params(name, true));
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    Ca { pem: certificate.unwrap().pem(), issuer: Issuer::new(params, key) }
}

fn leaf(params: CertificateParams, ca: &Ca) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    (params.signed_by(&key, &ca.issuer).unwrap().pem(), key.serialize_pem())
}

fn outcome(certificate: &str, key: &str, authority: &str) -> Result<usize, String> {
    let pair = KeyPair::with_authority(certificate.as_bytes(), key.as_bytes(), authority.as_bytes());
    pair.map(|pair| pair.chain().len()).map_err(|error| error.to_string())
}

fn refused(certificate: &str, key: &str, authority: &str, because: &str) {
    let error = outcome(certificate, key, authority).unwrap_err();
    assert!(error.contains(because), "{because:?} in {error:?}");
}

#[test]
fn keys_are_served_in_every_form_that_the_server_can_use() {
    assert_eq!(outcome(SELFSIGNED_SHA1, RSA_KEY, ""), Ok(1), "PKCS #1");
    assert_eq!(outcome(SIGNED_SHA256, EC_KEY_WITH_PARAMETERS, ""), Ok(1), "SEC 1 after its parameters");
    assert_eq!(outcome(ED25519, ED25519_KEY, ""), Ok(1), "Ed25519, which the OpenShift router refuses");
    refused(P521, P521_KEY, "", "none of RSA of at least 2048 bits");
    let mislabelled = EC_KEY_WITH_PARAMETERS.replace("EC PRIVATE", "PRIVATE");
    assert_eq!(outcome(SIGNED_SHA256, &mislabelled, ""), Ok(1), "the label does not matter");
}

#[test]
fn the_key_may_stand_among_the_certificates() {
    let root = ca("root", None);
    let (certificate, key) = leaf(params("web", false), &root);
    assert_eq!(outcome(&format!("{key}text\n{certificate}"), "", ""), Ok(1));
    assert_eq!(outcome(&format!("{certificate}{key}"), &key, ""), Ok(1));
    refused(&certificate, "", "", "the private key cannot be used: there is no PEM block");
    refused("", &key, "", "the certificate cannot be used: there is no PEM block of type CERTIFICATE");
}

#[test]
fn the_key_must_belong_to_the_leaf_and_the_leaf_come_first() {
    let root = ca("root", None);
    let ((certificate, key), (other, other_key)) =
        (leaf(params("web", false), &root), leaf(params("web", false), &root));
    assert_eq!(outcome(&format!("{certificate}{other}"), &key, ""), Ok(2));
    refused(&certificate, &other_key, "", "it does not belong to the certificate");
    refused(&format!("{other}{certificate}"), &key, "", "it belongs to certificate 2, which must come first");
    refused(&certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", "none of RSA");
}

#[test]
fn a_ca_must_have_signed_the_leaf_and_continues_the_chain() {
    let (root, stranger) = (ca("root", None), ca("root", None));
    let between = ca("between", Some(&root));
    let (certificate, key) = leaf(params("web", false), &between);
    assert_eq!(outcome(&certificate, &key, &between.pem), Ok(2));
    assert_eq!(outcome(&certificate, &key, &format!("{}{}", stranger.pem, between.pem)), Ok(3));
    assert_eq!(outcome(&format!("{certificate}{}", between.pem), &key, &root.pem), Ok(3), "over the chain's own CA");
    assert_eq!(outcome(&format!("{certificate}{}", between.pem), &key, &between.pem), Ok(2), "sent once");
    refused(&certificate, &key, &root.pem, "the CA certificate cannot be used: it did not sign the certificate");
    refused(&certificate, &key, &stranger.pem, "it did not sign the certificate");
    refused(&certificate, &key, "text", "the CA certificate cannot be used");
    let (no_ca, _) = leaf(params("root", false), &root);
    let (below, key) = leaf(params("web", false), &root);
    refused(&below, &key, &no_ca, "it did not sign the certificate");
    assert_eq!(outcome(SELFSIGNED_SHA1, RSA_KEY, SELFSIGNED_SHA1), Ok(1), "a certificate that is its own CA");
    assert_eq!(outcome(SIGNED_SHA256, EC_KEY_WITH_PARAMETERS, SELFSIGNED_SHA1), Ok(2), "RSA over ECDSA");
}

#[test]
fn the_clock_refuses_nothing_and_hides_nothing() {
    let (root, stranger) = (ca("root", None), ca("root", None));
    for (from, until) in [(2001, 2002), (2090, 2091)] {
        let mut params = params("web", false);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let (certificate, key) = leaf(params, &root);
        assert_eq!(outcome(&certificate, &key, &root.pem), Ok(2));
        refused(&certificate, &key, &stranger.pem, "it did not sign the certificate");
    }
}

#[test]
fn hashes_that_can_be_forged_are_refused_unless_a_certificate_signs_itself() {
    refused(SIGNED_SHA1, EC_KEY_WITH_PARAMETERS, "", "certificate 1 is signed by a CA with SHA-1");
    refused(SIGNED_MD5, EC_KEY_WITH_PARAMETERS, "", "certificate 1 is signed by a CA with MD5");
    refused(&format!("{ED25519}{SIGNED_SHA1}"), ED25519_KEY, "", "certificate 2 is signed by a CA with SHA-1");
    refused(SIGNED_SHA256, EC_KEY_WITH_PARAMETERS, &format!("{SELFSIGNED_SHA1}{SIGNED_SHA1}"), "certificate 2");
    assert_eq!(outcome(SELFSIGNED_MD5, RSA_KEY, ""), Ok(1));
    for (bundle, usable) in [(SELFSIGNED_SHA1, true), (SELFSIGNED_MD5, true), (SIGNED_SHA1, false), ("", false)] {
        assert_eq!(read_bundle(bundle.as_bytes()).is_ok(), usable, "{bundle}");
    }
}

#[test]
fn what_is_no_certificate_is_refused_by_its_place() {
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(&format!("{ED25519}{bad}"), ED25519_KEY, "", "certificate 2 is not X.509");
    let unknown = ED25519.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    refused(&unknown, ED25519_KEY, "", "a block TRUSTED CERTIFICATE has no place here");
    let pair = KeyPair::from_pem(ED25519.as_bytes(), ED25519_KEY.as_bytes()).unwrap();
    assert!(!format!("{pair:?}").contains("key"), "the key is not shown");
}
