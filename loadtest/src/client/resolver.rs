//! A stub resolver that asks one name server from one place: a host name in, addresses out. UDP first, TCP when the answer was
//! truncated, answers kept as is its [`Habit`]. Called by `client` and by tests that ask a server directly.

use super::habit::Habit;
use crate::lab::Place;
use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

/// Asks one name server from one place.
#[derive(Debug)]
pub struct Resolver {
    place: Place,
    server: SocketAddr,
    habit: Habit,
    cache: Mutex<HashMap<Name, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    addresses: Vec<IpAddr>,
    /// Never, when there is none.
    expires: Option<Instant>,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

impl Resolver {
    /// A resolver with an empty cache.
    #[must_use]
    pub fn new(place: Place, server: SocketAddr) -> Self {
        Self { place, server, habit: Habit::default(), cache: Mutex::default() }
    }

    /// The same with another habit.
    #[must_use]
    pub fn with_habit(self, habit: Habit) -> Self {
        Self { habit, ..self }
    }

    /// All addresses of `host` in the order of the answers, A before AAAA; from the cache as long as the habit says.
    ///
    /// # Errors
    /// When the name does not exist, has no address, or the server does not answer.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>> {
        let name = name(host)?;
        let now = Instant::now();
        if let Some(entry) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&name)
            && entry.is_fresh(now)
        {
            return Ok(entry.addresses.clone());
        }
        let (v4, v6) = tokio::try_join!(self.query(&name, RecordType::A), self.query(&name, RecordType::AAAA))?;
        let mut addresses = Vec::new();
        let mut ttl = u32::MAX;
        for message in [&v4, &v6] {
            ensure!(
                message.metadata.response_code == ResponseCode::NoError,
                "{host}: the name server answers {}",
                message.metadata.response_code
            );
            for record in &message.answers {
                let address = match &record.data {
                    RData::A(a) => IpAddr::V4(a.0),
                    RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                    _ => continue,
                };
                addresses.push(address);
                ttl = ttl.min(record.ttl);
            }
        }
        ensure!(!addresses.is_empty(), "{host}: the name has no address");
        let expires = self.habit.keeps(Duration::from_secs(ttl.into())).map(|kept| now + kept);
        let entry = Entry { addresses: addresses.clone(), expires };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MOST_NAMES {
            cache.retain(|_, entry| entry.is_fresh(now));
        }
        if cache.len() < MOST_NAMES {
            cache.insert(name, entry);
        }
        Ok(addresses)
    }

    /// Forgets what is known of `host`, as a client does that could reach none of its addresses.
    pub fn forget(&self, host: &str) {
        if let Ok(name) = name(host) {
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        }
    }

    /// One question past the cache; the whole answer, whatever its response code.
    ///
    /// # Errors
    /// When the server does not answer, or answers something else.
    pub async fn ask(&self, host: &str, record_type: RecordType) -> Result<Message> {
        self.query(&name(host)?, record_type).await
    }

    async fn query(&self, name: &Name, record_type: RecordType) -> Result<Message> {
        let mut question = Message::query();
        question.add_query(Query::query(name.clone(), record_type));
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_PAYLOAD);
        question.set_edns(edns);
        let bytes = question.to_vec()?;
        for _ in 0..TRIES {
            match timeout(PATIENCE, self.over_udp(&question, &bytes)).await {
                // Lost or refused: ask again, as resolvers do.
                Err(_) | Ok(Err(_)) => {}
                Ok(Ok(answer)) if answer.metadata.truncation => {
                    let answer = timeout(PATIENCE, self.over_tcp(&bytes)).await;
                    return answer.with_context(|| format!("{name}: no answer over TCP from {}", self.server))?;
                }
                Ok(Ok(answer)) => return Ok(answer),
            }
        }
        bail!("{name} {record_type}: no answer from {} in {TRIES} tries", self.server)
    }

    async fn over_udp(&self, question: &Message, bytes: &[u8]) -> Result<Message> {
        let own = self.place.addresses().iter().copied().find(|own| own.is_ipv4() == self.server.is_ipv4());
        let any =
            if self.server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let socket = tokio::net::UdpSocket::from_std(self.place.udp_socket(SocketAddr::new(own.unwrap_or(any), 0))?)?;
        socket.connect(self.server).await?;
        socket.send(bytes).await?;
        let mut buffer = vec![0; 65_535];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Anything but the answer to this question is noise (RFC 5452 §4).
            if let Ok(answer) = Message::from_vec(&buffer[..length])
                && answer.metadata.id == question.metadata.id
                && answer.queries == question.queries
            {
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(&self, bytes: &[u8]) -> Result<Message> {
        let mut stream = self.place.tcp_socket(self.server.ip())?.connect(self.server).await?;
        stream.write_all(&[&u16::try_from(bytes.len())?.to_be_bytes()[..], bytes].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(Message::from_vec(&answer)?)
    }
}

fn name(host: &str) -> Result<Name> {
    let mut name = Name::from_ascii(host.to_ascii_lowercase()).with_context(|| format!("{host:?} is no host name"))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Safe from fragments everywhere (DNS flag day 2020).
const MAX_PAYLOAD: u16 = 1232;
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_NAMES: usize = 4096;
