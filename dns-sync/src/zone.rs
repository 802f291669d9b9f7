//! A zone as it is served: immutable, built whole by `zone::build`, swapped whole by `zone_store`, read by `answer`.
//! The names form the tree of RFC 4592 §2.2: every name between the apex and a record exists, with or without data.

pub mod alias;
pub mod build;
pub mod shares;

use self::shares::Shares;
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
    /// How the addresses of A and AAAA share the answers.
    shares: [Shares; 2],
    /// What answers for `x--<id>` directly below this name, by id; not part of the tree.
    aliases: HashMap<Box<[u8]>, Self>,
}

/// What the tree says about a name (RFC 4592 §3.3).
#[derive(Clone, Copy, Debug)]
pub enum Found<'z> {
    /// The name exists, with or without data.
    Exact(&'z Node),
    /// The name does not exist, and a wildcard stands for it: the child `*` of its closest encloser, or, before that, the
    /// alias `*--<id>` of its parent, where the parent exists.
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
        // Where each label begins: a name has at most 127, and this is made for every query.
        let (mut starts, mut count) = ([0_u8; 128], 0);
        for suffix in name.suffixes() {
            starts[count] = u8::try_from(name.as_wire().len() - suffix.len()).unwrap_or(0);
            count += 1;
        }
        let Some(below_apex) = count.checked_sub(self.origin_labels) else { return Found::Nothing };
        let mut encloser: Option<(&Node, &[u8])> = None;
        for start in starts[..count.min(below_apex + 1)].iter().rev() {
            let suffix = &name.as_wire()[usize::from(*start)..];
            match self.nodes.get(suffix) {
                Some(node) => encloser = Some((node, suffix)),
                None => break,
            }
        }
        match encloser {
            Some((node, suffix)) if suffix.len() == name.as_wire().len() => Found::Exact(node),
            Some((node, suffix)) if let Some(alias) = node.alias(name, suffix) => Found::Wildcard(alias),
            Some((node, suffix)) if node.wildcard => {
                self.nodes.get(&*wildcard_of(suffix)).map_or(Found::Nothing, Found::Wildcard)
            }
            _ => Found::Nothing,
        }
    }

    /// Number of aliases of the form `*--<id>`, which no secondary can answer for.
    pub fn wildcard_alias_count(&self) -> usize {
        self.nodes.values().map(|node| node.aliases.len()).sum()
    }

    /// Every name with its node, in no order; wildcard aliases are no names.
    pub fn names(&self) -> impl Iterator<Item = (&Name, &Node)> {
        self.nodes.iter()
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

    /// All RRsets.
    pub fn rrsets(&self) -> &[Rrset] {
        &self.rrsets
    }

    /// How the addresses of a type share the answers; of other types all records are equal.
    pub fn shares(&self, record_type: RecordType) -> &Shares {
        const EQUAL: &Shares = &Shares::equal();
        match record_type {
            RecordType::A => &self.shares[0],
            RecordType::Aaaa => &self.shares[1],
            _ => EQUAL,
        }
    }

    /// The alias for a name whose parent is this one, of which `own` is the wire form.
    fn alias(&self, name: &Name, own: &[u8]) -> Option<&Self> {
        if self.aliases.is_empty() {
            return None;
        }
        let label = name.labels().next().filter(|label| label.len() + 1 + own.len() == name.as_wire().len())?;
        self.aliases.get(alias::id_of(label)?)
    }

    /// Whether the name holds no data.
    pub fn is_empty(&self) -> bool {
        self.rrsets.is_empty()
    }
}
