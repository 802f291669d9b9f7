//! Records as a zone file writes their data (RFC 1035 §5.1): RRsets flow in, text flows out that `desired` reads back as a target.
//! Used for what people are shown and for what is kept on disk.

use super::{RrsetData, Text};

impl RrsetData {
    /// The data of each record; of the SOA only what tells one from another.
    pub(crate) fn presentation(&self) -> Vec<String> {
        match self {
            Self::A(all) => all.iter().map(ToString::to_string).collect(),
            Self::Aaaa(all) => all.iter().map(ToString::to_string).collect(),
            Self::Txt(all) => all.iter().map(strings).collect(),
            Self::Https(all) => all.iter().map(ToString::to_string).collect(),
            Self::Cname(target) => vec![format!("{target}.")],
            Self::Ns(all) => all.iter().map(|server| format!("{server}.")).collect(),
            Self::Soa(soa) => vec![format!("{}. {}. {}", soa.mname, soa.rname, soa.serial)],
        }
    }
}

/// The strings of a text, each in quotes.
fn strings(text: &Text) -> String {
    text.iter().map(|string| format!("\"{}\"", quoted(string))).collect::<Vec<_>>().join(" ")
}

/// Octets as the inside of a quoted string.
pub(super) fn quoted(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for &octet in octets {
        match octet {
            b'"' | b'\\' => text.extend(['\\', char::from(octet)]),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
    text
}
