//! The id of a request: a format and what is known of the request flow in, text flows out. The format is a part of HAProxy's
//! `unique-id-format`, so that ids of an OpenShift router can be kept; `%[uuid()]` is random (RFC 9562 §5.4). Pure.

use crate::balance::Random;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// What ids are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueIdFormat(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable { variable: Variable, hexadecimal: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    ClientAddress,
    ClientPort,
    LocalAddress,
    LocalPort,
    Seconds,
    Count,
    Process,
    Uuid,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identified {
    /// The client.
    pub(crate) client: SocketAddr,
    /// The address that it connected to.
    pub(crate) local: SocketAddr,
    /// Seconds since 1970.
    pub(crate) seconds: u64,
    /// How many requests came before.
    pub(crate) count: u64,
    /// The proxy's process id.
    pub(crate) process: u32,
}

impl FromStr for UniqueIdFormat {
    type Err = String;

    /// Reads a format. `%{+X}o` makes what follows hexadecimal, `%{-X}o` decimal again; `%%` is a percent sign, and a
    /// backslash makes the next character text.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > FORMAT_BYTES || text.chars().any(char::is_control) {
            return Err(format!("must have 1 to {FORMAT_BYTES} bytes without control characters"));
        }
        let (mut parts, mut literal, mut all_hexadecimal) = (Vec::new(), String::new(), false);
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            match first {
                '\\' => {
                    let next = rest.chars().next().ok_or("ends with a backslash")?;
                    literal.push(next);
                    rest = &rest[next.len_utf8()..];
                }
                '%' if rest.starts_with('%') => {
                    literal.push('%');
                    rest = &rest[1..];
                }
                '%' => {
                    let wrong = || format!("at {:?}: is no variable of this format", format!("%{rest}"));
                    let (hexadecimal, after) = match rest.strip_prefix('{') {
                        Some(flags) => {
                            let (flags, after) = flags.split_once('}').ok_or_else(wrong)?;
                            let on = match flags {
                                "+X" => true,
                                "-X" => false,
                                _ => return Err(wrong()),
                            };
                            (Some(on), after)
                        }
                        None => (None, rest),
                    };
                    if let Some(after) = after.strip_prefix('o') {
                        all_hexadecimal = hexadecimal.ok_or_else(wrong)?;
                        rest = after;
                        continue;
                    }
                    let known = VARIABLES.iter().find(|(name, _)| after.starts_with(name)).ok_or_else(wrong)?;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    }
                    let hexadecimal = hexadecimal.unwrap_or(all_hexadecimal);
                    parts.push(Part::Variable { variable: known.1, hexadecimal });
                    rest = &after[known.0.len()..];
                }
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self(parts.into()))
    }
}

impl UniqueIdFormat {
    /// The id of a request.
    pub(crate) fn id(&self, request: &Identified, random: &mut Random) -> String {
        let mut id = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => id.push_str(text),
                Part::Variable { variable, hexadecimal } => {
                    let number = match variable {
                        Variable::ClientAddress => {
                            push_address(&mut id, request.client.ip(), *hexadecimal);
                            continue;
                        }
                        Variable::LocalAddress => {
                            push_address(&mut id, request.local.ip(), *hexadecimal);
                            continue;
                        }
                        Variable::Uuid => {
                            push_uuid(&mut id, random);
                            continue;
                        }
                        Variable::ClientPort => request.client.port().into(),
                        Variable::LocalPort => request.local.port().into(),
                        Variable::Seconds => request.seconds,
                        Variable::Count => request.count,
                        Variable::Process => request.process.into(),
                    };
                    // Writing to a String does not fail.
                    let _ = if *hexadecimal { write!(id, "{number:04X}") } else { write!(id, "{number}") };
                }
            }
        }
        id
    }
}

fn push_address(id: &mut String, address: IpAddr, hexadecimal: bool) {
    let octets = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    if hexadecimal {
        for octet in octets {
            let _ = write!(id, "{octet:02X}");
        }
    } else {
        let _ = write!(id, "{}", address.to_canonical());
    }
}

fn push_uuid(id: &mut String, random: &mut Random) {
    let mut group = |bits: u32| random.below(1 << bits);
    let (a, b, c, d, e) = (group(32), group(16), group(12), group(14), group(48));
    let _ = write!(id, "{a:08x}-{b:04x}-4{c:03x}-{:04x}-{e:012x}", d | 0x8000);
}

/// Longer ones are no useful ones.
const FORMAT_BYTES: usize = 1024;

/// By their names in HAProxy.
const VARIABLES: [(&str, Variable); 8] = [
    ("ci", Variable::ClientAddress),
    ("cp", Variable::ClientPort),
    ("fi", Variable::LocalAddress),
    ("fp", Variable::LocalPort),
    ("Ts", Variable::Seconds),
    ("rt", Variable::Count),
    ("pid", Variable::Process),
    ("[uuid()]", Variable::Uuid),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn id(format: &str) -> String {
        let request = Identified {
            client: "198.18.0.9:4660".parse().unwrap(),
            local: "[::ffff:10.0.0.1]:443".parse().unwrap(),
            seconds: 1_700_000_000,
            count: 7,
            process: 4242,
        };
        format.parse::<UniqueIdFormat>().unwrap().id(&request, &mut Random::seeded(1))
    }

    #[test]
    fn ids_are_those_of_the_openshift_router() {
        assert_eq!(id("%{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid"), " C6120009:1234_0A000001:01BB_6553F100_0007:1092");
        assert_eq!(id("%ci:%cp-%{+X}cp%%-%{-X}rt"), "198.18.0.9:4660-1234%-7");
    }

    #[test]
    fn a_random_id_is_a_uuid() {
        let id = id("%[uuid()]");
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert!(id[14..].starts_with('4') && id[19..].starts_with(['8', '9', 'a', 'b']), "{id}");
    }

    #[test]
    fn other_variables_are_refused() {
        for format in ["", "%", "%zz", "%{+Q}ci", "%{+X", "%o", "%[src]", "a\\", "a\nb"] {
            assert!(format.parse::<UniqueIdFormat>().is_err(), "{format:?}");
        }
    }
}
