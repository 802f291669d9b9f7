//! Zone transfers (RFC 5936): one moment of a zone flows in, signed messages flow out to a secondary, one at a time, so that a
//! slow one costs the memory of one message. Made by `respond` for who has a key, run by the TCP loop.

use super::unix_time;
use crate::answer::{Answer, Owner, Placed, Rcode};
use crate::limits::{TCP_IDLE, TRANSFER_MESSAGE_OCTETS, TRANSFER_OUT_DEADLINE};
use crate::name::Name;
use crate::record::{RecordType, Rrset};
use crate::wire::tsig::replies::ReplySigner;
use crate::wire::{self, Query};
use crate::zone::Zones;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// A zone on its way.
#[derive(Debug)]
pub struct Transfer {
    pub(super) zones: Arc<Zones>,
    pub(super) origin: Name,
    pub(super) query: Box<Query>,
    pub(super) signer: ReplySigner,
    /// Given back when the transfer ends.
    pub(super) place: OwnedSemaphorePermit,
}

impl Transfer {
    /// The zone.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Writes the whole zone, length-framed. Returns the serial.
    ///
    /// # Errors
    /// When the secondary does not take it in time or goes away, or when a message cannot be written; then the connection must be
    /// closed, so that the secondary does not take a part for the whole.
    pub async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<u32> {
        timeout(TRANSFER_OUT_DEADLINE, self.send_all(stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn send_all(mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<u32> {
        let _place = self.place;
        let gone = || io::Error::from(io::ErrorKind::InvalidData);
        let zone = self.zones.find(&self.origin).ok_or_else(gone)?;
        let soa = zone.exact(&self.origin).and_then(|apex| apex.rrset(RecordType::Soa)).ok_or_else(gone)?;
        let mut batch = Batch { query: &self.query, signer: &mut self.signer, records: Vec::new(), octets: 0 };
        batch.add(stream, &self.origin, soa).await?;
        for (name, node) in zone.names() {
            for rrset in node.rrsets() {
                if rrset.data.record_type() != RecordType::Soa {
                    batch.add(stream, name, rrset).await?;
                }
            }
        }
        batch.add(stream, &self.origin, soa).await?;
        batch.write(stream).await?;
        Ok(zone.serial())
    }
}

/// The records of the next message.
struct Batch<'z> {
    query: &'z Query,
    signer: &'z mut ReplySigner,
    records: Vec<Placed<'z>>,
    octets: usize,
}

impl<'z> Batch<'z> {
    async fn add(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        name: &'z Name,
        rrset: &'z Rrset,
    ) -> io::Result<()> {
        self.records.push(Placed::whole(Owner::Name(name), rrset));
        self.octets += octets_of(name, rrset);
        if self.octets >= TRANSFER_MESSAGE_OCTETS { self.write(stream).await } else { Ok(()) }
    }

    async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let answers = std::mem::take(&mut self.records);
        self.octets = 0;
        if answers.is_empty() {
            return Ok(());
        }
        let answer = Answer { authoritative: true, answers, ..Answer::error(Rcode::NoError) };
        let encoded = wire::encode(self.query, &answer, MESSAGE_OCTETS);
        if encoded.truncated {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut octets = encoded.octets;
        self.signer.sign(&mut octets, unix_time());
        let length = u16::try_from(octets.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        octets.splice(..0, length.to_be_bytes());
        timeout(TCP_IDLE, stream.write_all(&octets)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Octets of a set in a message in which no name is compressed.
fn octets_of(name: &Name, rrset: &Rrset) -> usize {
    let data: usize = rrset.data.sorted_texts().iter().map(Vec::len).sum();
    data + rrset.data.count() * (name.as_wire().len() + 10)
}

/// A message with room for its signature.
const MESSAGE_OCTETS: usize = 65_535 - 1024;
