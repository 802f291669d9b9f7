//! What two processes say to one another: values flow in and lines of JSON flow out, and the other way round. Strict: a field too many
//! or too few, or another version, and nothing is handed over. Pure.

use crate::tls::TicketKeys;
use nearside_routing::Scheme;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Raised with every change of what is said here; a process speaks one version alone, and without an agreement each binds for itself.
const PROTOCOL: u32 = 1;

/// The new process asks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    handover: u32,
    /// Of the program; only for the log.
    pub(super) version: String,
}

/// The old process offers; the sockets come with the line, in the same order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    handover: u32,
    pub(super) version: String,
    pub(super) sockets: Vec<Described>,
    pub(super) tickets: Option<TicketKeys>,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    #[serde(with = "scheme")]
    pub(super) scheme: Scheme,
    pub(super) address: SocketAddr,
}

/// The new process serves.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ready {
    /// Places in the offer of the sockets that it uses.
    pub(super) ready: Vec<usize>,
}

/// What is said after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// By the old process: it accepts no more on these sockets.
    Resting,
    /// By the new process: a third one has them, so they are not to be taken back when this one ends.
    PassedOn,
}

impl Hello {
    pub(super) fn ours() -> Self {
        Self { handover: PROTOCOL, version: VERSION.to_owned() }
    }

    pub(super) fn is_understood(&self) -> bool {
        self.handover == PROTOCOL
    }
}

impl Offer {
    pub(super) fn of(sockets: Vec<Described>, tickets: Option<TicketKeys>) -> Self {
        Self { handover: PROTOCOL, version: VERSION.to_owned(), sockets, tickets }
    }

    pub(super) fn is_understood(&self) -> bool {
        self.handover == PROTOCOL
    }
}

mod scheme {
    use nearside_routing::Scheme;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(scheme: &Scheme, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(scheme.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scheme, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "http" => Ok(Scheme::Http),
            "https" => Ok(Scheme::Https),
            other => Err(de::Error::unknown_variant(other, &["http", "https"])),
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_agreed_is_understood() {
        let offer: Offer = serde_json::from_str(
            r#"{"handover":1,"version":"9","sockets":[{"scheme":"https","address":"[::]:443"}],"tickets":null}"#,
        )
        .unwrap();
        assert!(offer.is_understood());
        assert_eq!(offer.sockets, [Described { scheme: Scheme::Https, address: "[::]:443".parse().unwrap() }]);
        let newer: Hello = serde_json::from_str(r#"{"handover":2,"version":"9"}"#).unwrap();
        assert!(!newer.is_understood() && Hello::ours().is_understood());
        for garbage in
            ["", "{}", r#"{"handover":1}"#, r#"{"handover":1,"version":"1","more":1}"#, "[1]", "HTTP/1.1 400"]
        {
            assert!(serde_json::from_str::<Hello>(garbage).is_err(), "{garbage}");
        }
        for garbage in [r#"{"ready":[-1]}"#, r#"{"ready":0}"#, r#"{"ready":[0],"again":true}"#] {
            assert!(serde_json::from_str::<Ready>(garbage).is_err(), "{garbage}");
        }
        assert_eq!(serde_json::to_string(&Word::PassedOn).unwrap(), r#""passed_on""#);
    }
}
