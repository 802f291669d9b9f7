//! The messages that nearly all queries and answers are, octet by octet: a question with or without OPT, which may hold a cookie,
//! flows in, addresses, HTTPS records, a denial or an error flow out. Whatever is anything else is left to the library, and so is every message that would
//! not fit. Called by `wire` before the library; the tests hold that both read and write the same.

use super::Cookie;
use super::octets::Reader;
use crate::answer::{Answer, Data, Owner, Placed, Question, Rcode};
use crate::limits::MAX_UDP_OCTETS;
use crate::name::Name;
use crate::record::{RecordType, RrsetData, Soa};

/// A query with a question, no other record than an OPT of version 0 without options or with a cookie, and nothing behind it.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) question: Question,
    /// Name, type and class as the client wrote them.
    pub(super) asked: Vec<u8>,
    pub(super) edns: Option<PlainEdns>,
}

/// What such an OPT says (RFC 6891 §6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlainEdns {
    pub(super) max_payload: u16,
    pub(super) dnssec_ok: bool,
    pub(super) cookie: Option<Cookie>,
}

/// Reads a message whose header says that it is a query.
pub(super) fn read(octets: &[u8]) -> Option<Plain> {
    let mut reader = Reader::new(octets, 0);
    let counts = reader.counts()?;
    if (counts.questions, counts.answers, counts.authorities) != (1, 0, 0) || counts.additionals > 1 {
        return None;
    }
    // A name that is compressed is not worth another thought here.
    let name = reader.whole_name()?;
    let (record_type, class) = (reader.u16()?, reader.u16()?);
    let asked = octets.get(HEADER..reader.at)?.to_vec();
    let edns = if counts.additionals == 1 { Some(read_edns(&mut reader)?) } else { None };
    if !reader.is_at_end() {
        return None;
    }
    let question = Question { name, record_type: RecordType::from(record_type), class };
    Some(Plain { question, asked, edns })
}

fn read_edns(reader: &mut Reader<'_>) -> Option<PlainEdns> {
    let root = reader.take(1)?;
    let (kind, max_payload, extended, flags) = (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
    let options = reader.counted()?;
    // The extended response code and the version are 0 in a plain query.
    if root != [0] || kind != OPT || extended != 0 {
        return None;
    }
    let cookie = match options.split_first_chunk::<4>() {
        None if options.is_empty() => None,
        Some((&[a, b, c, d], cookie)) => {
            let is_alone =
                u16::from_be_bytes([a, b]) == COOKIE && usize::from(u16::from_be_bytes([c, d])) == cookie.len();
            Some(Cookie::read(cookie).filter(|_| is_alone)?)
        }
        None => return None,
    };
    Some(PlainEdns { max_payload, dnssec_ok: flags & DNSSEC_OK != 0, cookie })
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

/// Writes an answer of addresses or HTTPS records, or of none. `None` when it holds anything else or does not fit.
pub(super) fn write(asked: Asked<'_>, answer: &Answer<'_>, limit: usize) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(COMMON_OCTETS);
    message.extend_from_slice(&asked.id.to_be_bytes());
    message.push(RESPONSE | if answer.authoritative { AUTHORITATIVE } else { 0 } | u8::from(asked.recursion_desired));
    message.push(code(answer.rcode)?);
    // The counts follow when the records are written.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(asked.octets);
    let answers = section(&mut message, &answer.answers, asked.name)?;
    let authorities = section(&mut message, &answer.authorities, asked.name)?;
    let additionals = section(&mut message, &answer.additionals, asked.name)? + u16::from(asked.edns.is_some());
    if let Some(edns) = asked.edns {
        let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        message.push(0);
        let cookie = edns.cookie.map(|cookie| cookie.octets()).unwrap_or_default();
        let length = u16::try_from(cookie.len()).ok()?;
        let option = if cookie.is_empty() { 0 } else { 4 + length };
        for field in [OPT, MAX_UDP_OCTETS, 0, flags, option] {
            message.extend_from_slice(&field.to_be_bytes());
        }
        if option > 0 {
            message.extend_from_slice(&COOKIE.to_be_bytes());
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(&cookie);
        }
    }
    for (at, count) in [(4, 1), (6, answers), (8, authorities), (10, additionals)] {
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
            RrsetData::Https(all) => super::chosen(all, selection, |https| record(&mut |message| https.write(message))),
            RrsetData::Soa(soa) => record(&mut |message| write_soa(message, soa, asked)),
            RrsetData::Txt(_) | RrsetData::Cname(_) | RrsetData::Ns(_) => return None,
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

/// The response code, where the header alone holds it (RFC 6891 §6.1.3).
fn code(rcode: Rcode) -> Option<u8> {
    u8::try_from(u16::from(super::response_code(rcode))).ok().filter(|code| *code < 16)
}

/// Few answers are longer; the others take more room when they need it.
const COMMON_OCTETS: usize = 512;
const HEADER: usize = 12;
const OPT: u16 = 41;
/// The option (RFC 7873 §4).
const COOKIE: u16 = 10;
const CLASS_IN: u16 = 1;
const DNSSEC_OK: u16 = 0x8000;
const RESPONSE: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
const POINTER: u16 = 0xc000;

#[cfg(test)]
mod tests;
