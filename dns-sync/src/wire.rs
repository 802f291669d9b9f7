//! The DNS wire format: octets flow in and a query or a reason not to have one flows out; a query and an answer flow in
//! and octets flow out. The only module that names `hickory_proto`; `serve` calls it, everything else uses own types.
//! Exchanges with other servers are in [`exchange`], signatures in [`tsig`].

pub mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod octets;
mod plain;
pub mod rdata;
pub mod tsig;

use self::rdata::{own_name, wire_https, wire_name, wire_soa, wire_text};
use crate::answer::{Answer, Data, Owner, Placed, Question, Rcode};
use crate::limits::{MAX_QUERY_OCTETS, MAX_UDP_OCTETS, MIN_UDP_OCTETS};
use crate::record::{RecordType, RrsetData};
use crate::zone::shares::Selection;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query as WireQuery, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, HINFO, NS};
use hickory_proto::rr::{Name as WireName, RData, Record};
use hickory_proto::serialize::binary::BinDecodable as _;

/// What a received message asks for.
#[derive(Debug)]
pub enum Received {
    /// A question to answer.
    Query(Box<Query>),
    /// Nothing this server does; `rcode` says why.
    Reject(Box<Query>, Rcode),
    /// Neither a query nor worth an answer: shorter than a header, or itself a response (answering those would let two
    /// servers talk to each other for ever).
    Drop,
}

/// A received message, as far as an answer needs it.
#[derive(Debug)]
pub struct Query {
    question: Option<Question>,
    metadata: Metadata,
    asked: Option<WireQuery>,
    /// The question as the client wrote it, where the query is [`plain`] and `asked` was not made.
    plain: Option<Vec<u8>>,
    edns: Option<ReceivedEdns>,
    is_signed: bool,
    serial: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
struct ReceivedEdns {
    max_payload: u16,
    dnssec_ok: bool,
    subnet: Option<ClientSubnet>,
    cookie: Option<Cookie>,
}

/// What a query brings as its cookie (RFC 7873 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// What the client made; it goes back as it came.
    pub client: [u8; 8],
    /// What a server made, if it has the length of those that are made here (RFC 9018 §4).
    pub server: Option<[u8; 16]>,
}

impl Cookie {
    /// Reads the data of the option; `None` where its length is wrong (RFC 7873 §5.2.2).
    fn read(octets: &[u8]) -> Option<Self> {
        let (client, server) = octets.split_first_chunk::<8>()?;
        let is_whole = server.is_empty() || (8..=32).contains(&server.len());
        is_whole.then_some(Self { client: *client, server: server.try_into().ok() })
    }

    /// The data of the option.
    fn octets(&self) -> Vec<u8> {
        [&self.client[..], self.server.as_ref().map_or(&[], |server| &server[..])].concat()
    }
}

/// Encoded octets of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The message.
    pub octets: Vec<u8>,
    /// Whether TC is set: the answer did not fit and was left out.
    pub truncated: bool,
}

