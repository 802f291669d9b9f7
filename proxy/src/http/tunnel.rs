//! Bytes both ways between a stream of HTTP/2 and a connection of its own to a pod: `websocket` opens it, it ends with either
//! side. Each direction holds one part that is on its way, so that a side that does not read stops the other one, and never
//! both. One of the few modules that name Pingora types.
//!
//! Idle tunnels are ended by the pod's connection, which sees what moves either way.

use crate::limits::TUNNEL_PART;
use crate::options::Timeouts;
use bytes::{Bytes, BytesMut};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::future::ready;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

/// Relays until the pod ends, or for as long as it has something left to say once the client has ended.
///
/// # Errors
/// Either side breaks off.
pub(super) async fn relay(mut pod: HttpSession, session: &mut Session, timeouts: &Timeouts) -> Result<()> {
    session.as_downstream_mut().set_write_timeout(Some(timeouts.client_stall));
    // What came along with the pod's header is not in the socket any more.
    let early = tokio::select! {
        biased;
        read = pod.read_body_bytes() => read.map_err(Error::into_up)?,
        () = ready(()) => None,
    };
    if let Some(early) = early {
        session.write_response_body(Some(early), false).await?;
    }
    let (reader, writer) = tokio::io::split(pod.into_inner());
    let (to_pod, from_client) = channel(1);
    let (to_client, from_pod) = channel(1);
    let pod = async {
        tokio::try_join!(read(reader, to_client), write(writer, from_client))
            .map_err(|error| Error::because(ErrorType::ReadError, "on a tunnel to a pod", error).into_up())
    };
    let client = client(session, to_pod, from_pod, timeouts.server_fin);
    tokio::pin!(pod, client);
    tokio::select! {
        ended = &mut client => ended,
        ended = &mut pod => match ended {
            Ok(_) => client.await,
            Err(error) => Err(error),
        },
    }
}

/// What the pod says, until its end.
async fn read(mut pod: impl AsyncRead + Unpin, to_client: Sender<Bytes>) -> io::Result<()> {
    loop {
        let mut part = BytesMut::with_capacity(TUNNEL_PART);
        if pod.read_buf(&mut part).await? == 0 || to_client.send(part.freeze()).await.is_err() {
            return Ok(());
        }
    }
}

/// What the client says, until its end, which the pod is told.
async fn write(mut pod: impl AsyncWrite + Unpin, mut from_client: Receiver<Bytes>) -> io::Result<()> {
    while let Some(part) = from_client.recv().await {
        pod.write_all(&part).await?;
        pod.flush().await?;
    }
    pod.shutdown().await
}

/// The client's stream, whose two directions only one task can use.
async fn client(
    session: &mut Session,
    to_pod: Sender<Bytes>,
    mut from_pod: Receiver<Bytes>,
    fin: Duration,
) -> Result<()> {
    let mut to_pod = Some(to_pod);
    loop {
        let said = if let Some(sender) = &to_pod {
            tokio::select! {
                part = from_pod.recv() => Said::Pod(part),
                said = next(session, sender) => said,
            }
        } else {
            Said::Pod(timeout(fin, from_pod.recv()).await.unwrap_or_default())
        };
        match said {
            Said::Pod(Some(part)) => session.write_response_body(Some(part), false).await?,
            Said::Pod(None) => return session.write_response_body(None, true).await,
            Said::Client(Ok(Some(()))) => {}
            Said::Client(Ok(None)) => to_pod = None,
            Said::Client(Err(error)) => return Err(error.into_down()),
        }
    }
}

/// Who spoke.
enum Said {
    Pod(Option<Bytes>),
    Client(Result<Option<()>>),
}

/// Passes one part on, where there is room for one.
async fn next(session: &mut Session, to_pod: &Sender<Bytes>) -> Said {
    let Ok(room) = to_pod.reserve().await else {
        // The pod takes no more; what it still says decides.
        return std::future::pending().await;
    };
    Said::Client(session.as_downstream_mut().read_request_body().await.map(|part| {
        part.map(|part| {
            room.send(part);
        })
    }))
}
