//! What the DNSEndpoint objects ask for: one trimmed object flows in, its valid RRsets and the reasons for the rest flow
//! out. Pure and per object, so `zone_store` parses an object once however often zones are rebuilt.

use crate::limits::{MAX_ENDPOINTS_PER_OBJECT, MAX_HTTPS_OCTETS, MAX_TARGETS, MAX_TXT_OCTETS};
use crate::name::{Name, NameError};
use crate::record::{Https, HttpsError, Rrset, RrsetData, Text, Ttl};
use crate::zone::alias::WildcardAlias;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Identifies a DNSEndpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "metadata.namespace and metadata.name")]
pub struct ObjectKey {
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The part of a DNSEndpoint (`externaldns.k8s.io/v1alpha1`) that publishing reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredObject {
    /// Which object it is.
    pub key: ObjectKey,
    /// The annotation `nearside.dev/gen` where it is a number, else `metadata.generation`; 0 when there is neither.
    pub generation: u64,
    /// `spec.endpoints[]`.
    pub endpoints: Vec<DesiredEndpoint>,
    /// The annotation [`WEIGHTS`], as written.
    pub weights: Option<String>,
}

/// One entry of `spec.endpoints[]`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredEndpoint {
    /// `dnsName`.
    pub dns_name: String,
    /// `recordType`.
    pub record_type: String,
    /// `targets[]`.
    pub targets: Vec<String>,
    /// `recordTTL`; absent and 0 both mean the publisher's default, [`DEFAULT_TTL`].
    pub record_ttl: Option<i64>,
}

/// What one object contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Which object it is.
    pub key: ObjectKey,
    /// See [`DesiredObject::generation`].
    pub generation: u64,
    /// The valid RRsets, each with its index in `spec.endpoints[]`.
    pub records: Vec<(usize, Name, Rrset)>,
    /// The same for aliases of wildcard hosts, which are no names and which only the embedded server answers for.
    pub wildcard_aliases: Vec<(usize, WildcardAlias, Rrset)>,
    /// How many ready pods stand behind an address, where that is told.
    pub weights: BTreeMap<IpAddr, u32>,
    /// What was left out.
    pub rejections: Vec<Rejection>,
}

/// A part of an object that is not published; everything else of the object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("DNSEndpoint {object}: {field}: {problem}")]
pub struct Rejection {
    /// The object.
    pub object: ObjectKey,
    /// Path of the field, such as `spec.endpoints[2].targets[0]`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Why a part of an object is not published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// `dnsName`, or the target of a CNAME, is no name.
    #[error("\"{name}\" {reason}")]
    Name {
        /// The value, shortened.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `recordType` is none that this server publishes.
    #[error("record type \"{0}\" is not supported; A, AAAA, CNAME, TXT and HTTPS are")]
    RecordType(String),
    /// An empty set is never published.
    #[error("no usable target; an empty record set is not published")]
    NoTarget,
    /// An A target that is no IPv4 address, an AAAA target that is no IPv6 address.
    #[error("\"{target}\" is not an IP{family} address, as a record of this type needs")]
    Address {
        /// The value, shortened.
        target: String,
        /// `v4` or `v6`.
        family: &'static str,
    },
    /// A CNAME RRset holds one record (RFC 2181 §10.1).
    #[error("a CNAME has exactly one target")]
    CnameTargets,
    /// A TXT target with a broken quoted string.
    #[error("the text has an unfinished quoted string or escape")]
    Text,
    /// An HTTPS target that is no record of RFC 9460.
    #[error("\"{target}\" is no HTTPS record: {reason}")]
    Https {
        /// The value, shortened.
        target: String,
        /// What is wrong with it.
        reason: HttpsError,
    },
    /// An annotation that is no JSON object of addresses and numbers.
    #[error("it is no JSON object of IP addresses and numbers of pods; all addresses get equal shares ({0})")]
    Weights(String),
    /// `recordTTL` outside RFC 2181 §8.
    #[error("TTL {0} is outside 0 to 2147483647 seconds; the default of 30 is used")]
    Ttl(i64),
    /// More than the limits of this server.
    #[error("more than {limit} {what}; the rest is left out")]
    TooMany {
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The name belongs to no zone that is served.
    #[error("\"{0}\" is in none of the served zones (--zone)")]
    OutsideZones(Name),
    /// A name that is none in DNS: other name servers cannot have it.
    #[error(
        "\"{0}\" is an alias of a wildcard host, which only Nearside's own name server answers for; it is left out"
    )]
    WildcardAlias(String),
    /// RFC 1034 §3.6.2: other data at the name, or the apex.
    #[error("a CNAME at \"{0}\" cannot stand beside the other records of that name; the CNAME is left out")]
    CnameBesideData(Name),
    /// Two different canonical names.
    #[error("\"{name}\" already is an alias of \"{other}\" by an object that sorts before this one")]
    CnameConflict {
        /// The alias.
        name: Name,
        /// The canonical name that is kept.
        other: Name,
    },
    /// The name of a name server, whose addresses the command line gives.
    #[error("\"{0}\" is a name server of the zone; its addresses come from --name-server")]
    NameServer(Name),
}

