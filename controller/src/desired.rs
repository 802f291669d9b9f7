//! What should stand in the API: a snapshot flows in, for each DNSEndpoint and each status the wanted content flows out.
//! Pure; the placement task calls it, the reconciler compares its answers and writes the difference. Two answers in a row share
//! what is equal, so that nobody looks at everything to find what differs.

mod any_host;
mod dns_endpoint;
mod event;
mod ingress_status;
mod planner;
mod route_status;

pub(crate) use dns_endpoint::{DnsEndpointIntent, HoldReason, Records, is_ours, next_object, summary};
pub(crate) use event::{EventIntent, NO_READY_PODS, PUBLISHED, Passed, passed};
pub(crate) use ingress_status::{IngressIntent, next_addresses};
pub(crate) use planner::Planner;
pub(crate) use route_status::{RouteIntent, RouterIdentity, is_published, is_signed, next_entries};

use crate::drain::Letting;
use crate::liveness::Keeping;
use nearside_routing::published::DnsPublication;
use nearside_routing::{HostPattern, Kind, ObjectKey, Placement, Reason, SharedMap};
use nearside_watch::Trust;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One thing that the controller writes. DNSEndpoints come first: DNS matters more than status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The DNSEndpoint of this name.
    DnsEndpoint(Arc<str>),
    /// The status of this Route or Ingress.
    Status(ObjectKey),
}

impl Target {
    /// The value of the label `kind` in metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::DnsEndpoint(_) => Kind::DnsEndpoint.name(),
            Self::Status(key) => key.kind.name(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DnsEndpoint(name) => write!(f, "DNSEndpoint {name}"),
            Self::Status(key) => write!(f, "status of {key}"),
        }
    }
}

/// What a target should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Intent {
    /// A DNSEndpoint.
    DnsEndpoint(DnsEndpointIntent),
    /// Our entry in a Route's status.
    Route(RouteIntent),
    /// The addresses in an Ingress's status.
    Ingress(IngressIntent),
}

impl Intent {
    /// The namespace of the object that claims the host of a DNSEndpoint.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        match self {
            Self::DnsEndpoint(intent) => intent.owner.clone(),
            Self::Route(_) | Self::Ingress(_) => None,
        }
    }
}

/// Everything that should stand in the API for one snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    /// The generation of the snapshot.
    pub(crate) generation: u64,
    /// How far it is to be trusted.
    pub(crate) trust: Trust,
    /// By target. A DNSEndpoint that is not named here belongs to a host that no object claims.
    pub(crate) intents: SharedMap<Target, Intent>,
    /// Where each host is placed.
    pub(crate) placement: Placement,
    /// What stands in the DNSEndpoints of the hosts.
    pub(crate) dns: DnsPublication,
    /// How many hosts are placed on each basis.
    pub(crate) bases: BTreeMap<&'static str, usize>,
    /// Hosts whose published records are kept although the snapshot gives none, or others.
    pub(crate) held: SharedMap<HostPattern, HoldReason>,
    /// Nodes that are not Ready and stay published because they answer.
    pub(crate) kept: BTreeSet<Arc<str>>,
    /// For how long they do.
    pub(crate) keeping: Keeping,
    /// How far DNS has let go of the nodes that are taken out.
    pub(crate) withdrawn: BTreeMap<Arc<str>, Letting>,
    /// How many parts of Routes and Ingresses are not served, or not as written.
    pub(crate) problems: BTreeMap<(Kind, Reason), usize>,
}

#[cfg(test)]
mod tests;