impl Query {
    /// The question, if one could be read.
    pub fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// What of it stands in an answer that is written without the library, if it was read without it.
    fn as_plain(&self) -> Option<plain::Asked<'_>> {
        let (octets, question) = (self.plain.as_ref()?, self.question.as_ref()?);
        let edns = self.edns.as_ref();
        Some(plain::Asked {
            id: self.metadata.id,
            recursion_desired: self.metadata.recursion_desired,
            name: &question.name,
            octets,
            edns: edns.map(|edns| {
                let ReceivedEdns { max_payload, dnssec_ok, cookie, .. } = *edns;
                plain::PlainEdns { max_payload, dnssec_ok, cookie }
            }),
        })
    }

    /// The question in the library's form.
    fn asked(&self) -> Option<WireQuery> {
        let read = || WireQuery::from_bytes(self.plain.as_ref()?).ok();
        self.asked.clone().or_else(read)
    }

    /// How many octets an answer over UDP may have (RFC 6891 §6.2.3, clamped).
    pub fn udp_limit(&self) -> usize {
        let advertised = self.edns.as_ref().map_or(MIN_UDP_OCTETS, |edns| edns.max_payload);
        usize::from(advertised.clamp(MIN_UDP_OCTETS, MAX_UDP_OCTETS))
    }

    /// The cookie that came with it.
    pub fn cookie(&self) -> Option<Cookie> {
        self.edns.as_ref()?.cookie
    }

    /// Puts what the server makes in the place of what came, for the answer (RFC 7873 §5.2).
    pub fn renew_cookie(&mut self, server: [u8; 16]) {
        if let Some(cookie) = self.edns.as_mut().and_then(|edns| edns.cookie.as_mut()) {
            cookie.server = Some(server);
        }
    }

    /// Whether there is a TSIG record. What it is worth is for [`tsig::replies`] to say.
    pub fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// The serial that the sender of an IXFR has (RFC 1995 §3).
    pub fn serial(&self) -> Option<u32> {
        self.serial
    }

    /// What of `limit` octets is left for records, beside the header, the question and OPT.
    pub fn room(&self, limit: usize) -> usize {
        let question = self.question.as_ref().map_or(0, |question| question.name.as_wire().len() + 4);
        let edns = self.edns.as_ref().map_or(0, |edns| {
            OPT_OCTETS + edns.subnet.map_or(0, |_| SUBNET_OCTETS) + edns.cookie.map_or(0, |_| COOKIE_OCTETS)
        });
        limit.saturating_sub(HEADER_OCTETS + question + edns)
    }
}

/// Reads a received message. Never fails and never panics: whatever cannot be read is rejected or dropped.
pub fn decode(octets: &[u8]) -> Received {
    let Some(header) = Header::read(octets) else { return Received::Drop };
    if header.is_response() {
        return Received::Drop;
    }
    if octets.len() > MAX_QUERY_OCTETS {
        return Received::Reject(Box::new(header.query()), Rcode::FormErr);
    }
    if header.opcode() == OPCODE_QUERY
        && let Some(plain) = plain::read(octets)
    {
        let mut query = header.query();
        query.question = Some(plain.question);
        query.plain = Some(plain.asked);
        query.edns = plain.edns.map(|edns| {
            let plain::PlainEdns { max_payload, dnssec_ok, cookie } = edns;
            ReceivedEdns { max_payload, dnssec_ok, subnet: None, cookie }
        });
        return Received::Query(Box::new(query));
    }
    decode_by_library(&header, octets)
}

/// The same for any message that is no response.
fn decode_by_library(header: &Header<'_>, octets: &[u8]) -> Received {
    // The counts come first: a message that cannot be a query is not worth parsing.
    let is_query = header.opcode() == OPCODE_QUERY;
    if is_query && !header.counts_are_of_a_query() {
        return Received::Reject(Box::new(header.query()), Rcode::FormErr);
    }
    let Ok(message) = Message::from_vec(octets) else {
        let rcode = if is_query { Rcode::FormErr } else { refusal(header.opcode()) };
        return Received::Reject(Box::new(header.query()), rcode);
    };
    let mut query = header.query();
    query.edns = message.edns.as_ref().map(received_edns);
    query.is_signed = message.signature.is_some();
    query.serial = message.authorities.first().and_then(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    query.asked = message.queries.into_iter().next();
    query.question = query.asked.as_ref().and_then(question);
    if !is_query {
        return Received::Reject(Box::new(query), refusal(header.opcode()));
    }
    if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Received::Reject(Box::new(query), Rcode::BadVers);
    }
    // RFC 7873 §5.2.2.
    if query.cookie().is_none() && message.edns.as_ref().is_some_and(|edns| edns.option(EdnsCode::Cookie).is_some()) {
        return Received::Reject(Box::new(query), Rcode::FormErr);
    }
    match query.question {
        Some(_) => Received::Query(Box::new(query)),
        None => Received::Reject(Box::new(query), Rcode::FormErr),
    }
}

