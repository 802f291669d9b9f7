//! Where a request goes that is not answered by a pod of this node: what is known of the request, its route and its host
//! flows in, one [`Step`] flows out. The proxy takes the step; the controller says what it would be.
//!
//! The one rule: **a request is moved at most once**, whatever moves it. Whoever is sent to another node arrives there by the
//! node's own alias or with the mark of a relay, and both are read as [`Hop::Moved`]; a moved request is answered there or
//! refused. So no table, however stale, makes a loop. `Alt-Svc` moves no request: it tells the client where the next one may
//! begin, and that one is moved at most once as well.

use crate::node_id::NodeId;
use crate::published::PublishedAlias;
use crate::table::MissPolicy;

/// Whether a request was moved already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// It came as the client found the host, by DNS or by an alternative service.
    First,
    /// It came by the alias of a node, or from the proxy of another node.
    Moved,
}

impl Hop {
    /// From what the host name and the header say. Who claims to have been moved loses the redirect and gains nothing.
    pub fn of(by_alias: bool, relayed: bool) -> Self {
        if by_alias || relayed { Self::Moved } else { Self::First }
    }
}

/// A request that another node may have to answer.
#[derive(Clone, Copy, Debug)]
pub struct Miss<'m> {
    /// What the route wants.
    pub policy: MissPolicy,
    /// Whether any Service of the route may be asked at all.
    pub has_weight: bool,
    /// Whether it was moved already.
    pub hop: Hop,
    /// Whether its client can follow a redirect: those of gRPC cannot.
    pub follows: bool,
    /// Whether this node may relay it: the operator allows it, and the limits are not reached.
    pub relays: bool,
    /// The nodes that DNS names for the host.
    pub published: &'m [PublishedAlias],
    /// The node.
    pub own: NodeId,
}

/// What to do with a request that no pod of this node can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'m> {
    /// The client is sent to one of these, never none; any of several is as good as the others.
    Redirect(Vec<&'m PublishedAlias>),
    /// One of these, never none and each with an address, is asked in the client's place.
    Relay(Vec<&'m PublishedAlias>),
    /// 503.
    Refuse(Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every Service of the route has weight 0: nobody may answer.
    NoWeight,
    /// It was moved once already.
    Moved,
    /// No other node is published for the host.
    Nowhere,
    /// The route wants it so.
    Policy,
    /// Its client would not follow.
    CannotFollow,
    /// Its client would not trust the certificate under any alias.
    NotCovered,
}

impl<'m> Miss<'m> {
    /// What to do where this node has no pod for the request. `covered` says whether a client that follows would trust the
    /// certificate it sees under an alias.
    pub fn step(&self, covered: impl Fn(&str) -> bool) -> Step<'m> {
        if !self.has_weight {
            return Step::Refuse(Refusal::NoWeight);
        }
        if self.hop == Hop::Moved {
            return Step::Refuse(Refusal::Moved);
        }
        let others = self.others();
        if others.is_empty() {
            return Step::Refuse(Refusal::Nowhere);
        }
        if self.policy == MissPolicy::Reject {
            return Step::Refuse(Refusal::Policy);
        }
        if self.policy == MissPolicy::Relay && self.relays {
            let reachable = others.iter().copied().filter(|other| !other.addresses.is_empty());
            let reachable: Vec<_> = reachable.collect();
            if !reachable.is_empty() {
                return Step::Relay(reachable);
            }
        }
        if !self.follows {
            return Step::Refuse(Refusal::CannotFollow);
        }
        let found = found(others.into_iter().filter(|other| covered(other.alias.as_str())).collect());
        if found.is_empty() { Step::Refuse(Refusal::NotCovered) } else { Step::Redirect(found) }
    }

    /// The node that a client belongs to by its cookie and may be sent back to, though this node could answer.
    pub fn home(&self, named: NodeId, covered: impl Fn(&str) -> bool) -> Option<&'m PublishedAlias> {
        let at_home = Self { policy: MissPolicy::Redirect, relays: false, ..*self };
        match at_home.step(covered) {
            Step::Redirect(_) if self.policy != MissPolicy::Redirect => None,
            Step::Redirect(others) => others.into_iter().find(|other| other.node == named),
            Step::Relay(_) | Step::Refuse(_) => None,
        }
    }

    /// Nodes where the client's next request had better begin, because this one is not among those of the host: for
    /// `Alt-Svc`. The certificate need not cover their aliases, for the client goes on asking for the host's own name
    /// (RFC 7838 §2.1).
    pub fn alternatives(&self) -> Vec<&'m PublishedAlias> {
        let may_move = self.hop == Hop::First && self.has_weight && self.policy != MissPolicy::Reject;
        if !may_move || self.published.iter().any(|published| published.node == self.own) {
            return Vec::new();
        }
        found(self.others())
    }

    fn others(&self) -> Vec<&'m PublishedAlias> {
        self.published.iter().filter(|published| published.node != self.own).collect()
    }
}

/// Aliases that publishers have told they have taken are in DNS for sure; the others only where there are no such.
fn found(aliases: Vec<&PublishedAlias>) -> Vec<&PublishedAlias> {
    if aliases.iter().any(|alias| alias.is_observed) {
        aliases.into_iter().filter(|alias| alias.is_observed).collect()
    } else {
        aliases
    }
}

#[cfg(test)]
mod tests;
