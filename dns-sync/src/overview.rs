//! The page `/publication` as data: how far each name has come on each name server. The publisher fills it in, its admin port
//! shows it as JSON, and `nearside-dns-sync status` reads that again; [`html`] makes a page for browsers of it.

pub mod html;

use serde::{Deserialize, Serialize};
use std::fmt;

/// All that a publisher knows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Who publishes: a part of every marker.
    pub cluster: String,
    /// Whether the objects are all known; before that nothing is written, and what is not listed may be wanted.
    pub synced: bool,
    /// Each name server of each zone.
    pub servers: Vec<ServerState>,
    /// Each name.
    pub names: Vec<NameState>,
}

/// A name server of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerState {
    /// The apex of the zone.
    pub zone: String,
    /// Its address.
    pub server: String,
    /// Whether records are written there, rather than only looked for.
    pub updated: bool,
    /// Whether it answers; unknown before it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// For how many seconds that has been so.
    pub for_seconds: u64,
    /// What stands in the way now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A name that is published, or should be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NameState {
    /// The owner name.
    pub name: String,
    /// The apex of its zone.
    pub zone: String,
    /// The object that asks for it, as `namespace/name`; none where it is to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The generation that should be there.
    pub generation: u64,
    /// How far it has come everywhere.
    pub stage: Stage,
    /// For how many seconds that has been so.
    pub for_seconds: u64,
    /// Why it does not come further, in one word; none where nothing stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How far it has come on each name server of the zone.
    pub servers: Vec<PlaceState>,
}

/// A name on one name server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceState {
    /// The address of the name server.
    pub server: String,
    /// How far it has come there.
    pub stage: Stage,
    /// For how many seconds that has been so.
    pub for_seconds: u64,
    /// Why it does not come further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The generation in the marker there, where it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// How far records have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Stage {
    /// It was not asked what stands there.
    Unknown,
    /// Something else stands there than should.
    Differs,
    /// A change is on its way.
    Sent,
    /// The server has taken it.
    Applied,
    /// The server was seen to answer with it.
    Visible,
    /// And nobody can hold an older answer any more.
    Settled,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "Unknown",
            Self::Differs => "Differs",
            Self::Sent => "Sent",
            Self::Applied => "Applied",
            Self::Visible => "Visible",
            Self::Settled => "Settled",
        })
    }
}
