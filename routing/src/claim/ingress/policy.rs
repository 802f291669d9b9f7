//! The policy of an Ingress: its annotations flow in, what of them counts flows out. Those that have no effect on a canary, or
//! where connections are passed through, are told.

use crate::annotation::Annotations;
use crate::policy::termination::{DESTINATION_CA, IngressTermination, TERMINATION};
use crate::policy::{Policy, Redirects, Rewrite};

/// What the annotations say, as far as it counts.
pub(super) fn read(annotations: &mut Annotations<'_>) -> Policy {
    let policy = Policy::read(annotations);
    if policy.canary.is_some() {
        annotations.void_all_but(&OF_CANARIES, "has no effect on a canary: what the main rule says counts");
        // Its paths are those of the main rule, and so is the place where TLS ends.
        return Policy { rewrite: Rewrite::default(), termination: None, redirects: Redirects::default(), ..policy };
    }
    if policy.destination_ca.is_some() && policy.termination != Some(IngressTermination::Reencrypt) {
        annotations.problem(DESTINATION_CA, "has an effect only with the termination reencrypt");
    }
    if policy.termination != Some(IngressTermination::Passthrough) {
        return policy;
    }
    let termination = policy.termination;
    let redirects = Redirects { https: policy.redirects.https, ..Redirects::default() };
    let destination_ca = policy.destination_ca.clone();
    let rest = Policy { termination, destination_ca, redirects, ..policy.of_connections() };
    if rest != policy {
        let message = "passthrough: annotations about requests have no effect, because nothing of a request is seen";
        annotations.problem(TERMINATION, message);
    }
    rest
}

/// The annotations that count on a canary, after their prefix.
const OF_CANARIES: [&str; 28] = [
    "canary",
    "canary-by-header",
    "canary-by-header-value",
    "canary-by-header-pattern",
    "canary-by-cookie",
    "canary-weight",
    "canary-weight-total",
    "affinity-canary-behavior",
    "hash-by",
    "balance",
    "upstream-hash-by",
    "load-balance",
    "affinity",
    "affinity-mode",
    "disable_cookies",
    "cookie-name",
    "cookie_name",
    "cookie-same-site",
    "cookie-secure",
    "cookie-path",
    "cookie-max-age",
    "session-cookie-name",
    "session-cookie-samesite",
    "session-cookie-secure",
    "session-cookie-path",
    "session-cookie-max-age",
    "session-cookie-expires",
    "server-alias",
];