/// Annotation with the number of ready pods behind each address, a JSON object such as `{"192.0.2.1": 3}`.
pub const WEIGHTS: &str = "nearside.dev/weights";

/// TTL of an endpoint that gives none.
pub const DEFAULT_TTL: Ttl = Ttl::constant(30);

/// Reads one object. Never fails as a whole: a bad endpoint or target costs itself and is reported.
pub fn parse(object: &DesiredObject) -> Desired {
    let mut parser = Parser { key: &object.key, rejections: Vec::new() };
    let (mut records, mut wildcard_aliases) = (Vec::new(), Vec::new());
    for (index, endpoint) in object.endpoints.iter().take(MAX_ENDPOINTS_PER_OBJECT).enumerate() {
        let path = format!("spec.endpoints[{index}]");
        if let Some(alias) = WildcardAlias::parse(&endpoint.dns_name) {
            wildcard_aliases.extend(parser.rrset(&path, endpoint).map(|rrset| (index, alias, rrset)));
        } else if let Some((name, rrset)) = parser.endpoint(&path, endpoint) {
            records.push((index, name, rrset));
        }
    }
    if object.endpoints.len() > MAX_ENDPOINTS_PER_OBJECT {
        let problem = Problem::TooMany { limit: MAX_ENDPOINTS_PER_OBJECT, what: "endpoints" };
        parser.reject("spec.endpoints".to_owned(), problem);
    }
    let weights = object.weights.as_deref().map_or_else(BTreeMap::new, |text| parser.weights(text));
    let rejections = parser.rejections;
    Desired { key: object.key.clone(), generation: object.generation, records, wildcard_aliases, weights, rejections }
}

struct Parser<'o> {
    key: &'o ObjectKey,
    rejections: Vec<Rejection>,
}