/// Writes an answer of at most `limit` octets. One that does not fit is replaced by an empty one with TC set, the
/// question and OPT kept (RFC 6891 §7, RFC 2181 §9), so that the client asks again over TCP.
pub fn encode(query: &Query, answer: &Answer<'_>, limit: usize) -> Encoded {
    let written = query.as_plain().and_then(|asked| plain::write(asked, answer, limit));
    match written {
        Some(octets) => Encoded { octets, truncated: false },
        None => encode_by_library(query, answer, limit),
    }
}

/// The same for any answer.
fn encode_by_library(query: &Query, answer: &Answer<'_>, limit: usize) -> Encoded {
    let mut message = skeleton(query, answer.rcode);
    message.metadata.authoritative = answer.authoritative;
    let asked = query.asked().map_or_else(WireName::root, |asked| asked.name().clone());
    for (placed, section) in [
        (&answer.answers, &mut message.answers),
        (&answer.authorities, &mut message.authorities),
        (&answer.additionals, &mut message.additionals),
    ] {
        placed.iter().for_each(|placed| add_records(placed, &asked, section));
    }
    match message.to_vec() {
        Ok(octets) if octets.len() <= limit && !is_truncated(&octets) => Encoded { octets, truncated: false },
        _ => Encoded { octets: truncated(query, answer), truncated: true },
    }
}

/// Writes an empty answer with TC set, whether or not all of it would fit.
pub fn truncated(query: &Query, answer: &Answer<'_>) -> Vec<u8> {
    let empty = Answer { authoritative: answer.authoritative, ..Answer::error(answer.rcode) };
    if let Some(mut octets) = query.as_plain().and_then(|asked| plain::write(asked, &empty, usize::MAX)) {
        octets[2] |= TRUNCATED;
        return octets;
    }
    let mut message = skeleton(query, answer.rcode);
    message.metadata.authoritative = answer.authoritative;
    message.metadata.truncation = true;
    // A question was read from octets, so it can be written; an empty answer drops the client's datagram.
    message.to_vec().unwrap_or_default()
}

/// The fixed part of a message (RFC 1035 §4.1.1), read without the library: what decides whether to parse the rest.
struct Header<'o>(&'o [u8; 12]);

impl<'o> Header<'o> {
    fn read(octets: &'o [u8]) -> Option<Self> {
        octets.first_chunk::<12>().map(Self)
    }

    fn is_response(&self) -> bool {
        self.0[2] & 0x80 != 0
    }

    fn opcode(&self) -> u8 {
        (self.0[2] >> 3) & 0x0f
    }

    fn count(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    /// One question, no answer; IXFR has an authority record (RFC 1995 §3), and OPT and TSIG may be additional.
    fn counts_are_of_a_query(&self) -> bool {
        self.count(4) == 1 && self.count(6) == 0 && self.count(8) <= 1 && self.count(10) <= MAX_ADDITIONALS
    }

    fn query(&self) -> Query {
        let id = u16::from_be_bytes([self.0[0], self.0[1]]);
        let mut metadata = Metadata::new(id, MessageType::Response, OpCode::from_u8(self.opcode()));
        metadata.recursion_desired = self.0[2] & 0x01 != 0;
        Query { question: None, metadata, asked: None, plain: None, edns: None, is_signed: false, serial: None }
    }
}

/// What a message other than a query gets: changes are made elsewhere, the rest does not exist here.
fn refusal(opcode: u8) -> Rcode {
    if opcode == OPCODE_UPDATE { Rcode::Refused } else { Rcode::NotImp }
}

fn received_edns(edns: &Edns) -> ReceivedEdns {
    let subnet = match edns.option(EdnsCode::Subnet) {
        Some(EdnsOption::Subnet(subnet)) => Some(ClientSubnet::new(subnet.addr(), subnet.source_prefix(), 0)),
        _ => None,
    };
    let cookie = match edns.option(EdnsCode::Cookie) {
        Some(EdnsOption::Unknown(_, octets)) => Cookie::read(octets),
        _ => None,
    };
    ReceivedEdns { max_payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok, subnet, cookie }
}

fn question(asked: &WireQuery) -> Option<Question> {
    let name = own_name(asked.name())?;
    let record_type = RecordType::from(u16::from(asked.query_type()));
    Some(Question { name, record_type, class: u16::from(asked.query_class()) })
}

fn skeleton(query: &Query, rcode: Rcode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata = query.metadata;
    message.metadata.response_code = response_code(rcode);
    message.queries.extend(query.asked());
    message.edns = query.edns.as_ref().map(|received| {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_OCTETS).set_dnssec_ok(received.dnssec_ok);
        if let Some(subnet) = received.subnet {
            edns.options_mut().insert(EdnsOption::Subnet(subnet));
        }
        if let Some(cookie) = received.cookie {
            edns.options_mut().insert(EdnsOption::Unknown(EdnsCode::Cookie.into(), cookie.octets()));
        }
        edns
    });
    message
}

