//! Exchanges with other servers: a query, an update (RFC 2136) or a transfer (RFC 5936) flows in and its octets flow out; the octets
//! of a reply flow in and its records flow out. Signatures are put on and taken off by [`tsig`](super::tsig); the connection of the
//! publisher calls both.

use super::octets::{Head, Reader};
use super::rdata::{ReadRecord, own_data, wire_data, wire_name};
use crate::name::Name;
use crate::publish::update::{Change, Prerequisite, Update};
use crate::record::Https;
use crate::record::{RecordType, Rrset, RrsetData, Ttl};
use hickory_proto::op::{Message, MessageType, OpCode, Query as WireQuery};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType as WireType};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

/// What is asked for, and what a reply must repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The id of the message, chosen at random.
    pub id: u16,
    /// What kind of message.
    pub kind: Kind,
    /// The name in the question, or the zone of an update.
    pub name: Name,
    /// The type in the question; SOA for an update.
    pub record_type: RecordType,
}

/// The kinds of messages (RFC 1035 §4.1.1, RFC 2136 §2.2, RFC 1996 §3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the opcodes")]
pub enum Kind {
    Query,
    Update,
    Notify,
}

/// A reply, or one message of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The id.
    pub id: u16,
    /// The result, without the upper bits that EDNS would add: none is ever asked for.
    pub rcode: u16,
    /// AA.
    pub authoritative: bool,
    /// TC.
    pub truncated: bool,
    /// The records of the answer section, in their order; those of other classes than IN left out.
    pub answers: Vec<ReadRecord>,
}

/// Why octets are not the reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTheReply {
    /// No message at all, or one that ends too early or too late.
    #[error("it is no message")]
    Malformed,
    /// A request.
    #[error("it is no reply")]
    Request,
    /// Of another request.
    #[error("it has another id")]
    Id,
    /// Of another kind of request, or to another question.
    #[error("it is for another question")]
    Question,
}

/// A message that would have more than 65,535 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is too large")]
pub struct TooLarge;

/// An id that nobody can guess.
pub fn random_id() -> u16 {
    Message::query().metadata.id
}

impl Request {
    /// The request for one RRset, or with AXFR for a whole zone.
    pub fn query(id: u16, name: Name, record_type: RecordType) -> Self {
        Self { id, kind: Kind::Query, name, record_type }
    }

    /// The request for an update of a zone.
    pub fn update(id: u16, zone: Name) -> Self {
        Self { id, kind: Kind::Update, name: zone, record_type: RecordType::Soa }
    }

    /// The notice that a zone has changed.
    pub fn notify(id: u16, zone: Name) -> Self {
        Self { id, kind: Kind::Notify, name: zone, record_type: RecordType::Soa }
    }

    /// The octets of a query or a notice, RD clear.
    pub fn encode_query(&self) -> Vec<u8> {
        // One question is far below every limit.
        self.message().to_vec().unwrap_or_default()
    }

    /// The octets of an update; `room` is left for its signature.
    ///
    /// # Errors
    /// When there is no room.
    pub fn encode_update(&self, update: &Update, room: usize) -> Result<Vec<u8>, TooLarge> {
        let mut message = self.message();
        for prerequisite in &update.prerequisites {
            add_prerequisite(&mut message.answers, prerequisite);
        }
        for change in &update.changes {
            match change {
                Change::DeleteRrset(name, record_type) => {
                    message.authorities.push(bare(name, *record_type, DNSClass::ANY));
                }
                Change::AddRrset(name, rrset) => {
                    add_records(&mut message.authorities, name, rrset, rrset.ttl.seconds())
                }
            }
        }
        let octets = message.to_vec().map_err(|_| TooLarge)?;
        // The library drops what it has no room for, and sets TC.
        let complete = octets.get(2).is_some_and(|flags| flags & 0x02 == 0);
        if complete && octets.len() + room <= usize::from(u16::MAX) { Ok(octets) } else { Err(TooLarge) }
    }

    fn message(&self) -> Message {
        let opcode = match self.kind {
            Kind::Query => OpCode::Query,
            Kind::Update => OpCode::Update,
            Kind::Notify => OpCode::Notify,
        };
        let mut message = Message::new(self.id, MessageType::Query, opcode);
        message.metadata.recursion_desired = false;
        message.metadata.authoritative = self.kind == Kind::Notify;
        message.add_query(WireQuery::query(wire_name(&self.name), WireType::from(self.record_type.code())));
        message
    }

