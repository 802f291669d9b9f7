//! HTTPS records (RFC 9460): presentation text of a DNSEndpoint or octets of the wire flow in, a record that cannot hold a
//! malformed parameter flows out, and back again. Called by `desired` (text) and `wire` (octets).

use super::presentation::quoted;
use crate::name::{Name, NameError};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One HTTPS record (RFC 9460 §2.2). AliasMode is priority 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Https {
    priority: u16,
    /// The root stands for the owner itself (ServiceMode) or for "no such service" (AliasMode), §2.5.
    target: Name,
    /// Values as on the wire, in strictly ascending order of keys.
    params: Vec<(u16, Box<[u8]>)>,
}

/// Why a text or some octets are no HTTPS record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum HttpsError {
    /// No number where the priority must be.
    #[error("it must begin with a priority from 0 to 65535, such as 1 . alpn=\"h2\"")]
    Priority,
    /// The second word.
    #[error("the target name {0}; '.' stands for the name itself")]
    Target(String),
    /// A quoted string or an escape without its end.
    #[error("it has an unfinished quoted string or escape")]
    Unfinished,
    /// A key that is neither a registered name that this server can write nor `keyNNNNN`.
    #[error("the key \"{0}\" is not known; write it as keyNNNNN=value (RFC 9460 §2.1)")]
    Key(String),
    /// §2.1.
    #[error("the key {0} is given twice, or out of order on the wire")]
    Repeated(String),
    /// The value does not fit the key.
    #[error("the value of {key} {problem}")]
    Value {
        /// The key, as it is written.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// §2.4.2.
    #[error("an alias (priority 0) has no parameters")]
    AliasParameters,
    /// §7.1.1.
    #[error("no-default-alpn needs alpn beside it")]
    LonelyNoDefaultAlpn,
    /// §8.
    #[error("mandatory names {0}, which is not among the parameters")]
    Mandatory(String),
    /// Octets that end too early or are left over.
    #[error("its octets are no HTTPS record")]
    Octets,
    /// More than this server keeps.
    #[error("it has more than {MAX_RECORD} octets")]
    TooLong,
}

impl Https {
    /// SvcPriority.
    pub fn priority(&self) -> u16 {
        self.priority
    }

    /// TargetName; the root stands for the owner.
    pub fn target(&self) -> &Name {
        &self.target
    }

    /// The octets of the record on the wire; the target is never compressed (§2.2).
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(64);
        self.write(&mut wire);
        wire
    }

    /// Number of those octets.
    pub fn octets(&self) -> usize {
        2 + self.target.as_wire().len() + self.params.iter().map(|(_, value)| 4 + value.len()).sum::<usize>()
    }

    /// Writes the same behind what is there.
    pub(crate) fn write(&self, wire: &mut Vec<u8>) {
        wire.extend(self.priority.to_be_bytes());
        wire.extend(self.target.as_wire());
        for (key, value) in &self.params {
            wire.extend(key.to_be_bytes());
            // `checked` keeps the whole record below 64 KiB.
            wire.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            wire.extend(&**value);
        }
    }

    /// Reads the octets of a record.
    ///
    /// # Errors
    /// Whatever RFC 9460 calls malformed.
    pub fn from_wire(octets: &[u8]) -> Result<Self, HttpsError> {
        let (priority, rest) = octets.split_first_chunk::<2>().ok_or(HttpsError::Octets)?;
        let (target, mut rest) = name(rest).ok_or(HttpsError::Octets)?;
        let mut params: Vec<(u16, Box<[u8]>)> = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_first_chunk::<4>().ok_or(HttpsError::Octets)?;
            let key = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, after) = after.split_at_checked(length).ok_or(HttpsError::Octets)?;
            if params.last().is_some_and(|(last, _)| *last >= key) {
                return Err(HttpsError::Repeated(key_name(key)));
            }
            params.push((key, value.into()));
            rest = after;
        }
        Self { priority: u16::from_be_bytes(*priority), target, params }.checked()
    }

    fn checked(self) -> Result<Self, HttpsError> {
        if self.priority == 0 && !self.params.is_empty() {
            return Err(HttpsError::AliasParameters);
        }
        for (key, value) in &self.params {
            check_value(*key, value).map_err(|problem| HttpsError::Value { key: key_name(*key), problem })?;
        }
        if self.value(NO_DEFAULT_ALPN).is_some() && self.value(ALPN).is_none() {
            return Err(HttpsError::LonelyNoDefaultAlpn);
        }
        for key in self.value(MANDATORY).into_iter().flat_map(numbers) {
            if self.value(key).is_none() {
                return Err(HttpsError::Mandatory(key_name(key)));
            }
        }
        let length: usize = self.params.iter().map(|(_, value)| value.len() + 4).sum();
        if length + self.target.as_wire().len() + 2 > MAX_RECORD { Err(HttpsError::TooLong) } else { Ok(self) }
    }

    fn value(&self, key: u16) -> Option<&[u8]> {
        self.params.iter().find(|(known, _)| *known == key).map(|(_, value)| &**value)
    }
}

