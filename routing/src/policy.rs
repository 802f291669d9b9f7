//! How a rule is served beyond who answers it: the annotations and typed fields of one Route or Ingress flow in, one
//! immutable [`Policy`] that all its rules share flows out. Each group of settings has a file of its own below. Programs read
//! the policy; what an object leaves open, the program's own settings decide.

pub mod access;
pub mod affinity;
pub mod aliases;
pub mod authentication;
pub mod backend;
pub mod balance;
pub mod bandwidth;
pub mod body;
pub mod canary;
pub mod client_certificate;
mod cors;
pub mod errors;
mod forwarded;
mod header_actions;
pub mod health;
mod hsts;
pub mod https_record;
pub mod observability;
pub mod proxy_protocol;
pub mod rate;
pub(crate) mod redirect;
pub mod response_rewrite;
pub mod retry;
mod rewrite;
pub mod termination;
#[cfg(test)]
pub(crate) mod testing;
pub mod timeouts;

pub use cors::{Cors, OriginPattern, Origins};
pub use forwarded::{ForwardedHeaders, ToPod};
pub use header_actions::{HeaderAction, HeaderActionError, HeaderActions, is_host_and_port};
pub use redirect::{FixedRedirect, Instead, Location, LocationPart, Redirects, RequestUrl};
pub use rewrite::{PathPart, PathTemplate, Rewrite, RewriteTarget};

use crate::annotation::{Annotations, Spelling, grammar};
use crate::table::MissPolicy;
use access::Access;
use affinity::Affinity;
use aliases::ServerAliases;
use authentication::Authentication;
use backend::Backend;
use balance::Balance;
use bandwidth::Bandwidth;
use body::Body;
use canary::CanaryRules;
use client_certificate::ClientCertificates;
use errors::CustomErrors;
use health::Health;
use http::HeaderValue;
use https_record::HttpsRecord;
use observability::Observability;
use rate::RateLimits;
use response_rewrite::ResponseRewrite;
use retry::Retry;
use termination::IngressTermination;
use timeouts::Timeouts;

/// The settings of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// What happens where this node has no ready pod; `None` means the router's default.
    pub on_miss: Option<MissPolicy>,
    /// Whether clients may be told of alternative services; `None` means the router's default.
    pub alt_svc: Option<bool>,
    /// How requests spread over pods.
    pub balance: Balance,
    /// What a request must show.
    pub authentication: Authentication,
    /// What clients must show over TLS.
    pub client_certificates: ClientCertificates,
    /// Header fields that are set or deleted.
    pub header_actions: HeaderActions,
    /// `Strict-Transport-Security` of responses over TLS.
    pub hsts: Option<HeaderValue>,
    /// What the pod is told of a request besides.
    pub to_pod: ToPod,
    /// How clients keep their pod.
    pub affinity: Affinity,
    /// When a request that one pod failed is given to another.
    pub retry: Retry,
    /// How pods are checked.
    pub health: Health,
    /// How long a pod may take.
    pub timeouts: Timeouts,
    /// Who may ask.
    pub access: Access,
    /// Answers that are replaced.
    pub errors: CustomErrors,
    /// How much one client may ask.
    pub rate: RateLimits,
    /// How large request bodies may be.
    pub body: Body,
    /// How fast each response is sent; as fast as can be where it is `None`.
    pub bandwidth: Option<Bandwidth>,
    /// What path the pod sees.
    pub rewrite: Rewrite,
    /// What is changed in responses of pods.
    pub response_rewrite: ResponseRewrite,
    /// Where requests are sent instead.
    pub redirects: Redirects,
    /// What pages of other origins may do, where the proxy decides that.
    pub cors: Option<Cors>,
    /// How pods are spoken to.
    pub backend: Backend,
    /// Whether a pod is told who is connected before the first byte of each connection.
    pub proxy_protocol: Option<proxy_protocol::ToPods>,
    /// What is told of its requests.
    pub observability: Observability,
    /// Which requests it gets, where it is a canary of another Ingress.
    pub canary: Option<CanaryRules>,
    /// Further hosts with the same rules.
    pub aliases: ServerAliases,
    /// Where TLS ends, where an Ingress says so.
    pub termination: Option<IngressTermination>,
    /// What DNS tells of how the host speaks, beside its addresses.
    pub https_record: Option<HttpsRecord>,
    /// The Secret, of the object's namespace, with the CA of the pods; for an Ingress whose TLS ends again at the pod.
    pub destination_ca: Option<Box<str>>,
}

