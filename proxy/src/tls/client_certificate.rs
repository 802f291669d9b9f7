//! What a client's certificate says: DER flows in, the subject and the header fields that tell a pod of it flow out, in
//! the notation of HAProxy (`ssl_c_*`), which the OpenShift router passes on.

use http::{HeaderName, HeaderValue};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt::Write;
use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

/// A certificate that was verified, ready to be told.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The subject's distinguished name as `/C=DE/O=Shop/CN=client`.
    pub(crate) subject: Vec<u8>,
    /// The whole certificate.
    pub(crate) der: Vec<u8>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl ClientCertificate {
    /// Reads a leaf certificate; `None` if it is not X.509, which the verifier has refused before.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = distinguished_name(certificate.subject());
        let common_name = certificate.subject().iter_common_name().next().map(|name| name.attr_value().data);
        let told = [
            ("x-ssl-client-serial", hex(serial(&certificate)).into_bytes()),
            ("x-ssl-client-version", (certificate.version.0 + 1).to_string().into_bytes()),
            ("x-ssl-client-sha1", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()).into_bytes()),
            ("x-ssl-client-dn", subject.clone()),
            ("x-ssl-client-cn", common_name.unwrap_or_default().to_vec()),
            ("x-ssl-issuer", distinguished_name(certificate.issuer())),
            ("x-ssl-client-notbefore", time(&certificate.validity().not_before).into_bytes()),
            ("x-ssl-client-notafter", time(&certificate.validity().not_after).into_bytes()),
            ("x-ssl-client-der", base64(der).into_bytes()),
        ];
        let fields = told.into_iter().map(|(name, value)| (HeaderName::from_static(name), quoted(value))).collect();
        Some(Self { subject, der: der.to_vec(), fields })
    }
}

/// The fields for a pod. Where the client showed no certificate they are there and empty, as HAProxy has them, so that a
/// pod can tell "none" from "not asked".
pub(crate) fn fields(certificate: Option<&ClientCertificate>) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = [("x-ssl", "1"), ("x-ssl-client-verify", "0")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .to_vec();
    match certificate {
        Some(certificate) => fields.extend(certificate.fields.iter().cloned()),
        None => fields.extend(TOLD.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("\"\"")))),
    }
    fields
}

/// `/type=value` for each part, in the order of the certificate, types by their OpenSSL short names.
fn distinguished_name(name: &X509Name<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    for part in name.iter_attributes() {
        let oid = part.attr_type().to_id_string();
        let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid).map_or(&*oid, |(_, short)| *short);
        text.push(b'/');
        text.extend_from_slice(short.as_bytes());
        text.push(b'=');
        text.extend_from_slice(part.attr_value().data);
    }
    text
}

/// The number without the zero that keeps it positive.
fn serial<'c>(certificate: &'c X509Certificate<'_>) -> &'c [u8] {
    match certificate.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    }
}

/// `YYMMDDhhmmssZ`; empty beyond the century that two digits can tell.
fn time(time: &ASN1Time) -> String {
    let time = time.to_datetime();
    if !(1950..2100).contains(&time.year()) {
        return String::new();
    }
    let (year, month, day) = (time.year() % 100, u8::from(time.month()), time.day());
    format!("{year:02}{month:02}{day:02}{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// In quotes. Control characters, which no header field may hold, become question marks.
fn quoted(value: Vec<u8>) -> HeaderValue {
    let plain = value.into_iter().map(|byte| if byte < b' ' || byte == 0x7f { b'?' } else { byte });
    let quoted: Vec<u8> = [b'"'].into_iter().chain(plain).chain([b'"']).collect();
    HeaderValue::from_bytes(&quoted).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

const TOLD: [&str; 9] = [
    "x-ssl-client-serial",
    "x-ssl-client-version",
    "x-ssl-client-sha1",
    "x-ssl-client-dn",
    "x-ssl-client-cn",
    "x-ssl-issuer",
    "x-ssl-client-notbefore",
    "x-ssl-client-notafter",
    "x-ssl-client-der",
];
pub(super) const SHORT_NAMES: [(&str, &str); 18] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, SerialNumber, date_time_ymd};

    fn told(certificate: &ClientCertificate, name: &str) -> String {
        let fields = fields(Some(certificate));
        let value = fields.iter().find(|(known, _)| known == name).unwrap().1.as_bytes().to_vec();
        String::from_utf8(value).unwrap()
    }

    #[test]
    fn every_field_is_told_in_the_notation_of_haproxy() {
        let mut params = CertificateParams::new(vec!["c.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Shop \"4\"");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "own");
        params.distinguished_name.push(DnType::CommonName, "a\nb");
        params.serial_number = Some(SerialNumber::from_slice(&[0xfe, 0x01]));
        params.not_before = date_time_ymd(2026, 2, 3);
        params.not_after = date_time_ymd(2050, 12, 31);
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let certificate = ClientCertificate::of(&der).unwrap();
        assert_eq!(certificate.subject, b"/C=DE/O=Shop \"4\"/1.2.3.4=own/CN=a\nb");
        assert_eq!(told(&certificate, "X-SSL"), "1");
        assert_eq!(told(&certificate, "X-SSL-Client-Verify"), "0");
        assert_eq!(told(&certificate, "X-SSL-Client-Serial"), "\"FE01\"");
        assert_eq!(told(&certificate, "X-SSL-Client-Version"), "\"3\"");
        assert_eq!(told(&certificate, "X-SSL-Client-DN"), "\"/C=DE/O=Shop \"4\"/1.2.3.4=own/CN=a?b\"");
        assert_eq!(told(&certificate, "X-SSL-Client-CN"), "\"a?b\"");
        assert_eq!(told(&certificate, "X-SSL-Issuer"), told(&certificate, "X-SSL-Client-DN"));
        assert_eq!(told(&certificate, "X-SSL-Client-NotBefore"), "\"260203000000Z\"");
        assert_eq!(told(&certificate, "X-SSL-Client-NotAfter"), "\"501231000000Z\"");
        assert_eq!(told(&certificate, "X-SSL-Client-DER"), format!("\"{}\"", base64(&der)));
        assert_eq!(told(&certificate, "X-SSL-Client-SHA1").len(), 42);
    }

    #[test]
    fn without_a_certificate_the_same_fields_are_empty() {
        let empty = fields(None);
        let params = CertificateParams::new(vec!["c.example.com".to_owned()]).unwrap();
        let der = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();
        let full = fields(ClientCertificate::of(&der).as_ref());
        let names =
            |fields: &[(HeaderName, HeaderValue)]| fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&empty), names(&full));
        assert!(empty[2..].iter().all(|(_, value)| value == "\"\""));
        assert!(ClientCertificate::of(b"no DER").is_none());
    }
}