impl FromStr for Https {
    type Err = HttpsError;

    /// Reads presentation text (§2.1), such as `1 . alpn="h2,http/1.1" port=8443`.
    fn from_str(text: &str) -> Result<Self, HttpsError> {
        let mut words = words(text)?.into_iter();
        let priority = words.next().and_then(|word| word.bare()?.parse().ok()).ok_or(HttpsError::Priority)?;
        let target = words.next().ok_or_else(|| HttpsError::Target("is missing".to_owned()))?;
        let target = match target.bare() {
            Some(".") => root(),
            Some(text) => text.parse().map_err(|error: NameError| HttpsError::Target(error.to_string()))?,
            None => return Err(HttpsError::Target("is not a name".to_owned())),
        };
        let mut params: Vec<(u16, Box<[u8]>)> = Vec::new();
        for word in words {
            let key = key_of(&word.key).ok_or_else(|| HttpsError::Key(word.key.chars().take(40).collect()))?;
            let value = value_of(key, &word.key, word.value.as_deref())
                .map_err(|problem| HttpsError::Value { key: word.key.clone(), problem })?;
            match params.binary_search_by_key(&key, |(known, _)| *known) {
                Ok(_) => return Err(HttpsError::Repeated(word.key)),
                Err(place) => params.insert(place, (key, value.into())),
            }
        }
        Self { priority, target, params }.checked()
    }
}

/// Presentation text that [`FromStr`] reads back as the same record.
impl fmt::Display for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.target.label_count() == 0 { "" } else { "." };
        write!(f, "{} {}{dot}", self.priority, self.target)?;
        for (key, value) in &self.params {
            write!(f, " {}", key_name(*key))?;
            match *key {
                NO_DEFAULT_ALPN => {}
                PORT => write!(f, "={}", numbers(value).next().unwrap_or(0))?,
                MANDATORY => write!(f, "={}", join(numbers(value).map(key_name)))?,
                IPV4HINT => write!(f, "={}", join(addresses::<4, Ipv4Addr>(value)))?,
                IPV6HINT => write!(f, "={}", join(addresses::<16, Ipv6Addr>(value)))?,
                ALPN => {
                    let ids = alpn_ids(value).unwrap_or_default().into_iter();
                    let ids: Vec<Vec<u8>> = ids.map(|id| escape(id, b",\\")).collect();
                    write!(f, "=\"{}\"", quoted(&ids.join(&b',')))?;
                }
                _ => write!(f, "=\"{}\"", quoted(value))?,
            }
        }
        Ok(())
    }
}

/// A word of presentation text: `key` or `key=value`, unescaped.
struct Word {
    key: String,
    value: Option<Vec<u8>>,
}

impl Word {
    fn bare(&self) -> Option<&str> {
        self.value.is_none().then_some(self.key.as_str())
    }
}