impl Policy {
    /// Reads what the annotations say.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        Self {
            on_miss: annotations.first(&[Spelling { name: "nearside.dev/on-miss", parse: miss_policy }]),
            alt_svc: annotations.first(&[Spelling { name: "nearside.dev/alt-svc", parse: grammar::boolean }]),
            balance: Balance::read(annotations),
            authentication: Authentication::read(annotations),
            client_certificates: ClientCertificates::read(annotations),
            header_actions: HeaderActions::read(annotations),
            hsts: hsts::read(annotations),
            to_pod: ToPod::read(annotations),
            affinity: Affinity::read(annotations),
            health: Health::read(annotations),
            retry: Retry::read(annotations),
            timeouts: Timeouts::read(annotations),
            access: Access::read(annotations),
            errors: CustomErrors::read(annotations),
            rate: RateLimits::read(annotations),
            body: Body::read(annotations),
            bandwidth: Bandwidth::read(annotations),
            rewrite: Rewrite::read(annotations),
            response_rewrite: ResponseRewrite::read(annotations),
            redirects: Redirects::read(annotations),
            cors: Cors::read(annotations),
            backend: Backend::read(annotations),
            proxy_protocol: proxy_protocol::ToPods::read(annotations),
            observability: Observability::read(annotations),
            canary: CanaryRules::read(annotations),
            aliases: ServerAliases::read(annotations),
            termination: IngressTermination::read(annotations),
            https_record: HttpsRecord::read(annotations),
            destination_ca: termination::destination_ca(annotations),
        }
    }

    /// The Secrets that it names, all in the object's namespace.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let of_users = self.authentication.basic.iter().map(|basic| &*basic.secret);
        let of_clients = self.client_certificates.guard.iter().filter_map(|guard| guard.secret.as_deref());
        let of_pods = self.backend.secret.iter().filter_map(|secret| secret.as_deref());
        of_users.chain(of_clients).chain(of_pods).chain(self.destination_ca.as_deref())
    }

    /// What holds of it where the proxy sees connections and nothing of requests.
    pub(crate) fn of_connections(&self) -> Self {
        let Self { balance, authentication, health, timeouts, access, rate, proxy_protocol, .. } = self.clone();
        let (client_certificates, aliases) = (self.client_certificates.clone(), self.aliases.clone());
        Self {
            balance,
            authentication,
            client_certificates,
            health,
            timeouts,
            access,
            rate,
            proxy_protocol,
            aliases,
            ..Self::default()
        }
    }

    /// This policy of a main rule for what its canary answers: the canary's own word counts for the choice of its pods, and
    /// where the main rule has no affinity or the canary does not keep to it, for that too.
    pub(crate) fn for_canary(&self, canary: &Self) -> Self {
        let sticky = canary.canary.as_ref().is_none_or(|rules| rules.sticky);
        let (first, second) = if sticky { (self, canary) } else { (canary, self) };
        let affinity = if first.affinity.cookie.is_some() { first } else { second }.affinity.clone();
        let algorithm = canary.balance.algorithm.as_ref().or(self.balance.algorithm.as_ref()).cloned();
        Self { balance: Balance { algorithm, ..self.balance.clone() }, affinity, ..self.clone() }
    }
}

fn miss_policy(text: &str) -> Result<MissPolicy, String> {
    let known = MissPolicy::ALL.into_iter().find(|policy| policy.as_str() == text);
    known.ok_or_else(|| "is not one of redirect, reject, relay".into())
}
