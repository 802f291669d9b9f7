//! Whether clients are who they say they are: users and passwords, as a request gives them, flow in, verdicts flow out. Work
//! that takes long happens off the threads of connections, few at a time, and what fitted is remembered for a while.
//! `http::authentication` asks.

pub(crate) mod password;
pub(crate) mod recent;
pub(crate) mod resolver;

use crate::limits::{VERDICT_TIME, VERDICTS, VERIFICATION_PATIENCE, VERIFICATIONS_WAITING};
use nearside_routing::credentials::{Credentials, PasswordHash};
use recent::Recent;
use ring::hmac;
use ring::rand::SystemRandom;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// What became of a user and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// They fit.
    Passed,
    /// They do not.
    Refused,
    /// More waits to be verified than may.
    Busy,
}

/// Verifies passwords, within bounds: how many at a time, how many of one namespace, how many wait.
pub(crate) struct Verifier {
    /// Of this process alone; what is remembered says nothing to who reads its memory without it.
    key: hmac::Key,
    known: Recent<()>,
    slots: Arc<Semaphore>,
    of_namespace: usize,
    gates: Mutex<HashMap<Box<str>, Weak<Gate>>>,
}

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness;

/// The share of one namespace, so that whose passwords are costly or guessed at holds up nobody else.
struct Gate {
    slots: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Verifier {
    /// That has verified nothing yet.
    ///
    /// # Errors
    /// [`NoRandomness`] where no key can be made.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let slots = available_parallelism().map_or(2, |threads| usize::from(threads).max(2));
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self {
            key,
            known: Recent::new(VERDICTS),
            slots: Arc::new(Semaphore::new(slots)),
            of_namespace: slots / 2,
            gates: Mutex::default(),
        })
    }

    /// Whether a password is that of a user of these credentials, which belong to an object of a namespace.
    pub(crate) async fn verify(
        &self,
        namespace: &str,
        credentials: &Credentials,
        user: &str,
        password: &[u8],
    ) -> Verified {
        // Asking about an unknown user takes as long as asking about a known one.
        let known = credentials.hash(user);
        let Some(hash) = known.or_else(|| credentials.any_hash()) else { return Verified::Refused };
        let tag = self.tag(hash, user, password);
        if known.is_some() && self.known.get(&tag, Instant::now()).is_some() {
            return Verified::Passed;
        }
        let gate = self.gate(namespace);
        let Ok(_place) = gate.waiting.try_acquire() else { return Verified::Busy };
        let slots = async {
            let own = Arc::clone(&gate.slots).acquire_owned().await.ok()?;
            Some((own, Arc::clone(&self.slots).acquire_owned().await.ok()?))
        };
        let Ok(Some(slots)) = timeout(VERIFICATION_PATIENCE, slots).await else { return Verified::Busy };
        // A browser asks for many things at once; the first of them may have been verified meanwhile.
        if known.is_some() && self.known.get(&tag, Instant::now()).is_some() {
            return Verified::Passed;
        }
        let (hash, password) = (hash.clone(), password.to_vec());
        // The slots are held to the end, also where the client does not wait for it.
        let work = move || {
            let fits = password::fits(&password, &hash);
            drop(slots);
            fits
        };
        match spawn_blocking(work).await {
            Ok(true) if known.is_some() => {
                self.known.put(tag, Instant::now() + VERDICT_TIME, ());
                Verified::Passed
            }
            Ok(_) => Verified::Refused,
            Err(_) => Verified::Busy,
        }
    }

    /// A keyed hash that no other hash, user and password have. With another hash in the Secret, nothing is remembered.
    fn tag(&self, hash: &PasswordHash, user: &str, password: &[u8]) -> [u8; 32] {
        self.digest(&[hash.to_text().as_bytes(), user.as_bytes(), password])
    }

    /// A keyed hash over several parts, each apart from the next.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn gate(&self, namespace: &str) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(namespace).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate {
            slots: Arc::new(Semaphore::new(self.of_namespace)),
            waiting: Semaphore::new(VERIFICATIONS_WAITING),
        });
        gates.insert(namespace.into(), Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearside_routing::credentials::PasswordSecret;
    use nearside_routing::object::Secret;
    use nearside_routing::policy::authentication::SecretForm;

    /// Ann's password is `secret`.
    fn credentials(hash: &str) -> Arc<Credentials> {
        let passwords = [("auth".into(), format!("ann:{hash}").into())].into();
        Arc::clone(PasswordSecret::new(&Secret { passwords, ..Secret::default() }).credentials(SecretForm::File))
    }

    const CHEAP: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const OTHER: &str = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";

    #[tokio::test]
    async fn what_fitted_is_remembered_for_one_hash_user_and_password() {
        let verifier = Verifier::new().unwrap();
        let cheap = credentials(CHEAP);
        assert_eq!(verifier.verify("ns", &cheap, "ann", b"wrong").await, Verified::Refused);
        assert_eq!(verifier.verify("ns", &cheap, "bob", b"secret").await, Verified::Refused);
        assert_eq!(verifier.verify("ns", &cheap, "ann", b"secret").await, Verified::Passed);
        let tag = |hash, user, password: &[u8]| verifier.tag(&PasswordHash::parse(hash).unwrap(), user, password);
        let remembered = |tag| verifier.known.get(&tag, Instant::now()).is_some();
        assert!(remembered(tag(CHEAP, "ann", b"secret")));
        assert!(!remembered(tag(CHEAP, "ann", b"wrong")) && !remembered(tag(CHEAP, "bob", b"secret")));
        assert!(!remembered(tag(OTHER, "ann", b"secret")));
        assert_eq!(verifier.verify("ns", &credentials(OTHER), "ann", b"secret").await, Verified::Refused);
        assert_eq!(verifier.verify("ns", &Credentials::default(), "ann", b"secret").await, Verified::Refused);
    }

    #[tokio::test]
    async fn one_namespace_takes_no_more_than_its_share() {
        let verifier = Verifier::new().unwrap();
        let held = verifier.gate("busy");
        let _slots = held.slots.acquire_many(u32::try_from(verifier.of_namespace).unwrap()).await.unwrap();
        let _places = held.waiting.acquire_many(u32::try_from(VERIFICATIONS_WAITING).unwrap()).await.unwrap();
        assert_eq!(verifier.verify("busy", &credentials(CHEAP), "ann", b"secret").await, Verified::Busy);
        assert_eq!(verifier.verify("calm", &credentials(CHEAP), "ann", b"secret").await, Verified::Passed);
        // A verdict that is known costs nobody anything.
        assert_eq!(verifier.verify("busy", &credentials(CHEAP), "ann", b"secret").await, Verified::Passed);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so() {
        let verifier = Verifier::new().unwrap();
        let held = verifier.gate("busy");
        let _slots = held.slots.acquire_many(u32::try_from(verifier.of_namespace).unwrap()).await.unwrap();
        assert_eq!(verifier.verify("busy", &credentials(CHEAP), "ann", b"secret").await, Verified::Busy);
        assert_eq!(held.waiting.available_permits(), VERIFICATIONS_WAITING, "and waits no more");
    }
}
