//! The UDP loop: datagrams flow in, answers flow out of the same socket. Started by `serve`, one thread for each socket;
//! no error of a single datagram ends it.
//!
//! A thread of its own waits for its socket itself: an answer is on its way without a task being handed from thread to
//! thread, and nothing else that the program does stands before it.

use super::datagram::{BoundSocket, DatagramSocket, Inbox, Peer};
use super::respond::{Client, Protocol, Reply, Responder};
use super::stopped;
use crate::limits::{ACCEPT_PAUSE, DATAGRAMS_AT_ONCE, LAST_DATAGRAMS};
use std::io;
use std::pin::pin;
use tokio::runtime;
use tokio::sync::watch;
use tracing::{debug, error};

/// Blocks until shutdown is asked for.
pub(super) fn serve(socket: BoundSocket, responder: &Responder, shutdown: watch::Receiver<bool>) {
    let served: io::Result<()> = runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
        runtime.block_on(async {
            answer_all(&socket.register()?, responder, shutdown).await;
            Ok(())
        })
    });
    if let Err(error) = served {
        error!(%error, "queries over UDP cannot be answered");
    }
}

async fn answer_all(socket: &DatagramSocket, responder: &Responder, mut shutdown: watch::Receiver<bool>) {
    let mut inbox = Inbox::new();
    let mut answers = Vec::with_capacity(DATAGRAMS_AT_ONCE);
    let mut stopped = pin!(stopped(&mut shutdown));
    loop {
        tokio::select! {
            () = &mut stopped => break,
            received = socket.receive(&mut inbox) => match received {
                Ok(()) => answer(socket, responder, &inbox, &mut answers).await,
                Err(error) => {
                    debug!(%error, "receiving datagrams failed");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            },
        }
    }
    for _ in 0..LAST_DATAGRAMS / DATAGRAMS_AT_ONCE {
        if socket.try_receive(&mut inbox).is_err() {
            break;
        }
        answer(socket, responder, &inbox, &mut answers).await;
    }
}

/// Answers what has come.
async fn answer(socket: &DatagramSocket, responder: &Responder, inbox: &Inbox, answers: &mut Vec<(Vec<u8>, Peer)>) {
    answers.clear();
    for (octets, peer) in inbox.datagrams() {
        // Nobody can receive on port 0; sending there only costs an error.
        if peer.client.port() == 0 {
            continue;
        }
        let client = Client { address: peer.client.ip(), protocol: Protocol::Udp };
        if let Reply::Message(answer) = responder.respond(octets, client) {
            answers.push((answer, peer));
        }
    }
    socket.send(answers).await;
}
