//! One server of one zone as its worker talks to it: exchanges flow in, what the server says flows out. Opens a connection when
//! there is none, gives it up after anything odd, and takes the key that the server knows: while one key is replaced by another, each
//! is tried.

use super::connection::{Bounds, Connection};
use super::failure::{Failure, SignatureFault};
use super::key::{Keys, UnusableKey};
use super::observed::Observation;
use super::transfer::ZoneContent;
use super::update::Update;
use crate::name::Name;
use crate::wire::tsig::Key;
use std::net::SocketAddr;
use std::sync::Arc;

/// A server, connected or not.
#[derive(Debug)]
pub struct Session {
    server: SocketAddr,
    keys: Keys,
    connection: Option<Connection>,
    /// Whether an exchange was made over the connection before: a server may close one that was idle.
    reused: bool,
    bounds: Bounds,
}

impl Session {
    /// A server that was not connected yet.
    pub fn new(server: SocketAddr, keys: Keys, bounds: Bounds) -> Self {
        Self { server, keys, connection: None, reused: false, bounds }
    }

    /// Reads what stands at names; see [`Connection::observe`].
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn observe(&mut self, zone: &Name, names: &[Name]) -> Result<Observation, Failure> {
        loop {
            let result = self.connected().await?.observe(zone, names).await;
            if !self.tries_on(&result) {
                return result;
            }
        }
    }

    /// Sends an update; see [`Connection::update`].
    ///
    /// # Errors
    /// Where it was not accepted, or it is not known whether it was.
    pub async fn update(&mut self, update: &Update) -> Result<(), Failure> {
        loop {
            let result = self.connected().await?.update(update).await;
            if !self.tries_on(&result) {
                return result;
            }
        }
    }

    /// Reads the whole zone; see [`Connection::transfer`].
    ///
    /// # Errors
    /// Where the server does not give it, or not all of it.
    pub async fn transfer(&mut self, zone: &Name) -> Result<ZoneContent, Failure> {
        loop {
            let result = self.connected().await?.transfer(zone).await;
            if !self.tries_on(&result) {
                return result;
            }
        }
    }

    /// Whether what the server says is signed.
    pub fn is_signed(&self) -> bool {
        self.keys.are_wanted()
    }

    /// Reads the files of the keys again where they have changed. Gives whether there are other keys now.
    pub fn keys_have_changed(&mut self) -> bool {
        let changed = self.keys.refresh();
        if changed {
            self.connection = None;
        }
        changed
    }

    /// The files of keys that are of no use now.
    pub fn unusable_keys(&self) -> Vec<UnusableKey> {
        self.keys.problems()
    }

    /// A connection, signed with the key of the moment.
    async fn connected(&mut self) -> Result<&mut Connection, Failure> {
        self.keys_have_changed();
        let usable = self.connection.take().filter(Connection::is_usable);
        self.reused = usable.is_some();
        let connection = match usable {
            Some(connection) => connection,
            None => Connection::open(self.server, self.key()?, self.bounds).await?,
        };
        Ok(self.connection.insert(connection))
    }

    fn key(&self) -> Result<Option<Arc<Key>>, Failure> {
        let key = self.keys.current();
        if key.is_none() && self.keys.are_wanted() {
            let problems: Vec<String> = self.keys.problems().iter().map(ToString::to_string).collect();
            return Err(Failure::NoKey(problems.join("; ")));
        }
        Ok(key)
    }

    /// Whether the exchange is to be made once more: with the next key, since the server does not take this one; or over a new
    /// connection, since it has closed one that was idle. An update may then have been made the first time, which its prerequisites
    /// notice.
    fn tries_on<T>(&mut self, result: &Result<T, Failure>) -> bool {
        match result {
            Ok(_) => {
                self.keys.taken();
                false
            }
            Err(Failure::Io(_)) => {
                self.connection = None;
                self.reused
            }
            // PowerDNS says REFUSED to an update and NOTAUTH to a question for whatever is wrong with a key, and signs neither.
            Err(
                Failure::Signature(SignatureFault::BadKey | SignatureFault::BadSig)
                | Failure::Refused
                | Failure::NotAuthoritative,
            ) => {
                self.connection = None;
                self.keys.advance()
            }
            Err(_) => false,
        }
    }
}
