//! Answers of known length that are large and go to a client over TLS: their header flows out as that of any answer, their body in
//! large lots, each read of the pod, encrypted and sent at once. Called by `exchange`; one of the few modules that name Pingora types.
//!
//! No more is read of the pod than the client's socket has room for, so that a client that stops leaves next to nothing here, and the
//! memory of a lot is kept only while it is on its way through.

use super::pod::PodSocket;
use super::spliced::{self, fault};
use crate::accept::http1_stream::secured_socket;
use crate::http::HttpService;
use crate::limits::{SEALED_BATCH, TRANSFER_TURN};
use crate::splice::RelayError;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::protocols::http::v1::server::HttpSession as ClientSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use std::cell::Cell;
use std::future::{pending, ready};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::Interest;
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
    session.as_downstream().stream().and_then(secured_socket).map(|_| length)
}

/// Gives the client the answer, whole.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn answer(
    service: &HttpService,
    mut pod: HttpSession,
    response: Box<ResponseHeader>,
    length: u64,
    session: &mut Session,
) -> Result<Option<Box<PodSocket>>> {
    let ServerSession::H1(client) = session.as_downstream_mut() else {
        return Error::e_explain(ErrorType::InternalError, "frames of HTTP/2 are not written by hand");
    };
    client.write_response_header(response).await.map_err(Error::into_down)?;
    let terms = Terms { silence: pod.read_timeout, stall: service.shared.timeouts().client_stall };
    // What came with the header is not in the socket any more.
    let early = tokio::select! {
        biased;
        read = pod.read_body_ref() => read.map_err(Error::into_up)?.unwrap_or_default(),
        () = ready(()) => &[],
    };
    client.write_body(early).await.map_err(Error::into_down)?;
    pod.respect_keepalive();
    let serves_on = pod.will_keepalive();
    let left = length.saturating_sub(pod.body_bytes_received() as u64);
    let Ok(mut pod) = pod.into_inner().into_any().downcast::<PodSocket>() else {
        return Error::e_explain(ErrorType::InternalError, "the connection to the pod is none of the proxy's own");
    };
    let unread = pod.take_unread();
    client.write_body(&unread).await.map_err(Error::into_down)?;
    pass(pod.socket(), client, left.saturating_sub(unread.len() as u64), &terms).await?;
    client.finish_body().await.map_err(Error::into_down)?;
    Ok(serves_on.then_some(pod))
}

/// How long each side may keep still.
struct Terms {
    silence: Option<Duration>,
    stall: Duration,
}

async fn pass(pod: &TcpStream, client: &mut ClientSession, mut left: u64, terms: &Terms) -> Result<()> {
    let mut turn = 0;
    while left > 0 {
        let Some(socket) = secured_socket(client.stream()) else {
            return Error::e_explain(ErrorType::InternalError, "the client's socket is gone");
        };
        let most = room(socket, terms.stall).await?.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut lot = Lot::new();
        let read = loop {
            match pod.try_read(&mut lot.bytes[..most]) {
                Ok(0) => return Err(fault(RelayError::Truncated { missing: left })),
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    drop(lot);
                    readable(pod, client, terms.silence).await?;
                    lot = Lot::new();
                }
                Err(error) => return Err(fault(RelayError::Source(error))),
            }
        };
        client.write_body(&lot.bytes[..read]).await.map_err(Error::into_down)?;
        drop(lot);
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

/// Waits until the client's socket has room, and tells how much it takes for sure: it counts as writable once a third of its buffer is
/// free.
async fn room(client: &TcpStream, stall: Duration) -> Result<usize> {
    loop {
        let ready = client.try_io(Interest::WRITABLE, || {
            let mut polled = [PollFd::new(client, PollFlags::OUT)];
            match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
                0 => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match ready {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => match timeout(stall, client.writable()).await {
                Ok(ready) => ready.map_err(|error| fault(RelayError::Sink(error)))?,
                Err(_) => return Err(fault(RelayError::Stalled(stall))),
            },
            Err(error) => return Err(fault(RelayError::Sink(error))),
        }
    }
    let buffer = SockRef::from(client).send_buffer_size().unwrap_or_default();
    Ok((buffer / 3).clamp(ROOM_LEAST, SEALED_BATCH))
}

/// Waits until the pod has more. Meanwhile what the client's socket has not taken yet goes out, and a client that is gone is not waited
/// for.
async fn readable(pod: &TcpStream, client: &mut ClientSession, silence: Option<Duration>) -> Result<()> {
    let either = async {
        tokio::select! {
            biased;
            ready = pod.readable() => ready.map_err(|error| fault(RelayError::Source(error))),
            error = gone(client) => Err(error),
        }
    };
    match silence {
        Some(silence) => timeout(silence, either).await.unwrap_or_else(|_| Err(fault(RelayError::Silent(silence)))),
        None => either.await,
    }
}

/// Returns when the client has left.
async fn gone(client: &mut ClientSession) -> Box<Error> {
    match client.read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        Ok(_) => pending().await,
    }
}

/// Memory for what is on its way through. Each thread keeps one, so that it is that of the lot before, and still in the processor's cache.
struct Lot {
    bytes: Box<[u8]>,
}

impl Lot {
    fn new() -> Self {
        let bytes = KEPT.take().unwrap_or_else(|| vec![0; SEALED_BATCH].into_boxed_slice());
        Self { bytes }
    }
}

impl Drop for Lot {
    fn drop(&mut self) {
        KEPT.set(Some(std::mem::take(&mut self.bytes)));
    }
}

thread_local! {
    static KEPT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// What a socket that is ready takes, however small its buffer.
const ROOM_LEAST: usize = 16 * 1024;
