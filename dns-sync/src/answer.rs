//! What an authoritative server answers: the zones of the moment, a question and a rotation flow in, an answer that
//! borrows its records from the zones flows out. Pure: no wire format, no clock, no counter. Called by `serve` for
//! every query that `wire` could read.

use crate::limits::{MAX_ANSWER_RECORDS, MAX_CNAME_CHAIN};
use crate::name::Name;
use crate::record::{RecordType, Rrset, RrsetData, Ttl};
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
    BadVers,
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
    /// The additional section, OPT aside: addresses of name servers.
    pub additionals: Vec<Placed<'z>>,
}

/// An RRset in a section.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
pub enum Data<'z> {
    /// `count` records from `first` on, wrapping around at the end of the set.
    Rrset {
        /// The set.
        records: &'z RrsetData,
        /// Index of the record that comes first.
        first: usize,
        /// How many.
        count: usize,
    },
    /// The HINFO record that answers ANY (RFC 8482 §4.2).
    AnyHinfo,
}

impl<'z> Answer<'z> {
    /// An answer without records and without authority.
    pub fn error(rcode: Rcode) -> Self {
        Self { rcode, authoritative: false, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }

    fn deny(&mut self, zone: &'z Zone, rcode: Rcode) {
        self.rcode = rcode;
        if let Some((soa, ttl)) = zone.negative_soa() {
            self.authorities.push(Placed { ttl, ..Placed::whole(Owner::Name(zone.origin()), soa) });
        }
    }
}

impl<'z> Placed<'z> {
    fn whole(owner: Owner<'z>, rrset: &'z Rrset) -> Self {
        Self::rotated(owner, rrset, 0)
    }

    fn rotated(owner: Owner<'z>, rrset: &'z Rrset, rotation: u32) -> Self {
        let records = &rrset.data;
        let total = records.count();
        let first = match records {
            RrsetData::A(_) | RrsetData::Aaaa(_) => position(rotation, total),
            _ => 0,
        };
        let data = Data::Rrset { records, first, count: total.min(MAX_ANSWER_RECORDS) };
        Self { owner, ttl: rrset.ttl, data }
    }
}

/// Answers one question.
///
/// `rotation` is a point on a circle of 2^32: it selects which record of an A or AAAA set comes first, in equal shares
/// when the points are spread evenly.
pub fn answer<'z>(zones: &'z Zones, question: &Question, rotation: u32) -> Answer<'z> {
    if question.class != CLASS_IN || matches!(question.record_type, RecordType::Axfr | RecordType::Ixfr) {
        return Answer::error(Rcode::Refused);
    }
    let Some(zone) = zones.find(&question.name) else { return Answer::error(Rcode::Refused) };
    let mut answer = Answer { authoritative: true, ..Answer::error(Rcode::NoError) };
    let (mut owner, mut name) = (Owner::Question, &question.name);
    for _ in 0..=MAX_CNAME_CHAIN {
        let node = match zone.lookup(name) {
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
                (owner, name) = (Owner::Name(target), target);
            }
            None => {
                add_data(&mut answer, zone, owner, node, question.record_type, rotation);
                return answer;
            }
        }
    }
    answer
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
    rotation: u32,
) {
    if record_type == RecordType::Any && !node.is_empty() {
        answer.answers.push(Placed { owner, ttl: ANY_TTL, data: Data::AnyHinfo });
        return;
    }
    let Some(rrset) = node.rrset(record_type) else {
        answer.deny(zone, Rcode::NoError);
        return;
    };
    answer.answers.push(Placed::rotated(owner, rrset, rotation));
    if let RrsetData::Ns(servers) = &rrset.data {
        for server in servers {
            let Some(node) = zone.exact(server) else { continue };
            let addresses = [RecordType::A, RecordType::Aaaa].into_iter().filter_map(|kind| node.rrset(kind));
            answer.additionals.extend(addresses.map(|rrset| Placed::whole(Owner::Name(server), rrset)));
        }
    }
}

/// The point of the circle as an index below `total`.
fn position(rotation: u32, total: usize) -> usize {
    usize::try_from((u64::from(rotation) * total as u64) >> 32).unwrap_or(0)
}

const CLASS_IN: u16 = 1;

/// TTL of the HINFO that answers ANY: long, so that resolvers stop asking (RFC 8482 §4.2).
const ANY_TTL: Ttl = Ttl::constant(3600);

#[cfg(test)]
mod tests;
