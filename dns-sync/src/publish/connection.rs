//! One TCP connection to one server: updates, questions and transfers flow in, signed where there is a key; what the server says
//! flows out, or a [`Failure`]. The worker opens one, uses it until it is not [usable](Connection::is_usable) any more, and opens
//! another.
//!
//! Nothing is believed but the reply to what was asked: id, question and, with a key, the MAC of every reply are checked. After
//! anything else the connection is spent, so that a reply that comes late is never taken for a later one.

use super::failure::{Failure, SignatureFault};
use super::transfer::{Transfer, TransferFault, ZoneContent};
use super::update::Update;
use crate::limits::{EXCHANGE_DEADLINE, MAX_TRANSFER_NAMES, MAX_TRANSFER_OCTETS, PIPELINED_QUERIES, TRANSFER_DEADLINE};
use crate::name::Name;
use crate::record::RecordType;
use crate::wire::exchange::{Reply, Request, TooLarge, random_id};
use crate::wire::tsig::{self, Key, error, requests::ReplyVerifier, requests::Verdict};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    server: SocketAddr,
    stream: BufReader<TcpStream>,
    key: Option<Arc<Key>>,
    bounds: Bounds,
    usable: bool,
}

/// What an exchange may cost, and what time it is.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For the next whole message.
    pub exchange: Duration,
    /// For a whole transfer.
    pub transfer: Duration,
    /// Owner names in a transfer.
    pub transfer_names: usize,
    /// Octets of a transfer.
    pub transfer_octets: usize,
    /// Seconds since 1970.
    pub clock: fn() -> u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            exchange: EXCHANGE_DEADLINE,
            transfer: TRANSFER_DEADLINE,
            transfer_names: MAX_TRANSFER_NAMES,
            transfer_octets: MAX_TRANSFER_OCTETS,
            clock: seconds,
        }
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody takes the connection in time.
    pub async fn open(server: SocketAddr, key: Option<Arc<Key>>, bounds: Bounds) -> Result<Self, Failure> {
        let deadline = Instant::now() + bounds.exchange;
        let stream =
            timeout_at(deadline, TcpStream::connect(server)).await.map_err(|_| Failure::Timeout(bounds.exchange))?;
        let stream = stream.map_err(|error| Failure::Io(format!("cannot connect to {server}: {error}")))?;
        // Messages are written in one piece, so there is nothing to wait for.
        stream.set_nodelay(true).map_err(|error| Failure::Io(error.to_string()))?;
        Ok(Self { server, stream: BufReader::new(stream), key, bounds, usable: true })
    }

    /// The other end.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether another exchange can be made.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Sends an update. That it succeeded says that the server has accepted it, not that it answers so.
    ///
    /// # Errors
    /// Where the server refuses it, or its reply is none. After [`Failure::Timeout`] and the like it may have been applied all the same.
    pub async fn update(&mut self, update: &Update) -> Result<(), Failure> {
        let request = Request::update(random_id(), update.zone.clone());
        let room = self.key.as_ref().map_or(0, |key| key.overhead());
        let octets = request.encode_update(update, room).map_err(|TooLarge| Failure::TooLarge)?;
        self.begin()?;
        let mut verifier = self.send(vec![octets]).await?.pop().flatten();
        let deadline = Instant::now() + self.bounds.exchange;
        let reply = self.receive(deadline).await?;
        let reply = verified(&request, &mut verifier, &reply, false, (self.bounds.clock)())?;
        self.usable = true;
        refusal(reply.rcode)
    }

    /// Asks all questions at once and returns the replies in the order of the questions. Replies with an rcode other than NOERROR are
    /// among them.
    ///
    /// # Errors
    /// Where one reply is none, or says that the signature is not accepted.
    pub async fn query(&mut self, questions: &[(Name, RecordType)]) -> Result<Vec<Reply>, Failure> {
        let mut replies = Vec::with_capacity(questions.len());
        for some in questions.chunks(PIPELINED_QUERIES) {
            replies.extend(self.pipeline(some).await?);
        }
        Ok(replies)
    }

    async fn pipeline(&mut self, questions: &[(Name, RecordType)]) -> Result<Vec<Reply>, Failure> {
        let first = random_id();
        let ids = (0..).map(|offset: u16| first.wrapping_add(offset));
        let requests =
            ids.zip(questions).map(|(id, (name, record_type))| Request::query(id, name.clone(), *record_type));
        let requests: Vec<Request> = requests.collect();
        self.begin()?;
        let verifiers = self.send(requests.iter().map(Request::encode_query).collect()).await?;
        let mut waiting: HashMap<u16, (usize, Option<ReplyVerifier>)> = requests
            .iter()
            .zip(verifiers)
            .enumerate()
            .map(|(index, (request, by))| (request.id, (index, by)))
            .collect();
        let mut replies = vec![None; requests.len()];
        // In any order (RFC 7766 §7).
        while !waiting.is_empty() {
            let octets = self.receive(Instant::now() + self.bounds.exchange).await?;
            let id = octets.first_chunk().map(|id| u16::from_be_bytes(*id));
            let asked = id.and_then(|id| waiting.remove(&id));
            let (index, mut verifier) = asked.ok_or_else(|| unbelievable(&"it has another id"))?;
            let reply = verified(&requests[index], &mut verifier, &octets, false, (self.bounds.clock)())?;
            replies[index] = Some(reply);
        }
        self.usable = true;
        Ok(replies.into_iter().flatten().collect())
    }

    /// Reads a whole zone (AXFR).
    ///
    /// # Errors
    /// Where it is not complete, or any of its messages cannot be believed: never a part of a zone.
    pub async fn transfer(&mut self, zone: &Name) -> Result<ZoneContent, Failure> {
        let request = Request::query(random_id(), zone.clone(), RecordType::Axfr);
        self.begin()?;
        let mut verifier = self.send(vec![request.encode_query()]).await?.pop().flatten();
        let end = Instant::now() + self.bounds.transfer;
        let mut transfer = Transfer::new(zone.clone(), self.bounds.transfer_names, self.bounds.transfer_octets);
        let mut first = true;
        loop {
            let octets = self.receive(end.min(Instant::now() + self.bounds.exchange)).await?;
            let reply = verified(&request, &mut verifier, &octets, !first, (self.bounds.clock)())?;
            refusal(reply.rcode)?;
            first = false;
            if let Some(content) = transfer.take(reply, octets.len()).map_err(TransferFault::failure)? {
                if verifier.is_some_and(|verifier| !verifier.is_complete()) {
                    return Err(unbelievable(&"the end of the transfer is not signed"));
                }
                self.usable = true;
                return Ok(content);
            }
        }
    }

    /// From here until the exchange is over the connection counts as spent, so also when it is given up half way.
    fn begin(&mut self) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.usable, false) {
            return Err(Failure::Io("the connection was given up before".to_owned()));
        }
        let mut surplus = [0];
        let waiting = !self.stream.buffer().is_empty() || matches!(self.stream.get_ref().try_read(&mut surplus), Ok(1));
        if waiting { Err(unbelievable(&"nothing was asked for it")) } else { Ok(()) }
    }

    /// Signs and writes messages in one piece.
    async fn send(&mut self, messages: Vec<Vec<u8>>) -> Result<Vec<Option<ReplyVerifier>>, Failure> {
        let mut framed = Vec::new();
        let mut verifiers = Vec::with_capacity(messages.len());
        for mut octets in messages {
            let now = (self.bounds.clock)();
            verifiers.push(self.key.as_ref().map(|key| tsig::requests::sign(key, &mut octets, now)));
            framed.extend(u16::try_from(octets.len()).map_err(|_| Failure::TooLarge)?.to_be_bytes());
            framed.extend(octets);
        }
        let deadline = Instant::now() + self.bounds.exchange;
        let written = timeout_at(deadline, self.stream.get_mut().write_all(&framed)).await;
        self.io(written)?;
        Ok(verifiers)
    }

    async fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, Failure> {
        if self.stream.buffer().is_empty() {
            // A server that gathers its replies waits for this before it sends more. The system forgets it soon, and where it does
            // not take it, replies come all the same.
            let _ = self.stream.get_ref().set_quickack(true);
        }
        let read = timeout_at(deadline, async {
            let length = self.stream.read_u16().await?;
            let mut octets = vec![0; usize::from(length)];
            self.stream.read_exact(&mut octets).await?;
            Ok(octets)
        });
        let read = read.await;
        self.io(read)
    }

    fn io<T>(&self, result: Result<std::io::Result<T>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
        let done = result.map_err(|_| Failure::Timeout(self.bounds.exchange))?;
        done.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Failure::Io("the server closed the connection".to_owned()),
            _ => Failure::Io(error.to_string()),
        })
    }
}

