//! Resource records as this server knows them: the types it can be asked for, the RRsets it holds. Pure data between
//! `desired` (which makes it from objects), `zone` (which keeps it) and `wire` (which writes it).

mod https;
mod presentation;

pub use https::{Https, HttpsError};

use crate::name::Name;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A type or query type (RFC 1035 §3.2.2 and §3.2.3); the ones without a meaning here are `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the registered mnemonics")]
pub enum RecordType {
    A,
    Ns,
    Cname,
    Soa,
    Hinfo,
    Txt,
    Aaaa,
    Https,
    Ixfr,
    Axfr,
    Any,
    Other(u16),
}

impl From<u16> for RecordType {
    fn from(code: u16) -> Self {
        match code {
            1 => Self::A,
            2 => Self::Ns,
            5 => Self::Cname,
            6 => Self::Soa,
            13 => Self::Hinfo,
            16 => Self::Txt,
            28 => Self::Aaaa,
            65 => Self::Https,
            251 => Self::Ixfr,
            252 => Self::Axfr,
            255 => Self::Any,
            other => Self::Other(other),
        }
    }
}

impl RecordType {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Hinfo => 13,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Https => 65,
            Self::Ixfr => 251,
            Self::Axfr => 252,
            Self::Any => 255,
            Self::Other(code) => code,
        }
    }

    /// Whether [`RrsetData`] has a form for records of this type.
    pub fn has_data(self) -> bool {
        matches!(self, Self::A | Self::Aaaa | Self::Txt | Self::Https | Self::Cname | Self::Ns | Self::Soa)
    }
}

impl FromStr for RecordType {
    type Err = ();

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        let known = [
            Self::A,
            Self::Ns,
            Self::Cname,
            Self::Soa,
            Self::Hinfo,
            Self::Txt,
            Self::Aaaa,
            Self::Https,
            Self::Ixfr,
            Self::Axfr,
            Self::Any,
        ];
        let code = || text.strip_prefix("TYPE").and_then(|code| code.parse::<u16>().ok()).map(Self::from);
        let found = known.into_iter().find(|known| known.to_string() == text).or_else(code).ok_or(())?;
        if found.to_string() == text { Ok(found) } else { Err(()) }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Ns => "NS",
            Self::Cname => "CNAME",
            Self::Soa => "SOA",
            Self::Hinfo => "HINFO",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
            Self::Https => "HTTPS",
            Self::Ixfr => "IXFR",
            Self::Axfr => "AXFR",
            Self::Any => "ANY",
            Self::Other(code) => return write!(f, "TYPE{code}"),
        })
    }
}

/// Seconds a record may be cached: 0 to 2^31 - 1 (RFC 2181 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    /// A TTL of so many seconds, or `None` beyond 2^31 - 1.
    pub const fn new(seconds: u32) -> Option<Self> {
        if seconds <= i32::MAX.unsigned_abs() { Some(Self(seconds)) } else { None }
    }

    /// The TTL in seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    pub(crate) const fn constant(seconds: u16) -> Self {
        Self(seconds as u32)
    }
}

/// An RRset (RFC 2181 §5): all records of one name and type, one TTL, no duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rrset {
    /// The TTL of every record in the set.
    pub ttl: Ttl,
    /// The records; sorted, and never empty.
    pub data: RrsetData,
}

/// The records of an RRset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RrsetData {
    /// IPv4 addresses (RFC 1035 §3.4.1).
    A(Vec<Ipv4Addr>),
    /// IPv6 addresses (RFC 3596).
    Aaaa(Vec<Ipv6Addr>),
    /// Texts (RFC 1035 §3.3.14).
    Txt(Vec<Text>),
    /// Where and how to speak HTTPS (RFC 9460 §9).
    Https(Vec<Https>),
    /// The canonical name (RFC 1035 §3.3.1); a CNAME RRset has one record.
    Cname(Name),
    /// Name servers (RFC 1035 §3.3.11).
    Ns(Vec<Name>),
    /// The start of authority (RFC 1035 §3.3.13).
    Soa(Soa),
}

impl RrsetData {
    /// The type of the records.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Txt(_) => RecordType::Txt,
            Self::Https(_) => RecordType::Https,
            Self::Cname(_) => RecordType::Cname,
            Self::Ns(_) => RecordType::Ns,
            Self::Soa(_) => RecordType::Soa,
        }
    }

    /// The data of each record in a form of its own, sorted: the same for equal sets, in whatever order they are held.
    pub(crate) fn sorted_texts(&self) -> Vec<Vec<u8>> {
        let mut records: Vec<Vec<u8>> = match self {
            Self::A(all) => all.iter().map(|address| address.octets().into()).collect(),
            Self::Aaaa(all) => all.iter().map(|address| address.octets().into()).collect(),
            Self::Txt(all) => all.iter().map(length_prefixed).collect(),
            Self::Https(all) => all.iter().map(Https::to_wire).collect(),
            Self::Ns(all) => all.iter().map(|server| server.as_wire().into()).collect(),
            Self::Cname(target) => vec![target.as_wire().into()],
            Self::Soa(soa) => vec![soa.serial.to_be_bytes().into()],
        };
        records.sort_unstable();
        records
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        match self {
            Self::A(all) => all.len(),
            Self::Aaaa(all) => all.len(),
            Self::Txt(all) => all.len(),
            Self::Https(all) => all.len(),
            Self::Ns(all) => all.len(),
            Self::Cname(_) | Self::Soa(_) => 1,
        }
    }
}

fn length_prefixed(text: &Text) -> Vec<u8> {
    text.iter().flat_map(|string| u8::try_from(string.len()).into_iter().chain(string.iter().copied())).collect()
}

/// The strings of one TXT record, each at most 255 octets.
pub type Text = Vec<Box<[u8]>>;

/// The start of authority of a zone; times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields as RFC 1035 §3.3.13 names them")]
pub struct Soa {
    pub mname: Name,
    pub rname: Name,
    pub serial: u32,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub minimum: u32,
}