/// Cuts a text at blanks outside of quotes (RFC 1035 §5.1); escapes are only in values.
fn words(text: &str) -> Result<Vec<Word>, HttpsError> {
    let mut words = Vec::new();
    let mut octets = text.bytes().peekable();
    loop {
        while octets.next_if(u8::is_ascii_whitespace).is_some() {}
        if octets.peek().is_none() {
            return Ok(words);
        }
        let mut key = Vec::new();
        while let Some(octet) = octets.next_if(|octet| !octet.is_ascii_whitespace() && *octet != b'=') {
            key.push(octet);
        }
        let key = String::from_utf8_lossy(&key).into_owned();
        let value = if octets.next_if_eq(&b'=').is_some() { Some(value(&mut octets)?) } else { None };
        words.push(Word { key, value });
    }
}

fn value(octets: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Result<Vec<u8>, HttpsError> {
    let is_quoted = octets.next_if_eq(&b'"').is_some();
    let mut value = Vec::new();
    loop {
        match octets.peek().copied() {
            None if is_quoted => return Err(HttpsError::Unfinished),
            Some(b'"') if is_quoted => {
                octets.next();
                return match octets.peek() {
                    Some(octet) if !octet.is_ascii_whitespace() => Err(HttpsError::Unfinished),
                    _ => Ok(value),
                };
            }
            None => return Ok(value),
            Some(octet) if !is_quoted && octet.is_ascii_whitespace() => return Ok(value),
            Some(b'\\') => {
                octets.next();
                let first = octets.next().ok_or(HttpsError::Unfinished)?;
                if !first.is_ascii_digit() {
                    value.push(first);
                    continue;
                }
                let mut code = u32::from(first - b'0');
                for _ in 0..2 {
                    let digit = octets.next().filter(u8::is_ascii_digit).ok_or(HttpsError::Unfinished)?;
                    code = code * 10 + u32::from(digit - b'0');
                }
                value.push(u8::try_from(code).map_err(|_| HttpsError::Unfinished)?);
            }
            Some(octet) => {
                octets.next();
                value.push(octet);
            }
        }
    }
}

/// The wire form of a presentation value.
fn value_of(key: u16, written: &str, value: Option<&[u8]>) -> Result<Vec<u8>, &'static str> {
    // A key written by its number has its value in wire form (§2.1).
    if written.starts_with("key") || key == NO_DEFAULT_ALPN {
        return Ok(value.unwrap_or_default().to_vec());
    }
    let value = value.filter(|value| !value.is_empty()).ok_or("is missing")?;
    if key == ALPN {
        return alpn_wire(value);
    }
    let text = std::str::from_utf8(value).map_err(|_| "is no text")?;
    let items = || text.split(',');
    match key {
        PORT => Ok(text.parse::<u16>().map_err(|_| "is no port number")?.to_be_bytes().into()),
        IPV4HINT => concat(items().map(|item| item.parse::<Ipv4Addr>().map(|address| address.octets()))),
        IPV6HINT => concat(items().map(|item| item.parse::<Ipv6Addr>().map(|address| address.octets()))),
        MANDATORY => {
            let mut keys = items().map(key_of).collect::<Option<Vec<u16>>>().ok_or("names a key that is not known")?;
            keys.sort_unstable();
            Ok(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        _ => Err("must be written by the number of its key, keyNNNNN"),
    }
}

/// A comma-separated list as Appendix A.1 has it: a backslash takes the next octet as it is.
fn alpn_wire(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut ids = vec![Vec::new()];
    let mut octets = value.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b',' => ids.push(Vec::new()),
            b'\\' => {
                let escaped = octets.next().ok_or("has an unfinished escape")?;
                ids.iter_mut().last().into_iter().for_each(|id| id.push(escaped));
            }
            _ => ids.iter_mut().last().into_iter().for_each(|id| id.push(octet)),
        }
    }
    let mut wire = Vec::new();
    for id in ids {
        wire.push(u8::try_from(id.len()).map_err(|_| "has a protocol of more than 255 characters")?);
        wire.extend(id);
    }
    Ok(wire)
}

fn concat<const N: usize, E>(items: impl Iterator<Item = Result<[u8; N], E>>) -> Result<Vec<u8>, &'static str> {
    let items: Vec<[u8; N]> =
        items.collect::<Result<_, E>>().map_err(|_| "is no list of IP addresses of its family")?;
    Ok(items.concat())
}