impl Parser<'_> {
    fn reject(&mut self, field: String, problem: Problem) {
        self.rejections.push(Rejection { object: self.key.clone(), field, problem });
    }

    fn endpoint(&mut self, path: &str, endpoint: &DesiredEndpoint) -> Option<(Name, Rrset)> {
        let name = match endpoint.dns_name.parse::<Name>() {
            Ok(name) => name,
            Err(error) => {
                self.reject(format!("{path}.dnsName"), bad_name(&endpoint.dns_name, &error));
                return None;
            }
        };
        self.rrset(path, endpoint).map(|rrset| (name, rrset))
    }

    fn rrset(&mut self, path: &str, endpoint: &DesiredEndpoint) -> Option<Rrset> {
        let data = match endpoint.record_type.as_str() {
            "A" => RrsetData::A(self.addresses(path, &endpoint.targets, "v4")),
            "AAAA" => RrsetData::Aaaa(self.addresses(path, &endpoint.targets, "v6")),
            "TXT" => RrsetData::Txt(self.texts(path, &endpoint.targets)),
            "HTTPS" => RrsetData::Https(self.https(path, &endpoint.targets)),
            "CNAME" => RrsetData::Cname(self.canonical_name(path, &endpoint.targets)?),
            other => {
                self.reject(format!("{path}.recordType"), Problem::RecordType(shorten(other)));
                return None;
            }
        };
        if data.count() == 0 {
            self.reject(format!("{path}.targets"), Problem::NoTarget);
            return None;
        }
        Some(Rrset { ttl: self.ttl(path, endpoint.record_ttl), data })
    }

    fn weights(&mut self, text: &str) -> BTreeMap<IpAddr, u32> {
        match serde_json::from_str::<BTreeMap<IpAddr, u32>>(text) {
            Ok(weights) if weights.len() <= MAX_TARGETS => weights,
            other => {
                let reason =
                    other.map_or_else(|error| error.to_string(), |_| format!("more than {MAX_TARGETS} of them"));
                self.reject(format!("metadata.annotations[{WEIGHTS}]"), Problem::Weights(shorten(&reason)));
                BTreeMap::new()
            }
        }
    }

    fn ttl(&mut self, path: &str, seconds: Option<i64>) -> Ttl {
        let Some(seconds) = seconds.filter(|seconds| *seconds != 0) else { return DEFAULT_TTL };
        match u32::try_from(seconds).ok().and_then(Ttl::new) {
            Some(ttl) => ttl,
            None => {
                self.reject(format!("{path}.recordTTL"), Problem::Ttl(seconds));
                DEFAULT_TTL
            }
        }
    }

    fn addresses<T: std::str::FromStr + Ord>(
        &mut self,
        path: &str,
        targets: &[String],
        family: &'static str,
    ) -> Vec<T> {
        let mut addresses = Vec::with_capacity(targets.len().min(MAX_TARGETS));
        for (index, target) in self.bounded(path, targets).iter().enumerate() {
            match target.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let problem = Problem::Address { target: shorten(target), family };
                    self.reject(format!("{path}.targets[{index}]"), problem);
                }
            }
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn texts(&mut self, path: &str, targets: &[String]) -> Vec<Text> {
        let mut texts = Vec::new();
        let mut octets = 0;
        for (index, target) in self.bounded(path, targets).iter().enumerate() {
            octets += target.len();
            if octets > MAX_TXT_OCTETS {
                let problem = Problem::TooMany { limit: MAX_TXT_OCTETS, what: "octets of text" };
                self.reject(format!("{path}.targets[{index}]"), problem);
                break;
            }
            match text(target) {
                Some(text) => texts.push(text),
                None => self.reject(format!("{path}.targets[{index}]"), Problem::Text),
            }
        }
        texts.sort();
        texts.dedup();
        texts
    }

    fn https(&mut self, path: &str, targets: &[String]) -> Vec<Https> {
        let mut records = Vec::new();
        let mut octets = 0;
        for (index, target) in self.bounded(path, targets).iter().enumerate() {
            let record = match target.parse::<Https>() {
                Ok(record) => record,
                Err(reason) => {
                    let problem = Problem::Https { target: shorten(target), reason };
                    self.reject(format!("{path}.targets[{index}]"), problem);
                    continue;
                }
            };
            octets += record.to_wire().len();
            if octets > MAX_HTTPS_OCTETS {
                let problem = Problem::TooMany { limit: MAX_HTTPS_OCTETS, what: "octets of HTTPS records" };
                self.reject(format!("{path}.targets[{index}]"), problem);
                break;
            }
            records.push(record);
        }
        records.sort();
        records.dedup();
        records
    }

    fn canonical_name(&mut self, path: &str, targets: &[String]) -> Option<Name> {
        match targets {
            [] => self.reject(format!("{path}.targets"), Problem::NoTarget),
            [target] => match target.parse() {
                Ok(name) => return Some(name),
                Err(error) => self.reject(format!("{path}.targets[0]"), bad_name(target, &error)),
            },
            _ => self.reject(format!("{path}.targets"), Problem::CnameTargets),
        }
        None
    }

    fn bounded<'t>(&mut self, path: &str, targets: &'t [String]) -> &'t [String] {
        if targets.len() > MAX_TARGETS {
            self.reject(format!("{path}.targets"), Problem::TooMany { limit: MAX_TARGETS, what: "targets" });
        }
        &targets[..targets.len().min(MAX_TARGETS)]
    }
}

