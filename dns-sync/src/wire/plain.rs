//! The messages that nearly all queries and answers are, octet by octet: a question with or without a bare OPT flows in, addresses or
//! a denial flow out. Whatever is anything else is left to the library, and so is every message that would not fit. Called by `wire`
//! before the library; the tests hold that both write messages of the same meaning.

use super::octets::Reader;
use crate::answer::{Answer, Data, Owner, Placed, Question, Rcode};
use crate::limits::MAX_UDP_OCTETS;
use crate::name::Name;
use crate::record::{RecordType, RrsetData, Soa};

/// A query with a question, no other record than an OPT of version 0 without options, and nothing behind it.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) question: Question,
    /// Name, type and class as the client wrote them.
    pub(super) asked: Vec<u8>,
    pub(super) edns: Option<PlainEdns>,
}

/// What a bare OPT says (RFC 6891 §6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlainEdns {
    pub(super) max_payload: u16,
    pub(super) dnssec_ok: bool,
}

/// Reads a query whose header has been looked at: opcode QUERY, one question.
pub(super) fn read(octets: &[u8]) -> Option<Plain> {
    let mut reader = Reader::new(octets, 0);
    let counts = reader.counts()?;
    if counts.authorities != 0 || counts.additionals > 1 {
        return None;
    }
    reader.at = HEADER;
    let (name, record_type, class) = reader.question()?;
    // A compressed or otherwise unusual name is not worth another thought here.
    let asked = octets.get(HEADER..reader.at).filter(|asked| asked.len() == name.as_wire().len() + 4)?.to_vec();
    let edns = if counts.additionals == 1 { Some(read_edns(&mut reader)?) } else { None };
    if !reader.is_at_end() {
        return None;
    }
    let question = Question { name, record_type: RecordType::from(record_type), class };
    Some(Plain { question, asked, edns })
}

fn read_edns(reader: &mut Reader<'_>) -> Option<PlainEdns> {
    let (root, rest) = reader.take(OPT_OCTETS)?.split_first()?;
    let field =
        |at: usize| rest.get(at..at + 2).and_then(|octets| octets.first_chunk()).map(|o| u16::from_be_bytes(*o));
    let (kind, max_payload, extended, flags, options) = (field(0)?, field(2)?, field(4)?, field(6)?, field(8)?);
    // The extended response code and the version are 0 in a plain query.
    let is_bare = *root == 0 && kind == OPT && extended == 0 && options == 0;
    is_bare.then_some(PlainEdns { max_payload, dnssec_ok: flags & DNSSEC_OK != 0 })
}

/// What of a query stands in its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'q> {
    pub(super) id: u16,
    pub(super) recursion_desired: bool,
    pub(super) name: &'q Name,
    /// Name, type and class as the client wrote them.
    pub(super) octets: &'q [u8],
    pub(super) edns: Option<PlainEdns>,
}

/// Writes an answer of addresses, or of none with the SOA of its zone. `None` when it holds anything else or does not fit.
pub(super) fn write(asked: Asked<'_>, answer: &Answer<'_>, limit: usize) -> Option<Vec<u8>> {
    if !answer.additionals.is_empty() {
        return None;
    }
    let mut message = Vec::with_capacity(limit.min(usize::from(MAX_UDP_OCTETS)));
    message.extend_from_slice(&asked.id.to_be_bytes());
    message.push(RESPONSE | if answer.authoritative { AUTHORITATIVE } else { 0 } | u8::from(asked.recursion_desired));
    message.push(code(answer.rcode)?);
    // The counts follow when the records are written.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(asked.octets);
    let answers = section(&mut message, &answer.answers, asked.name)?;
    let authorities = section(&mut message, &answer.authorities, asked.name)?;
    if let Some(edns) = asked.edns {
        let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        message.push(0);
        for field in [OPT, MAX_UDP_OCTETS, 0, flags, 0] {
            message.extend_from_slice(&field.to_be_bytes());
        }
    }
    for (at, count) in [(4, 1), (6, answers), (8, authorities), (10, u16::from(asked.edns.is_some()))] {
        message.get_mut(at..at + 2)?.copy_from_slice(&count.to_be_bytes());
    }
    (message.len() <= limit).then_some(message)
}

/// Writes the records of a section; their number.
fn section(message: &mut Vec<u8>, placed: &[Placed<'_>], asked: &Name) -> Option<u16> {
    let mut count = 0_u16;
    for placed in placed {
        let Data::Rrset { records, selection } = &placed.data else { return None };
        let mut record = |data: &mut dyn FnMut(&mut Vec<u8>)| {
            match placed.owner {
                Owner::Question => message.extend_from_slice(&pointer(0)),
                Owner::Name(name) => write_name(message, name, asked),
            }
            message.extend_from_slice(&records.record_type().code().to_be_bytes());
            message.extend_from_slice(&CLASS_IN.to_be_bytes());
            message.extend_from_slice(&placed.ttl.seconds().to_be_bytes());
            let length = message.len();
            message.extend_from_slice(&[0; 2]);
            data(message);
            let octets = u16::try_from(message.len() - length - 2).unwrap_or(u16::MAX);
            message[length..length + 2].copy_from_slice(&octets.to_be_bytes());
            count = count.saturating_add(1);
        };
        match records {
            RrsetData::A(all) => super::chosen(all, selection, |address| {
                record(&mut |message| message.extend_from_slice(&address.octets()));
            }),
            RrsetData::Aaaa(all) => super::chosen(all, selection, |address| {
                record(&mut |message| message.extend_from_slice(&address.octets()));
            }),
            RrsetData::Soa(soa) => record(&mut |message| write_soa(message, soa, asked)),
            RrsetData::Txt(_) | RrsetData::Https(_) | RrsetData::Cname(_) | RrsetData::Ns(_) => return None,
        }
    }
    Some(count)
}

fn write_soa(message: &mut Vec<u8>, soa: &Soa, asked: &Name) {
    write_name(message, &soa.mname, asked);
    write_name(message, &soa.rname, asked);
    for field in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
        message.extend_from_slice(&field.to_be_bytes());
    }
}

/// A name, from where it ends as the question does compressed onto that (RFC 1035 §4.1.4).
fn write_name(message: &mut Vec<u8>, name: &Name, asked: &Name) {
    let question = asked.as_wire();
    for suffix in name.suffixes() {
        if question.ends_with(suffix) && asked.suffixes().any(|own| own.len() == suffix.len()) {
            message.extend_from_slice(&pointer(question.len() - suffix.len()));
            return;
        }
        message.extend_from_slice(&suffix[..=usize::from(suffix[0])]);
    }
    message.push(0);
}

/// A pointer to a place in the name of the question.
fn pointer(into_question: usize) -> [u8; 2] {
    // A name is at most 255 octets, so this stays far below the 14 bits of a pointer.
    let at = u16::try_from(HEADER + into_question).unwrap_or(0);
    (POINTER | at).to_be_bytes()
}

/// The response code, where the header alone holds it.
fn code(rcode: Rcode) -> Option<u8> {
    match rcode {
        Rcode::NoError => Some(0),
        Rcode::NxDomain => Some(3),
        _ => None,
    }
}

const HEADER: usize = 12;
const OPT_OCTETS: usize = 11;
const OPT: u16 = 41;
const CLASS_IN: u16 = 1;
const DNSSEC_OK: u16 = 0x8000;
const RESPONSE: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const POINTER: u16 = 0xc000;

#[cfg(test)]
mod tests;
