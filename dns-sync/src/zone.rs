//! A zone as it is served: immutable, built whole by `zone::build`, swapped whole by `zone_store`, read by `answer`.
//! The names form the tree of RFC 4592 §2.2: every name between the apex and a record exists, with or without data.

pub mod build;

use crate::name::{Name, wildcard_of};
use crate::record::{RecordType, Rrset, RrsetData, Soa, Ttl};
use std::collections::HashMap;

/// The zones of one moment; a query reads one of these and nothing else.
#[derive(Debug, Default)]
pub struct Zones {
    by_origin: HashMap<Name, Zone>,
}

impl Zones {
    /// The given zones; one per origin.
    pub fn new(zones: impl IntoIterator<Item = Zone>) -> Self {
        Self { by_origin: zones.into_iter().map(|zone| (zone.origin.clone(), zone)).collect() }
    }

    /// The zone with the longest origin that `name` is within.
    pub fn find(&self, name: &Name) -> Option<&Zone> {
        name.suffixes().find_map(|suffix| self.by_origin.get(suffix))
    }

    /// All zones, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.by_origin.values()
    }
}

/// One zone.
#[derive(Debug)]
pub struct Zone {
    origin: Name,
    origin_labels: usize,
    serial: u32,
    nodes: HashMap<Name, Node>,
}

/// A name of a zone with its RRsets, at most one per type; an empty non-terminal has none.
#[derive(Debug, Default)]
pub struct Node {
    rrsets: Vec<Rrset>,
    /// Whether `*` exists below this name.
    wildcard: bool,
}

/// What the tree says about a name (RFC 4592 §3.3).
#[derive(Clone, Copy, Debug)]
pub enum Found<'z> {
    /// The name exists, with or without data.
    Exact(&'z Node),
    /// The name does not exist, and its closest encloser has a wildcard child that stands for it.
    Wildcard(&'z Node),
    /// The name does not exist.
    Nothing,
}

impl Zone {
    /// The name of the apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The serial of the SOA.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Number of names, empty non-terminals included.
    pub fn name_count(&self) -> usize {
        self.nodes.len()
    }

    /// Finds a name within the zone by its closest encloser (RFC 4592 §3.3.1).
    ///
    /// Walks from the apex down, so the cost follows the depth of what exists, not of what was asked.
    pub fn lookup(&self, name: &Name) -> Found<'_> {
        let suffixes: Vec<&[u8]> = name.suffixes().collect();
        let Some(below_apex) = suffixes.len().checked_sub(self.origin_labels) else { return Found::Nothing };
        let mut encloser: Option<(&Node, &[u8])> = None;
        for suffix in suffixes[..=below_apex.min(suffixes.len() - 1)].iter().rev() {
            match self.nodes.get(*suffix) {
                Some(node) => encloser = Some((node, suffix)),
                None => break,
            }
        }
        match encloser {
            Some((node, suffix)) if suffix.len() == name.as_wire().len() => Found::Exact(node),
            Some((node, suffix)) if node.wildcard => {
                self.nodes.get(&*wildcard_of(suffix)).map_or(Found::Nothing, Found::Wildcard)
            }
            _ => Found::Nothing,
        }
    }

    /// The name itself, wildcards left aside.
    pub fn exact(&self, name: &Name) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The RRset of the apex with the SOA, and the TTL it has in a negative answer: the smaller of its own and its
    /// minimum (RFC 2308 §3).
    pub fn negative_soa(&self) -> Option<(&Rrset, Ttl)> {
        let rrset = self.nodes.get(&self.origin)?.rrset(RecordType::Soa)?;
        let RrsetData::Soa(Soa { minimum, .. }) = &rrset.data else { return None };
        Some((rrset, Ttl::new(*minimum).map_or(rrset.ttl, |minimum| minimum.min(rrset.ttl))))
    }
}

impl Node {
    /// The RRset of a type.
    pub fn rrset(&self, record_type: RecordType) -> Option<&Rrset> {
        self.rrsets.iter().find(|rrset| rrset.data.record_type() == record_type)
    }

    /// Whether the name holds no data.
    pub fn is_empty(&self) -> bool {
        self.rrsets.is_empty()
    }
}