/// Reads a TXT target: quoted strings as in a zone file (RFC 1035 §5.1) when it starts with a quote, else the bare text,
/// cut into strings of 255 octets.
fn text(target: &str) -> Option<Text> {
    let target = target.trim();
    if !target.starts_with('"') {
        let bare = target.as_bytes();
        return Some(if bare.is_empty() { vec![Box::default()] } else { chunks(bare).collect() });
    }
    let mut strings = Vec::new();
    let mut octets = target.bytes().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b' ' | b'\t' => continue,
            b'"' => {}
            _ => return None,
        }
        let mut string = Vec::new();
        loop {
            match octets.next()? {
                b'"' => break,
                b'\\' => string.push(escaped(&mut octets)?),
                plain => string.push(plain),
            }
        }
        if string.is_empty() {
            strings.push(Box::default());
        } else {
            strings.extend(chunks(&string));
        }
    }
    Some(strings)
}

fn escaped(octets: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut code = u32::from(first - b'0');
    for _ in 0..2 {
        code = code * 10 + u32::from(octets.next().filter(u8::is_ascii_digit)? - b'0');
    }
    u8::try_from(code).ok()
}

fn chunks(octets: &[u8]) -> impl Iterator<Item = Box<[u8]>> {
    octets.chunks(255).map(Into::into)
}

fn bad_name(name: &str, error: &NameError) -> Problem {
    Problem::Name { name: shorten(name), reason: error.to_string() }
}

