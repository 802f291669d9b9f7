//! Asks a name server one question over TCP: a name and a type flow in, what `dig` would show flows out.

use crate::lab::Place;
use anyhow::{Context as _, Result, bail};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;

/// What a server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The result, such as `No Error` or `Non-Existent Domain`.
    pub rcode: String,
    /// AA.
    pub authoritative: bool,
    /// The data of the records of the name and type that was asked for, in text.
    pub records: BTreeSet<String>,
    /// Their TTL.
    pub ttl: Option<u32>,
}

/// Asks a server, RD clear.
///
/// # Errors
/// When there is no answer within a few seconds.
pub fn ask(place: &Place, server: SocketAddr, name: &str, record_type: &str) -> Result<Answer> {
    let record_type = RecordType::from_str(record_type).with_context(|| format!("no type {record_type}"))?;
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))?;
    let mut question = Message::query();
    question.metadata.message_type = MessageType::Query;
    question.metadata.op_code = OpCode::Query;
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name.clone(), record_type));
    let octets = question.to_vec()?;
    let mut stream = place.connect(server, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(&[&u16::try_from(octets.len())?.to_be_bytes(), &octets[..]].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets)?;
    let answer = Message::from_vec(&octets)?;
    if answer.metadata.id != question.metadata.id {
        bail!("{server} answered something else");
    }
    let asked = answer.answers.iter().filter(|record| record.name == name && record.record_type() == record_type);
    Ok(Answer {
        rcode: answer.metadata.response_code.to_string(),
        authoritative: answer.metadata.authoritative,
        records: asked.clone().map(|record| record.data.to_string()).collect(),
        ttl: asked.map(|record| record.ttl).next(),
    })
}

const LIMIT: Duration = Duration::from_secs(5);
