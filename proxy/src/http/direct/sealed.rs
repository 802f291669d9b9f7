//! Answers of known length that are large and go to a client over TLS: their header flows out as that of any answer, their body in
//! large lots, each read of the pod, encrypted and sent at once. Called by `exchange`; one of the few modules that name Pingora types.
//!
//! No more is read of the pod than the client's socket has room for, so that a client that stops leaves next to nothing here, and the
//! memory of a lot is kept only while it is on its way through.

use super::client;
use super::exchange;
use super::pod::{self, Detached, PodSocket};
use super::spliced::{self, fault};
use crate::http::HttpService;
use crate::limits::TRANSFER_TURN;
use crate::splice::{Buffer, Patience, RelayError, room};
use pingora::http::ResponseHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, Result};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

/// The length of an answer that is to go in large lots.
pub(super) fn length(
    service: &HttpService,
    pod: &HttpSession,
    response: &ResponseHeader,
    session: &Session,
) -> Option<u64> {
    let length = spliced::whole(service, pod, response, session)?;
    client::secured(session).map(|_| length)
}

/// Gives the client the answer, whole.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn answer(
    service: &HttpService,
    mut reader: HttpSession,
    response: Box<ResponseHeader>,
    length: u64,
    session: &mut Session,
) -> Result<Option<Box<PodSocket>>> {
    session.as_downstream_mut().write_response_header(response).await.map_err(Error::into_down)?;
    let patience = Patience { silence: reader.read_timeout, stall: Some(service.shared.timeouts().client_stall) };
    exchange::pass(pod::early(&mut reader).await?, session).await?;
    let Detached { pod, unread, left, serves_on } = Detached::from(reader, length)?;
    exchange::pass(&unread, session).await?;
    drop(unread);
    relay(pod.socket(), session, left, patience).await?;
    exchange::end(session, false).await?;
    Ok(serves_on.then_some(pod))
}

async fn relay(pod: &TcpStream, session: &mut Session, mut left: u64, patience: Patience) -> Result<()> {
    let mut turn = 0;
    while left > 0 {
        let socket = client::secured(session).ok_or_else(client::gone)?;
        let room = room(socket, patience.stall).await.map_err(fault)?;
        let most = room.clamp(ROOM_LEAST, Buffer::worth() as u64).min(left) as usize;
        let mut buffer = Buffer::new();
        let read = loop {
            match pod.try_read(&mut buffer.bytes[..most]) {
                Ok(0) => return Err(fault(RelayError::Truncated { missing: left })),
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    drop(buffer);
                    readable(pod, session, patience.silence).await?;
                    buffer = Buffer::new();
                }
                Err(error) => return Err(fault(RelayError::Source(error))),
            }
        };
        exchange::pass(&buffer.bytes[..read], session).await?;
        drop(buffer);
        if client::has_unsent(session) {
            Buffer::refuse(Instant::now());
        }
        left -= read as u64;
        turn += read as u64;
        if turn >= TRANSFER_TURN {
            turn = 0;
            // Sockets that are always ready never wait, and the other tasks of the thread would.
            yield_now().await;
        }
    }
    Ok(())
}

/// Waits until the pod has more. Meanwhile what the client's socket has not taken yet goes out, and a client that is gone is not waited
/// for.
async fn readable(pod: &TcpStream, session: &mut Session, silence: Option<Duration>) -> Result<()> {
    let either = async {
        tokio::select! {
            biased;
            ready = pod.readable() => ready.map_err(|error| fault(RelayError::Source(error))),
            error = exchange::gone(session.as_downstream_mut()) => Err(error),
        }
    };
    match silence {
        Some(silence) => timeout(silence, either).await.unwrap_or_else(|_| Err(fault(RelayError::Silent(silence)))),
        None => either.await,
    }
}

/// What is worth a record of its own: a socket that takes less has the rest wait, encrypted.
const ROOM_LEAST: u64 = 16 * 1024;