fn add_records(placed: &Placed<'_>, asked: &WireName, section: &mut Vec<Record>) {
    let owner = match placed.owner {
        Owner::Question => asked.clone(),
        Owner::Name(name) => wire_name(name),
    };
    let mut add = |data: RData| section.push(Record::from_rdata(owner.clone(), placed.ttl.seconds(), data));
    let (records, selection) = match &placed.data {
        Data::AnyHinfo => return add(RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()))),
        Data::Rrset { records, selection } => (*records, selection),
    };
    match records {
        RrsetData::A(all) => chosen(all, selection, |&address| add(RData::A(A(address)))),
        RrsetData::Aaaa(all) => chosen(all, selection, |&address| add(RData::AAAA(AAAA(address)))),
        RrsetData::Txt(all) => chosen(all, selection, |text| add(RData::TXT(wire_text(text)))),
        RrsetData::Https(all) => chosen(all, selection, |record| add(wire_https(record))),
        RrsetData::Ns(all) => chosen(all, selection, |server| add(RData::NS(NS(wire_name(server))))),
        RrsetData::Cname(target) => add(RData::CNAME(CNAME(wire_name(target)))),
        RrsetData::Soa(soa) => add(RData::SOA(wire_soa(soa))),
    }
}

/// Calls `add` for the chosen items in their order.
fn chosen<'a, T>(all: &'a [T], selection: &Selection, add: impl FnMut(&'a T)) {
    match selection {
        Selection::All { first } => all.iter().cycle().skip(*first).take(all.len()).for_each(add),
        Selection::Some(places) => places.iter().filter_map(|place| all.get(usize::from(*place))).for_each(add),
    }
}

fn response_code(rcode: Rcode) -> ResponseCode {
    match rcode {
        Rcode::NoError => ResponseCode::NoError,
        Rcode::FormErr => ResponseCode::FormErr,
        Rcode::ServFail => ResponseCode::ServFail,
        Rcode::NxDomain => ResponseCode::NXDomain,
        Rcode::NotImp => ResponseCode::NotImp,
        Rcode::Refused => ResponseCode::Refused,
        Rcode::NotAuth => ResponseCode::NotAuth,
        Rcode::BadVers => ResponseCode::BADVERS,
    }
}

/// Whether TC is set, as the library does when a message outgrows 64 KiB.
fn is_truncated(octets: &[u8]) -> bool {
    octets.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// TC, in the third octet (RFC 1035 §4.1.1).
const TRUNCATED: u8 = 0x02;

/// RFC 1035 §4.1.1.
const HEADER_OCTETS: usize = 12;

/// An OPT record without options (RFC 6891 §6.1.2).
const OPT_OCTETS: usize = 11;

/// The longest client subnet option: its head, family and lengths, an IPv6 address (RFC 7871 §6).
const SUBNET_OCTETS: usize = 24;

/// A cookie option of an answer (RFC 9018 §4).
const COOKIE_OCTETS: usize = 28;

const OPCODE_QUERY: u8 = 0;
const OPCODE_UPDATE: u8 = 5;

/// OPT, TSIG, and two that a client may have a reason for.
const MAX_ADDITIONALS: u16 = 4;

#[cfg(test)]
mod tests;
