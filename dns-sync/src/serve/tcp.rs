//! The TCP loops: connections flow in, each a stream of length-framed queries (RFC 1035 §4.2.2) that may be pipelined
//! (RFC 7766 §6.2.1.1); answers flow out in the same order. Started by `serve`, one accept loop for each address; no
//! accept error ends it.

use super::connections::{Connections, Place};
use super::respond::{Client, Protocol, Reply, Responder};
use super::stopped;
use super::transfer::Transfer;
use crate::limits::{ACCEPT_PAUSE, MAX_QUERY_OCTETS, SHUTDOWN_GRACE, TCP_IDLE, TCP_WRITE_OCTETS};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

pub(super) async fn serve(
    listener: TcpListener,
    responder: Arc<Responder>,
    connections: Arc<Connections>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => match connections.place(client.ip()) {
                    Some(place) => {
                        let client = Client { address: client.ip(), protocol: Protocol::Tcp };
                        open.spawn(connection(stream, client, Arc::clone(&responder), place, shutdown.clone()));
                    }
                    // Closing tells the client at once; leaving it in the backlog would let it wait for its timeout.
                    None => {
                        responder.metrics().tcp_refused.inc();
                        drop(stream);
                    }
                },
                Err(error) => {
                    debug!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while open.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, finished).await.is_err() {
        debug!("connections are cut: they did not take their answers in time");
    }
}

async fn connection(
    mut stream: TcpStream,
    client: Client,
    responder: Arc<Responder>,
    place: Place,
    mut shutdown: watch::Receiver<bool>,
) {
    let _place = place;
    // Answers are written whole, so waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let mut received = Vec::with_capacity(READ_BUFFER);
    let mut deadline = Instant::now() + TCP_IDLE;
    loop {
        let read = tokio::select! {
            biased;
            // First, so that what has arrived is answered even when shutdown comes at the same time.
            read = timeout_at(deadline, stream.read_buf(&mut received)) => read,
            () = stopped(&mut shutdown) => break,
        };
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
        match answer_all(&mut stream, client, &mut received, &responder).await {
            // Only a whole query buys more time: a client that sends an octet now and then holds its place no longer.
            Served::Queries => deadline = Instant::now() + TCP_IDLE,
            Served::Nothing => {}
            Served::Unusable => break,
        }
    }
    let _ = timeout(TCP_IDLE, stream.shutdown()).await;
}

enum Served {
    Queries,
    Nothing,
    /// The client does not take its answers, or sends what is no query.
    Unusable,
}

/// Answers every whole query in the buffer and leaves the rest there.
async fn answer_all(stream: &mut TcpStream, client: Client, received: &mut Vec<u8>, responder: &Responder) -> Served {
    let mut answers = Vec::new();
    let mut consumed = 0;
    let mut usable = true;
    while let Some((length, rest)) = received[consumed..].split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_QUERY_OCTETS {
            usable = false;
            break;
        }
        let Some(query) = rest.get(..length) else { break };
        consumed += 2 + length;
        let answer = match responder.respond(query, client) {
            Reply::Message(answer) => answer,
            Reply::Transfer(transfer) => {
                usable = write(stream, &mut answers).await && send(stream, *transfer, client, responder).await;
                if usable { continue } else { break }
            }
            Reply::Nothing => {
                usable = false;
                break;
            }
        };
        let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        answers.extend_from_slice(&length.to_be_bytes());
        answers.extend_from_slice(&answer[..usize::from(length)]);
        if answers.len() >= TCP_WRITE_OCTETS {
            usable = write(stream, &mut answers).await;
            if !usable {
                break;
            }
        }
    }
    received.drain(..consumed);
    if !write(stream, &mut answers).await || !usable {
        return Served::Unusable;
    }
    if consumed > 0 { Served::Queries } else { Served::Nothing }
}

/// Sends a zone; a connection on which that fails is of no more use.
async fn send(stream: &mut TcpStream, transfer: Transfer, client: Client, responder: &Responder) -> bool {
    let zone = transfer.origin().clone();
    let (result, sent) = match transfer.send(stream).await {
        Ok(serial) => {
            info!(%zone, serial, secondary = %client.address, "zone transferred");
            ("sent", true)
        }
        Err(error) => {
            warn!(%zone, %error, secondary = %client.address, "a zone transfer failed; the secondary has to ask again");
            ("failed", false)
        }
    };
    responder.metrics().transfers.with_label_values(&[result]).inc();
    sent
}

async fn write(stream: &mut TcpStream, answers: &mut Vec<u8>) -> bool {
    let written = answers.is_empty() || matches!(timeout(TCP_IDLE, stream.write_all(answers)).await, Ok(Ok(())));
    answers.clear();
    written
}

/// Holds the largest query and its length, so that a read always has room for the rest of it.
const READ_BUFFER: usize = 4096;
const _: () = assert!(READ_BUFFER > MAX_QUERY_OCTETS + 2);
