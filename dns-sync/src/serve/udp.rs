//! The UDP loop: datagrams flow in, answers flow out of the same socket. Started by `serve`, one task for each address;
//! no error of a single datagram ends it.

use super::datagram::{DatagramSocket, Peer};
use super::respond::{Client, Protocol, Reply, Responder};
use super::stopped;
use crate::limits::{ACCEPT_PAUSE, MAX_QUERY_OCTETS};
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::debug;

pub(super) async fn serve(socket: DatagramSocket, responder: Arc<Responder>, mut shutdown: watch::Receiver<bool>) {
    let mut buffer = [0; BUFFER];
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            received = socket.receive(&mut buffer) => match received {
                Ok((length, peer)) => reply(&socket, &responder, &buffer[..length], peer).await,
                Err(error) => {
                    debug!(%error, "receiving a datagram failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
        // What came meanwhile is answered without another look at timers and signals.
        answer_waiting(&socket, &responder, &mut buffer, BATCH).await;
    }
    answer_waiting(&socket, &responder, &mut buffer, LAST_DATAGRAMS).await;
}

/// Answers what the socket already holds, at most so many.
async fn answer_waiting(socket: &DatagramSocket, responder: &Responder, buffer: &mut [u8], most: usize) {
    for _ in 0..most {
        match socket.try_receive(buffer) {
            Ok((length, peer)) => reply(socket, responder, &buffer[..length], peer).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {}
        }
    }
}

async fn reply(socket: &DatagramSocket, responder: &Responder, octets: &[u8], peer: Peer) {
    // Nobody can receive on port 0; sending there only costs an error.
    if peer.client.port() == 0 {
        return;
    }
    let client = Client { address: peer.client.ip(), protocol: Protocol::Udp };
    if let Reply::Message(answer) = responder.respond(octets, client)
        && let Err(error) = socket.send(&answer, peer).await
    {
        debug!(client = %peer.client, %error, "sending an answer failed");
    }
}

/// One more than the largest query, so that a larger one is seen to be too large.
const BUFFER: usize = MAX_QUERY_OCTETS + 1;

/// Datagrams that are answered in a row, so that shutdown is noticed under any load.
const BATCH: usize = 64;

/// Datagrams that are answered after shutdown was asked for: what the socket already holds, bounded.
const LAST_DATAGRAMS: usize = 4096;