/// A message as a reply to a request, its signature checked where the request had one.
fn verified(
    request: &Request,
    verifier: &mut Option<ReplyVerifier>,
    octets: &[u8],
    further: bool,
    now: u64,
) -> Result<Reply, Failure> {
    let read = |octets: &[u8]| request.read_reply(octets, further).map_err(|fault| unbelievable(&fault));
    let Some(verifier) = verifier else { return read(octets) };
    match verifier.verify(octets, now).map_err(|fault| unbelievable(&fault))? {
        Verdict::Signed { message, error: 0, .. } | Verdict::Later(message) => read(&message),
        Verdict::Signed { message, error, server_time } => {
            read(&message)?;
            Err(Failure::Signature(fault(error, server_time, now)))
        }
        Verdict::NotTaken { error } => {
            read(octets)?;
            Err(Failure::Signature(fault(error, None, now)))
        }
        // Only what stops us: whoever makes that up wins nothing but a pause.
        Verdict::Unsigned => match refusal(read(octets)?.rcode) {
            Ok(()) | Err(Failure::Prerequisite(_)) => Err(unbelievable(&"it is not signed")),
            Err(refusal) => Err(refusal),
        },
    }
}

fn unbelievable(reason: &dyn std::fmt::Display) -> Failure {
    Failure::Unbelievable(reason.to_string().into())
}

fn fault(code: u16, server_time: Option<u64>, now: u64) -> SignatureFault {
    match code {
        error::BADSIG => SignatureFault::BadSig,
        error::BADKEY => SignatureFault::BadKey,
        error::BADTIME => {
            let difference = server_time.map_or(0, |server| i128::from(server) - i128::from(now));
            SignatureFault::BadTime(i64::try_from(difference).unwrap_or(0))
        }
        other => SignatureFault::Other(other),
    }
}

/// What an rcode says where there is no TSIG error. NXDOMAIN is a failure of an update or a transfer; to a question it is an answer.
fn refusal(rcode: u16) -> Result<(), Failure> {
    Err(match rcode {
        0 => return Ok(()),
        2 => Failure::ServerFailure,
        3 => Failure::Prerequisite("NXDOMAIN"),
        5 => Failure::Refused,
        6 => Failure::Prerequisite("YXDOMAIN"),
        7 => Failure::Prerequisite("YXRRSET"),
        8 => Failure::Prerequisite("NXRRSET"),
        9 => Failure::NotAuthoritative,
        10 => Failure::NotZone,
        other => Failure::Rcode(other),
    })
}

fn seconds() -> u64 {
    // Before 1970 every signature is refused, which is as it should be.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
