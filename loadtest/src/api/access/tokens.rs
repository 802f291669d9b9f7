//! Tokens of ServiceAccounts: an account flows in, a secret text flows out, and the other way round until it has expired. Kept in
//! memory: a server that starts anew knows none.

use super::super::object::random;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The ServiceAccount that a token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// All tokens that were issued.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<BTreeMap<String, (Holder, Instant)>>);

impl Tokens {
    /// Makes a token for `holder`.
    pub(crate) fn issue(&self, holder: Holder, lifetime: Duration) -> String {
        let token = format!("lab.{:016x}{:016x}", random(), random());
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issued.retain(|_, (_, end)| *end > Instant::now());
        issued.insert(token.clone(), (holder, Instant::now() + lifetime));
        token
    }

    /// Whom a token stands for; nobody once it has expired.
    pub(crate) fn holder(&self, token: &str) -> Option<Holder> {
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issued.get(token).filter(|(_, end)| *end > Instant::now()).map(|(holder, _)| holder.clone())
    }

    /// Forgets every token, as when the key of the server that signed them is replaced.
    pub(crate) fn revoke_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
