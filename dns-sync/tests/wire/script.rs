//! A server that does what a script says: each request flows in, what is to be sent flows out. Real sockets, nothing else.

use crate::stage::key;
use hickory_proto::op::{Message, MessageType};
use nearside_dns_sync::wire::tsig::replies::{ReplySigner, Verdict, verify};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the server does after a request, in this order.
pub(crate) enum Step {
    /// Sends a message with its length in front.
    Send(Vec<u8>),
    /// Sends octets as they are.
    Raw(Vec<u8>),
    /// Sends a message again and again, until the other side has enough.
    SendForEver(Vec<u8>),
    /// Closes the connection.
    Close,
}

/// Starts a server for one connection; the script gets the number of the request as well.
pub(crate) fn server(mut script: impl FnMut(usize, Request) -> Vec<Step> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for number in 0.. {
            let Some(octets) = framed(&mut stream) else { return };
            for step in script(number, Request(octets)) {
                let written = match step {
                    Step::Send(message) => stream.write_all(&with_length(&message)),
                    Step::Raw(octets) => stream.write_all(&octets),
                    Step::SendForEver(message) => {
                        let message = with_length(&message);
                        while stream.write_all(&message).is_ok() {}
                        return;
                    }
                    Step::Close => return,
                };
                if written.is_err() {
                    return;
                }
            }
        }
    });
    address
}

/// A request that was received, and what can be said to it.
pub(crate) struct Request(pub(crate) Vec<u8>);

impl Request {
    /// The reply without records and without a signature.
    pub(crate) fn reply(&self) -> Message {
        let mut message = Message::from_vec(&self.0).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.authoritative = true;
        message.signature = None;
        message.answers.clear();
        message.authorities.clear();
        message
    }

    /// What signs the messages of the reply.
    pub(crate) fn signer(&self) -> ReplySigner {
        match verify(&self.0, [&key()], now()) {
            Verdict::Accepted(_, signer) => signer,
            other => panic!("the request is not signed as it should: {other:?}"),
        }
    }

    /// The reply, changed and signed.
    pub(crate) fn signed(&self, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = self.reply();
        change(&mut message);
        sign(&mut self.signer(), &message)
    }
}

/// The octets of the next message of a signed reply.
pub(crate) fn sign(signer: &mut ReplySigner, message: &Message) -> Vec<u8> {
    let mut octets = message.to_vec().unwrap();
    signer.sign(&mut octets, now());
    octets
}

pub(crate) fn with_length(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets).ok()?;
    Some(octets)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
