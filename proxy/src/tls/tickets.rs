//! Session tickets whose keys can be handed to the next process of a node: sessions flow in, sealed tickets flow out and back in, there
//! or here. A key seals for six hours and opens for six more, whichever process has it.

use crate::limits::TICKET_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// See the module head.
pub(super) struct Tickets(RwLock<Vec<Key>>);

/// The keys as they go from process to process, the one that seals first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketKeys {
    keys: Vec<Told>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// Name and secret, in base64.
    key: String,
    /// Seconds since it was made.
    age: u64,
}

#[derive(Clone)]
struct Key {
    bytes: [u8; NAME + SECRET],
    seals: LessSafeKey,
    made: Instant,
}

impl Tickets {
    /// With a new key.
    pub(super) fn new() -> Result<Self, Unspecified> {
        Ok(Self(RwLock::new(vec![Key::new(Instant::now())?])))
    }

    /// What the next process needs.
    pub(super) fn keys(&self) -> TicketKeys {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let told = |key: &Key| Told { key: STANDARD.encode(key.bytes), age: key.made.elapsed().as_secs() };
        TicketKeys { keys: keys.iter().map(told).collect() }
    }

    /// Goes on with the keys of the process before. What cannot be one is left out.
    pub(super) fn adopt(&self, told: &TicketKeys) {
        let now = Instant::now();
        let adopted: Vec<Key> = told.keys.iter().take(KEPT).filter_map(|told| Key::told(told, now)).collect();
        if !adopted.is_empty() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = adopted;
        }
    }

    /// The key that seals now.
    fn sealing(&self, now: Instant) -> Result<Key, Unspecified> {
        let is_due = |key: &Key| now.saturating_duration_since(key.made) >= SEALS;
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).first().filter(|key| !is_due(key)) {
            return Ok(key.clone());
        }
        let next = Key::new(now)?;
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if keys.first().is_none_or(is_due) {
            keys.insert(0, next);
            keys.truncate(KEPT);
        }
        Ok(keys[0].clone())
    }

    fn opening(&self, name: &[u8], now: Instant) -> Option<Key> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let opens = |key: &&Key| key.bytes[..NAME] == *name && now.saturating_duration_since(key.made) < SEALS + OPENS;
        keys.iter().find(opens).cloned()
    }

    fn seal(&self, session: &[u8], now: Instant) -> Result<Vec<u8>, Unspecified> {
        let key = self.sealing(now)?;
        let (name, mut nonce) = (&key.bytes[..NAME], [0; NONCE_LEN]);
        // At random: a counter would tell clients how many there are, and two processes may share a key.
        SystemRandom::new().fill(&mut nonce)?;
        let mut sealed = session.to_vec();
        let nonced = Nonce::assume_unique_for_key(nonce);
        key.seals.seal_in_place_append_tag(nonced, Aad::from(name), &mut sealed)?;
        Ok([name, &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if ticket.len() > TICKET_BYTES {
            return None;
        }
        let key = self.opening(name, now)?;
        let mut session = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.seals.open_in_place(nonce, Aad::from(name), &mut session).ok()?.len();
        session.truncate(length);
        Some(session)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from((SEALS + OPENS).as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Instant::now()).ok().filter(|ticket| ticket.len() <= TICKET_BYTES)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, Instant::now())
    }
}

impl Key {
    fn new(made: Instant) -> Result<Self, Unspecified> {
        let mut bytes = [0; NAME + SECRET];
        SystemRandom::new().fill(&mut bytes)?;
        Self::of(bytes, made)
    }

    fn of(bytes: [u8; NAME + SECRET], made: Instant) -> Result<Self, Unspecified> {
        let seals = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes[NAME..])?);
        Ok(Self { bytes, seals, made })
    }

    fn told(told: &Told, now: Instant) -> Option<Self> {
        let bytes = STANDARD.decode(&told.key).ok()?.try_into().ok()?;
        // The clock begins with the machine, and no key is older than that.
        let made = now.checked_sub(Duration::from_secs(told.age)).unwrap_or(now);
        Self::of(bytes, made).ok()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

/// Bytes that name a key, in front of its tickets.
const NAME: usize = 16;
/// Bytes of a key of ChaCha20-Poly1305.
const SECRET: usize = 32;
const SEALS: Duration = Duration::from_secs(6 * 3600);
/// After that.
const OPENS: Duration = SEALS;
/// Keys: the one that seals, and the one before it.
const KEPT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_for_twelve_hours_and_is_sealed_anew_after_six() {
        let tickets = Tickets::new().unwrap();
        let begin = Instant::now();
        let first = tickets.seal(b"session", begin).unwrap();
        assert_eq!(tickets.open(&first, begin).unwrap(), b"session");
        let second = tickets.seal(b"session", begin + SEALS).unwrap();
        assert_ne!(first[..NAME], second[..NAME]);
        assert_eq!(tickets.open(&first, begin + SEALS).unwrap(), b"session");
        assert_eq!(tickets.open(&first, begin + SEALS + OPENS), None);
        assert_eq!(tickets.open(&second, begin + SEALS + OPENS).unwrap(), b"session");
    }

    #[test]
    fn the_next_process_opens_the_tickets_of_the_one_before_and_nobody_else_does() {
        let (old, new, stranger) = (Tickets::new().unwrap(), Tickets::new().unwrap(), Tickets::new().unwrap());
        let now = Instant::now();
        let ticket = old.seal(b"session", now).unwrap();
        let told = serde_json::from_str(&serde_json::to_string(&old.keys()).unwrap()).unwrap();
        new.adopt(&told);
        assert_eq!(new.open(&ticket, now).unwrap(), b"session");
        assert_eq!(old.open(&new.seal(b"back", now).unwrap(), now).unwrap(), b"back");
        assert_eq!(stranger.open(&ticket, now), None);
        let before = stranger.keys();
        stranger.adopt(&TicketKeys { keys: vec![Told { key: "c2hvcnQ=".into(), age: 0 }] });
        assert!(stranger.keys() == before, "what is no key changes nothing");
    }

    #[test]
    fn what_was_changed_on_the_way_does_not_open() {
        let (tickets, now) = (Tickets::new().unwrap(), Instant::now());
        let ticket = tickets.seal(b"session", now).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.open(&changed, now), None, "byte {at}");
            assert_eq!(tickets.open(&ticket[..at], now), None, "cut at {at}");
        }
        assert_eq!(tickets.open(&vec![0; TICKET_BYTES + 1], now), None);
    }
}