/// Whether a value has the wire form of its key.
fn check_value(key: u16, value: &[u8]) -> Result<(), &'static str> {
    let whole = |size: usize| !value.is_empty() && value.len().is_multiple_of(size);
    match key {
        MANDATORY => {
            let keys: Vec<u16> = numbers(value).collect();
            let valid = whole(2) && keys.is_sorted_by(|a, b| a < b) && !keys.contains(&MANDATORY);
            valid.then_some(()).ok_or("must name each key once, and not itself")
        }
        ALPN => {
            let ids = alpn_ids(value).filter(|ids| !ids.is_empty()).ok_or("has an empty protocol")?;
            let plain = ids.iter().all(|id| id.iter().all(|octet| matches!(octet, b'!'..=b'~')));
            plain.then_some(()).ok_or("has a protocol that is not plain text")
        }
        NO_DEFAULT_ALPN => value.is_empty().then_some(()).ok_or("must be absent"),
        PORT => (value.len() == 2).then_some(()).ok_or("is no port number"),
        IPV4HINT => whole(4).then_some(()).ok_or("is no list of IPv4 addresses"),
        IPV6HINT => whole(16).then_some(()).ok_or("is no list of IPv6 addresses"),
        INVALID_KEY => Err("belongs to the key that RFC 9460 §14.3.2 reserves as invalid"),
        _ => Ok(()),
    }
}

/// The protocols of an `alpn` value; `None` where one is empty or cut.
fn alpn_ids(mut value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    while let Some((&length, rest)) = value.split_first() {
        let (id, rest) = rest.split_at_checked(usize::from(length)).filter(|(id, _)| !id.is_empty())?;
        ids.push(id);
        value = rest;
    }
    Some(ids)
}

fn numbers(value: &[u8]) -> impl Iterator<Item = u16> {
    value.as_chunks::<2>().0.iter().map(|octets| u16::from_be_bytes(*octets))
}

fn addresses<const N: usize, A: From<[u8; N]>>(value: &[u8]) -> impl Iterator<Item = A> {
    value.as_chunks::<N>().0.iter().map(|octets| A::from(*octets))
}

fn key_of(text: &str) -> Option<u16> {
    let known = KEYS.iter().find(|(_, name)| *name == text).map(|(key, _)| *key);
    let number = || text.strip_prefix("key").filter(|digits| *digits == "0" || !digits.starts_with('0'));
    known.or_else(|| number()?.bytes().all(|digit| digit.is_ascii_digit()).then(|| number()?.parse().ok())?)
}

fn key_name(key: u16) -> String {
    let known = KEYS.iter().find(|(known, _)| *known == key);
    known.map_or_else(|| format!("key{key}"), |(_, name)| (*name).to_owned())
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn escape(octets: &[u8], special: &[u8]) -> Vec<u8> {
    let escaped = octets.iter().flat_map(|octet| special.contains(octet).then_some(b'\\').into_iter().chain([*octet]));
    escaped.collect()
}

/// An uncompressed name at the start of octets, and what follows it.
fn name(octets: &[u8]) -> Option<(Name, &[u8])> {
    let mut labels = Vec::new();
    let mut rest = octets;
    loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            return Name::from_labels(labels).map(|name| (name, after));
        }
        let (label, after) = after.split_at_checked(usize::from(length)).filter(|_| length < 64)?;
        labels.push(label);
        rest = after;
    }
}

fn root() -> Name {
    Name::from_labels(std::iter::empty()).expect("the root has no label that could be too long")
}

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const IPV6HINT: u16 = 6;
const INVALID_KEY: u16 = u16::MAX;

/// Keys with a presentation form here (RFC 9460 §14.3.2); others are written by number.
const KEYS: [(u16, &str); 6] = [
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (IPV6HINT, "ipv6hint"),
];

/// Octets of one record: far above what a service needs, and small beside a message.
const MAX_RECORD: usize = 4096;

#[cfg(test)]
mod tests;
