//! What an authoritative server answers: the zones of the moment, a question and a rotation flow in, an answer that
//! borrows its records from the zones flows out. Pure: no wire format, no clock, no counter. Called by `serve` for
//! every query that `wire` could read.

use crate::limits::{MAX_ANSWER_RECORDS, MAX_CNAME_CHAIN};
use crate::name::Name;
use crate::record::{Https, RecordType, Rrset, RrsetData, Ttl};
use crate::zone::shares::{Selection, Shares};
use crate::zone::{Found, Node, Zone, Zones};

/// A question (RFC 1035 §4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// QNAME, in lower case; the spelling of the client stays with the message.
    pub name: Name,
    /// QTYPE.
    pub record_type: RecordType,
    /// QCLASS; 1 is IN.
    pub class: u16,
}

/// The result of a query (RFC 1035 §4.1.1, RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Rcode {
    NoError,
    FormErr,
    ServFail,
    NxDomain,
    NotImp,
    Refused,
    NotAuth,
    BadVers,
}

/// What an answer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Octets for records: what the client takes, less the header, the question and OPT.
    pub octets: usize,
    /// Addresses of one set; never more than [`MAX_ANSWER_RECORDS`] are given.
    pub addresses: usize,
    /// A point on a circle of 2^32: it selects which records of an A or AAAA set are in the answer and which comes first,
    /// in the shares of the set where the points of many answers are spread evenly.
    pub rotation: u32,
}

/// An answer, section by section.
#[derive(Clone, Debug)]
pub struct Answer<'z> {
    /// The result.
    pub rcode: Rcode,
    /// AA: whether the answer comes from a zone that is served here.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Placed<'z>>,
    /// The authority section: the SOA of a negative answer (RFC 2308 §2).
    pub authorities: Vec<Placed<'z>>,
    /// The additional section, OPT aside: addresses of name servers, and of what HTTPS records point to.
    pub additionals: Vec<Placed<'z>>,
    /// Which other answers this one is like.
    pub scope: Scope<'z>,
}

/// Which answers of one result are alike, so that who wants many of one kind can be told from who wants many things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'z> {
    /// Those about the same name and type.
    Name,
    /// Those about the same name, whatever the type: it has none of them.
    NoData,
    /// All about names that do not exist in this zone, which are without number; a wildcard may stand for them.
    Zone(&'z Name),
    /// All that come from no zone.
    Server,
}

/// An RRset in a section.
#[derive(Clone, Debug)]
pub struct Placed<'z> {
    /// The owner of the records.
    pub owner: Owner<'z>,
    /// The TTL in this answer.
    pub ttl: Ttl,
    /// The records.
    pub data: Data<'z>,
}

/// Who owns the records of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'z> {
    /// The name in the question, to be spelled as the client spelled it; also where a wildcard stood for it.
    Question,
    /// Another name.
    Name(&'z Name),
}

/// The records of an RRset in an answer.
#[derive(Clone, Debug)]
pub enum Data<'z> {
    /// Records of a set.
    Rrset {
        /// The set.
        records: &'z RrsetData,
        /// Which of them, in which order.
        selection: Selection,
    },
    /// The HINFO record that answers ANY (RFC 8482 §4.2).
    AnyHinfo,
}

impl<'z> Answer<'z> {
    /// An answer without records and without authority.
    pub fn error(rcode: Rcode) -> Self {
        let scope = Scope::Server;
        Self {
            rcode,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
            scope,
        }
    }

    fn deny(&mut self, zone: &'z Zone, rcode: Rcode) {
        self.rcode = rcode;
        if self.scope == Scope::Name {
            self.scope = Scope::NoData;
        }
        if let Some((soa, ttl)) = zone.negative_soa() {
            self.authorities.push(Placed { ttl, ..Placed::whole(Owner::Name(zone.origin()), soa) });
        }
    }
}

impl<'z> Placed<'z> {
    /// All records of a set, or so many as an answer may have.
    pub fn whole(owner: Owner<'z>, rrset: &'z Rrset) -> Self {
        Self::chosen(owner, rrset, &Shares::equal(), MAX_ANSWER_RECORDS, 0)
    }

    fn chosen(owner: Owner<'z>, rrset: &'z Rrset, shares: &Shares, most: usize, rotation: u32) -> Self {
        let records = &rrset.data;
        let selection = shares.choose(records.count(), most.clamp(1, MAX_ANSWER_RECORDS), rotation);
        Self { owner, ttl: rrset.ttl, data: Data::Rrset { records, selection } }
    }
}

/// Answers one question. Of a set of addresses so many are given as fit, since a part of them serves a client at once and an
/// empty truncated answer costs it another connection.
pub fn answer<'z>(zones: &'z Zones, question: &Question, room: &Room) -> Answer<'z> {
    if question.class != CLASS_IN || matches!(question.record_type, RecordType::Axfr | RecordType::Ixfr) {
        return Answer::error(Rcode::Refused);
    }
    let Some(zone) = zones.find(&question.name) else { return Answer::error(Rcode::Refused) };
    let mut answer = Answer { authoritative: true, ..Answer::error(Rcode::NoError) };
    let (mut owner, mut name) = (Owner::Question, &question.name);
    let mut room = *room;
    for link in 0..=MAX_CNAME_CHAIN {
        let found = zone.lookup(name);
        if link == 0 {
            answer.scope = if matches!(found, Found::Exact(_)) { Scope::Name } else { Scope::Zone(zone.origin()) };
        }
        let node = match found {
            Found::Exact(node) | Found::Wildcard(node) => node,
            Found::Nothing => {
                answer.deny(zone, Rcode::NxDomain);
                return answer;
            }
        };
        match alias(node, question.record_type) {
            Some((rrset, target)) => {
                answer.answers.push(Placed::whole(owner, rrset));
                // A name outside the zone is for the resolver to follow (RFC 1034 §4.3.2 step 3a, without the search
                // in other zones: their data may be older or newer than what the resolver has).
                if !target.is_within(zone.origin()) {
                    return answer;
                }
                // The name in the data of the alias, and once more as the owner of what follows, if it is not compressed.
                room.octets = room.octets.saturating_sub(RECORD_OCTETS + 2 * target.as_wire().len());
                (owner, name) = (Owner::Name(target), target);
            }
            None => {
                add_data(&mut answer, zone, owner, node, question.record_type, &room);
                return answer;
            }
        }
    }
    answer
}

