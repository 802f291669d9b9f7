//! The UDP loop: datagrams flow in, answers flow out of the same socket. Started by `serve`, one task for each address;
//! no error of a single datagram ends it.

use super::respond::{Protocol, Responder};
use super::stopped;
use crate::limits::{ACCEPT_PAUSE, MAX_QUERY_OCTETS};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::debug;

pub(super) async fn serve(socket: UdpSocket, responder: Arc<Responder>, mut shutdown: watch::Receiver<bool>) {
    let mut buffer = [0; BUFFER];
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => break,
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, client)) => reply(&socket, &responder, &buffer[..length], client).await,
                Err(error) => {
                    debug!(%error, "receiving a datagram failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    for _ in 0..LAST_DATAGRAMS {
        match socket.try_recv_from(&mut buffer) {
            Ok((length, client)) => reply(&socket, &responder, &buffer[..length], client).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => {}
        }
    }
}

async fn reply(socket: &UdpSocket, responder: &Responder, octets: &[u8], client: SocketAddr) {
    // Nobody can receive on port 0; sending there only costs an error.
    if client.port() == 0 {
        return;
    }
    if let Some(answer) = responder.respond(octets, Protocol::Udp)
        && let Err(error) = socket.send_to(&answer, client).await
    {
        debug!(%client, %error, "sending an answer failed");
    }
}

/// One more than the largest query, so that a larger one is seen to be too large.
const BUFFER: usize = MAX_QUERY_OCTETS + 1;

/// Datagrams that are answered after shutdown was asked for: what the socket already holds, bounded.
const LAST_DATAGRAMS: usize = 4096;
