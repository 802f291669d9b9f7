//! The side of the new process: the place flows in, the listening sockets of the process that is there flow out, each checked. What
//! this process does not use of them is closed. Called by `neighbours`.

use super::channel::{Channel, HandoverError};
use super::message::{Described, Hello, Offer, Ready, Word};
use super::place::Place;
use crate::limits::HANDOVER_SOCKETS;
use crate::tls;
use nearside_routing::Scheme;
use socket2::{SockRef, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// What another process has handed over, and is still using itself.
#[derive(Debug)]
pub(crate) struct Inherited {
    channel: Channel,
    sockets: Vec<Socket>,
}

#[derive(Debug)]
struct Socket {
    described: Described,
    /// `None` once it is used.
    listener: Option<TcpListener>,
}

/// The way to a process that has handed its sockets over. When it ends unsaid, that one takes them back.
#[derive(Debug)]
pub(super) struct Link(Channel);

/// Asks whoever is at the place; `None` where nobody is.
///
/// # Errors
/// [`HandoverError`] where somebody is there and nothing comes of it; then this process has to bind for itself.
pub(super) async fn ask(place: &Place) -> Result<Option<Inherited>, HandoverError> {
    let Some(stream) = place.connect().await? else { return Ok(None) };
    let mut channel = Channel::new(stream);
    channel.send(&Hello::ours(), &[]).await?;
    let (offer, descriptors) = channel.receive::<Offer>().await?;
    if !offer.is_understood() {
        return Err(HandoverError::OtherProtocol(offer.version));
    }
    if offer.sockets.len() != descriptors.len() || descriptors.len() > HANDOVER_SOCKETS {
        return Err(HandoverError::Mismatch);
    }
    let mut sockets = Vec::with_capacity(descriptors.len());
    for (described, descriptor) in offer.sockets.into_iter().zip(descriptors) {
        let listener = TcpListener::from(descriptor);
        if !is_as_described(&listener, described.address).unwrap_or(false) {
            return Err(HandoverError::Mismatch);
        }
        sockets.push(Socket { described, listener: Some(listener) });
    }
    if let Some(keys) = &offer.tickets {
        tls::adopt_ticket_keys(keys);
    }
    tracing::info!(%place, version = offer.version, sockets = sockets.len(), "another proxy of this node offers its sockets");
    Ok(Some(Inherited { channel, sockets }))
}

fn is_as_described(listener: &TcpListener, address: SocketAddr) -> io::Result<bool> {
    let socket = SockRef::from(listener);
    let listens = socket.r#type()? == Type::STREAM && socket.is_listener()?;
    Ok(listens && listener.local_addr()? == address)
}

impl Inherited {
    /// The socket that listens at this address, for this process to use.
    pub(crate) fn take(&mut self, scheme: Scheme, address: SocketAddr) -> Option<TcpListener> {
        let wanted = Described { scheme, address };
        self.sockets.iter_mut().find(|socket| socket.described == wanted)?.listener.take()
    }

    /// Says that this process serves, and closes the sockets that it does not use. From then on the other accepts no more on those
    /// that it does.
    ///
    /// # Errors
    /// [`HandoverError`] where the other does not say so; then both accept.
    pub(super) async fn ready(self) -> Result<Link, HandoverError> {
        let Self { mut channel, sockets } = self;
        let used = sockets.iter().enumerate().filter(|(_, socket)| socket.listener.is_none());
        let ready = used.map(|(place, _)| place).collect();
        drop(sockets);
        channel.send(&Ready { ready }, &[]).await?;
        match channel.receive().await? {
            (Word::Resting, _) => Ok(Link(channel)),
            (Word::PassedOn, _) => Err(HandoverError::Mismatch),
        }
    }
}

impl Link {
    /// Waits until the other process would not take its sockets back any more.
    pub(super) async fn ended(&mut self) {
        // It has nothing more to say.
        drop(self.0.next::<Word>().await);
    }

    /// A third process has the sockets now.
    pub(super) async fn pass_on(mut self) {
        // It may have ended long ago, and then it takes nothing back.
        drop(self.0.send(&Word::PassedOn, &[]).await);
    }
}
