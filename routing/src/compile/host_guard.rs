//! Who speaks for a host about client certificates: the rules that are granted on it and Secrets flow in, what clients must
//! show flows out, and for each rule whether that keeps what its object asks for. TLS is one for all paths of a host: the
//! oldest object that asks decides, and rules of objects that ask for something else serve nobody.

use super::SecretLookup;
use crate::certificate::Authority;
use crate::claim::Claim;
use crate::hostname::HostPattern;
use crate::policy::client_certificate::ClientGuard;
use crate::table::{HostClients, Termination};
use crate::verdict::{Problem, Reason};
use std::sync::Arc;

/// What one host asks for.
#[derive(Debug)]
pub(super) struct HostGuard {
    decided: Option<Decided>,
    /// Whether the host is every host that no rule names; there is no one TLS policy for them.
    any: bool,
}

/// What the object says that speaks for the host.
#[derive(Debug)]
struct Decided {
    guard: Arc<ClientGuard>,
    namespace: Box<str>,
    /// The CAs, or what is wrong with them.
    authority: Result<Arc<Authority>, String>,
}

impl HostGuard {
    /// Of the rules that are granted, oldest first. Who owns the host decides: a namespace that shares it must not be able
    /// to lock the others out.
    pub(super) fn of<'c>(
        pattern: &HostPattern,
        granted: impl Iterator<Item = &'c Claim> + Clone,
        secrets: SecretLookup<'_>,
    ) -> Self {
        let any = *pattern == HostPattern::Any;
        let owner = granted.clone().next().map(Claim::namespace);
        let mut stated = granted.filter(|rule| owner == Some(rule.namespace()) && ends_here(rule)).filter_map(|rule| {
            let guard = rule.route.policy.client_certificates.guard.as_ref()?;
            let authority = authority(guard, rule.namespace(), secrets);
            Some(Decided { guard: Arc::clone(guard), namespace: rule.namespace().into(), authority })
        });
        Self { decided: if any { None } else { stated.next() }, any }
    }

    /// What clients of the host must show.
    pub(super) fn clients(&self) -> Option<Arc<HostClients>> {
        let Decided { guard, authority, .. } = self.decided.as_ref()?;
        Some(Arc::new(HostClients { guard: Arc::clone(guard), authority: authority.as_ref().ok().cloned() }))
    }

    /// Whether the host keeps what the rule's object asks for.
    ///
    /// # Errors
    /// What to tell the object, if it was not told before.
    pub(super) fn keeps(&self, rule: &Claim) -> Result<(), Option<Problem>> {
        let Some(guard) = &rule.route.policy.client_certificates.guard else { return Ok(()) };
        let problem = |message: &str| {
            let field = "metadata.annotations[\"auth-tls-secret\"]";
            Err(Some(Problem::new(field, Reason::SecretNotUsable, format!("{message}: requests are refused with 503"))))
        };
        if guard.secret.is_none() {
            return Err(None);
        }
        match &self.decided {
            _ if !ends_here(rule) => problem("with passthrough it is the pod that asks clients for certificates"),
            _ if self.any => problem("client certificates need a rule with a host"),
            Some(decided) if decided.guard == *guard && *decided.namespace == *rule.namespace() => {
                decided.authority.as_ref().map(|_| ()).or_else(|message| problem(message))
            }
            _ => problem("an older object of the host, or its owner, asks clients for something else"),
        }
    }
}

fn ends_here(rule: &Claim) -> bool {
    rule.route.termination != Termination::Passthrough
}

fn authority(guard: &ClientGuard, namespace: &str, secrets: SecretLookup<'_>) -> Result<Arc<Authority>, String> {
    // What is not understood was told.
    let Some(name) = &guard.secret else { return Err(String::new()) };
    let known =
        secrets(namespace, name).ok_or_else(|| format!("there is no Secret {name} with ca.crt in the namespace"))?;
    known.authority.clone().map_err(|error| format!("Secret {name}: ca.crt or ca.crl: {error}"))
}