/// What a user wrote, cut so that a log line stays a line.
fn shorten(value: &str) -> String {
    match value.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(dns_name: &str, record_type: &str, targets: &[&str]) -> DesiredEndpoint {
        DesiredEndpoint {
            dns_name: dns_name.into(),
            record_type: record_type.into(),
            targets: targets.iter().map(|&t| t.into()).collect(),
            record_ttl: None,
        }
    }

    fn parsed(endpoints: Vec<DesiredEndpoint>) -> Desired {
        let key = ObjectKey { namespace: "router".into(), name: "video".into() };
        parse(&DesiredObject { key, generation: 1, endpoints, ..DesiredObject::default() })
    }

    #[test]
    fn a_bad_endpoint_costs_only_itself_and_is_named() {
        let long_label = format!("{}.apps.example.com", "a".repeat(64));
        let desired = parsed(vec![
            endpoint(&long_label, "A", &["192.0.2.1"]),
            endpoint(&"a.".repeat(150), "A", &["192.0.2.1"]),
            endpoint("video.apps.example.com", "A", &["192.0.2.1", "2001:db8::1", "192.0.2.1"]),
            endpoint("none.apps.example.com", "A", &[]),
            endpoint("six.apps.example.com", "AAAA", &["192.0.2.1"]),
            endpoint("mail.apps.example.com", "MX", &["10 mail"]),
            endpoint("alias.apps.example.com", "CNAME", &["a.example", "b.example"]),
            endpoint("web.apps.example.com", "HTTPS", &["1 . alpn=h2", "1 . ech=AAAA", "1 . alpn=\"h2\""]),
        ]);
        let names: Vec<String> = desired.records.iter().map(|(_, name, _)| name.to_string()).collect();
        assert_eq!(names, ["video.apps.example.com", "web.apps.example.com"]);
        assert_eq!(desired.records[1].2.data, RrsetData::Https(vec!["1 . alpn=h2".parse().unwrap()]));
        assert_eq!(desired.records[0].2.data, RrsetData::A(vec!["192.0.2.1".parse().unwrap()]));
        let reports: Vec<String> = desired.rejections.iter().map(ToString::to_string).collect();
        for expected in [
            "DNSEndpoint router/video: spec.endpoints[0].dnsName:",
            "DNSEndpoint router/video: spec.endpoints[1].dnsName:",
            "DNSEndpoint router/video: spec.endpoints[2].targets[1]: \"2001:db8::1\" is not an IPv4 address",
            "DNSEndpoint router/video: spec.endpoints[3].targets: no usable target",
            "DNSEndpoint router/video: spec.endpoints[4].targets[0]: \"192.0.2.1\" is not an IPv6 address",
            "DNSEndpoint router/video: spec.endpoints[4].targets: no usable target",
            "DNSEndpoint router/video: spec.endpoints[5].recordType: record type \"MX\" is not supported",
            "DNSEndpoint router/video: spec.endpoints[6].targets: a CNAME has exactly one target",
            "DNSEndpoint router/video: spec.endpoints[7].targets[1]: \"1 . ech=AAAA\" is no HTTPS record: the key \"ech\"",
        ] {
            assert!(reports.iter().any(|r| r.starts_with(expected)), "{expected} not in {reports:#?}");
        }
        assert_eq!(reports.len(), 9);
    }

    #[test]
    fn weights_are_numbers_of_pods_by_address() {
        let weighed = |text: &str| {
            let endpoints = vec![endpoint("a.example", "A", &["192.0.2.1"])];
            parse(&DesiredObject { endpoints, weights: Some(text.into()), ..DesiredObject::default() })
        };
        let desired = weighed(r#"{"192.0.2.1": 3, "2001:db8::1": 1}"#);
        assert_eq!(desired.weights.values().copied().collect::<Vec<_>>(), [3, 1]);
        for text in ["", "3", r#"{"node": 3}"#, r#"{"192.0.2.1": -1}"#] {
            let desired = weighed(text);
            assert!(desired.weights.is_empty() && desired.records.len() == 1, "{text}");
            let report = desired.rejections[0].to_string();
            assert!(report.contains("metadata.annotations[nearside.dev/weights]: it is no JSON object"), "{report}");
        }
    }

    #[test]
    fn an_alias_of_a_wildcard_host_is_no_name() {
        let desired = parsed(vec![
            endpoint("*--k3x7a.example.com", "A", &["192.0.2.1"]),
            endpoint("*--.example.com", "A", &["192.0.2.1"]),
        ]);
        assert_eq!(desired.records, []);
        assert_eq!(desired.wildcard_aliases[0].1.to_string(), "*--k3x7a.example.com");
        assert_eq!(desired.rejections.len(), 1);
    }

    #[test]
    fn an_absent_zero_or_impossible_ttl_is_the_default() {
        for (given, expected, rejections) in
            [(None, 30, 0), (Some(0), 30, 0), (Some(15), 15, 0), (Some(-1), 30, 1), (Some(1 << 31), 30, 1)]
        {
            let mut one = endpoint("a.example", "A", &["192.0.2.1"]);
            one.record_ttl = given;
            let desired = parsed(vec![one]);
            assert_eq!(desired.records[0].2.ttl.seconds(), expected, "{given:?}");
            assert_eq!(desired.rejections.len(), rejections, "{given:?}");
        }
    }

    #[test]
    fn txt_targets_are_quoted_strings_or_bare_text() {
        let strings = |target: &str| text(target).map(|all| all.iter().map(|s| s.to_vec()).collect::<Vec<_>>());
        assert_eq!(strings("plain text"), Some(vec![b"plain text".to_vec()]));
        assert_eq!(strings("\"one\" \"t\\\"w\\065o\""), Some(vec![b"one".to_vec(), b"t\"wAo".to_vec()]));
        assert_eq!(strings("\"\""), Some(vec![vec![]]));
        assert_eq!(strings("\"open"), None);
        assert_eq!(strings("\"bad\\9\""), None);
        assert_eq!(strings("\"bad\\999\""), None);
        assert_eq!(strings(&"x".repeat(300)).map(|all| all.len()), Some(2));
    }
}