/// The SOA of the zone whose apex is asked for, as the answer to a transfer that is not needed (RFC 1995 §2); of a zone that is
/// not served here nothing (RFC 5936 §2.2.1).
pub fn start_of_authority<'z>(zones: &'z Zones, name: &Name) -> Answer<'z> {
    let Some(zone) = zones.find(name).filter(|zone| zone.origin() == name) else {
        return Answer::error(Rcode::NotAuth);
    };
    let soa = zone.exact(name).and_then(|apex| apex.rrset(RecordType::Soa));
    let answers = soa.into_iter().map(|soa| Placed::whole(Owner::Question, soa)).collect();
    Answer { authoritative: true, answers, scope: Scope::Name, ..Answer::error(Rcode::NoError) }
}

/// The CNAME to follow for a query of this type, if the name is an alias.
fn alias(node: &Node, record_type: RecordType) -> Option<(&Rrset, &Name)> {
    if matches!(record_type, RecordType::Cname | RecordType::Any) {
        return None;
    }
    let rrset = node.rrset(RecordType::Cname)?;
    match &rrset.data {
        RrsetData::Cname(target) => Some((rrset, target)),
        _ => None,
    }
}

fn add_data<'z>(
    answer: &mut Answer<'z>,
    zone: &'z Zone,
    owner: Owner<'z>,
    node: &'z Node,
    record_type: RecordType,
    room: &Room,
) {
    if record_type == RecordType::Any && !node.is_empty() {
        answer.answers.push(Placed { owner, ttl: ANY_TTL, data: Data::AnyHinfo });
        return;
    }
    let Some(rrset) = node.rrset(record_type) else {
        answer.deny(zone, Rcode::NoError);
        return;
    };
    answer.answers.push(match address_octets(record_type) {
        Some(octets) => {
            let fitting = room.octets / (RECORD_OCTETS + octets);
            Placed::chosen(owner, rrset, node.shares(record_type), room.addresses.min(fitting), room.rotation)
        }
        None => Placed::whole(owner, rrset),
    });
    match &rrset.data {
        RrsetData::Ns(servers) => {
            for server in servers {
                let Some(node) = zone.exact(server) else { continue };
                let addresses = [RecordType::A, RecordType::Aaaa].into_iter().filter_map(|kind| node.rrset(kind));
                answer.additionals.extend(addresses.map(|rrset| Placed::whole(Owner::Name(server), rrset)));
            }
        }
        RrsetData::Https(services) => add_targets(answer, zone, owner, node, services, room),
        _ => {}
    }
}

/// The addresses of what HTTPS records point to, so far as they fit beside them (RFC 9460 §4.2). A client that gets them need not
/// ask for them.
fn add_targets<'z>(
    answer: &mut Answer<'z>,
    zone: &'z Zone,
    owner: Owner<'z>,
    node: &'z Node,
    services: &'z [Https],
    room: &Room,
) {
    let records: usize = services.iter().map(|service| RECORD_OCTETS + service.octets()).sum();
    let mut left = room.octets.saturating_sub(records);
    for (place, service) in services.iter().enumerate() {
        let target = service.target();
        if services[..place].iter().any(|earlier| earlier.target() == target) {
            continue;
        }
        let (owner, node) = match (target.label_count(), service.priority()) {
            // There is no such service (§2.5.1).
            (0, 0) => continue,
            (0, _) => (owner, node),
            _ if !target.is_within(zone.origin()) => continue,
            _ => match zone.lookup(target) {
                Found::Exact(node) | Found::Wildcard(node) => (Owner::Name(target), node),
                Found::Nothing => continue,
            },
        };
        // The name may stand there whole each time.
        let name = if let Owner::Name(name) = owner { name.as_wire().len() } else { 0 };
        for record_type in [RecordType::A, RecordType::Aaaa] {
            let (Some(rrset), Some(octets)) = (node.rrset(record_type), address_octets(record_type)) else { continue };
            let each = RECORD_OCTETS + name + octets;
            let most = (left / each).min(room.addresses).min(MAX_ANSWER_RECORDS);
            if most > 0 {
                left -= each * most.min(rrset.data.count());
                let shares = node.shares(record_type);
                answer.additionals.push(Placed::chosen(owner, rrset, shares, most, room.rotation));
            }
        }
    }
}

/// Octets of the data of an address record.
fn address_octets(record_type: RecordType) -> Option<usize> {
    match record_type {
        RecordType::A => Some(4),
        RecordType::Aaaa => Some(16),
        _ => None,
    }
}

/// Octets of a record without its data, where the name is a pointer to one that was written before (RFC 1035 §4.1.4).
const RECORD_OCTETS: usize = 12;

const CLASS_IN: u16 = 1;

/// TTL of the HINFO that answers ANY: long, so that resolvers stop asking (RFC 8482 §4.2).
const ANY_TTL: Ttl = Ttl::constant(3600);

#[cfg(test)]
mod tests;