    /// Reads a message as a reply to this request. `further` is for the messages of a transfer after the first, which may leave the
    /// question out (RFC 5936 §2.2.1).
    ///
    /// # Errors
    /// When it is none.
    pub fn read_reply(&self, octets: &[u8], further: bool) -> Result<Reply, NotTheReply> {
        let header = octets.first_chunk::<12>().ok_or(NotTheReply::Malformed)?;
        let id = u16::from_be_bytes([header[0], header[1]]);
        if header[2] & 0x80 == 0 {
            return Err(NotTheReply::Request);
        }
        if id != self.id {
            return Err(NotTheReply::Id);
        }
        let opcode = match self.kind {
            Kind::Query => 0,
            Kind::Update => 5,
            Kind::Notify => 4,
        };
        let mut reader = Reader::new(octets, 0);
        let counts = reader.counts().ok_or(NotTheReply::Malformed)?;
        let rcode = u16::from(header[3] & 0x0f);
        // A server may leave the zone out of the reply to an update (RFC 2136 §3.8), and the question out of an error.
        let may_be_missing = further || self.kind == Kind::Update || rcode != 0;
        if (header[2] >> 3) & 0x0f != opcode || counts.questions > 1 || (counts.questions == 0 && !may_be_missing) {
            return Err(NotTheReply::Question);
        }
        if counts.questions == 1 {
            let (name, record_type, class) = reader.question().ok_or(NotTheReply::Malformed)?;
            if name != self.name || record_type != self.record_type.code() || class != CLASS_IN {
                return Err(NotTheReply::Question);
            }
        }
        let mut answers = Vec::with_capacity(counts.answers.min(256));
        for index in 0..counts.answers + counts.authorities + counts.additionals {
            let head = reader.head().ok_or(NotTheReply::Malformed)?;
            reader.at = head.end;
            // The prerequisites of an update, which a server may repeat, are nobody's answer.
            if index < counts.answers && head.class == CLASS_IN && self.kind == Kind::Query {
                answers.push(read_record(octets, head).ok_or(NotTheReply::Malformed)?);
            }
        }
        if !reader.is_at_end() {
            return Err(NotTheReply::Malformed);
        }
        Ok(Reply { id, rcode, authoritative: header[2] & 0x04 != 0, truncated: header[2] & 0x02 != 0, answers })
    }
}

/// A record; `None` for one of a type of ours with data that is none.
fn read_record(octets: &[u8], head: Head) -> Option<ReadRecord> {
    let record_type = RecordType::from(head.record_type);
    let ttl = Ttl::new(head.ttl).unwrap_or(Ttl::constant(0)); // RFC 2181 §8
    let data = if record_type == RecordType::Https {
        // What RFC 9460 calls malformed is left as it is, like any foreign type: others may have written it.
        let data = octets.get(head.data..head.end)?;
        Https::from_wire(data).ok().map(|record| RrsetData::Https(vec![record]))
    } else if record_type.has_data() {
        let mut decoder = BinDecoder::new(octets).clone(u16::try_from(head.start).ok()?);
        Some(own_data(&Record::read(&mut decoder).ok()?.data)?)
    } else {
        None
    };
    Some(ReadRecord { owner: head.owner, record_type, ttl, data })
}

fn add_prerequisite(section: &mut Vec<Record>, prerequisite: &Prerequisite) {
    match prerequisite {
        Prerequisite::NameInUse(name) => section.push(bare(name, RecordType::Any, DNSClass::ANY)),
        Prerequisite::NameNotInUse(name) => section.push(bare(name, RecordType::Any, DNSClass::NONE)),
        Prerequisite::RrsetAbsent(name, record_type) => section.push(bare(name, *record_type, DNSClass::NONE)),
        Prerequisite::RrsetEquals(name, rrset) => add_records(section, name, rrset, 0),
    }
}

/// A record without data, of TTL 0.
fn bare(name: &Name, record_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(wire_name(name), 0, WireType::from(record_type.code()));
    record.dns_class = class;
    record
}

fn add_records(section: &mut Vec<Record>, name: &Name, rrset: &Rrset, ttl: u32) {
    let owner = wire_name(name);
    section.extend(wire_data(&rrset.data).into_iter().map(|data: RData| Record::from_rdata(owner.clone(), ttl, data)));
}

const CLASS_IN: u16 = 1;

#[cfg(test)]
mod tests;
