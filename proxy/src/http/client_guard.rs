//! Client certificates that a host asks for by rules of its own: what the connection has shown and what the host demands flow
//! in, an answer of our own or what the pod is told flows out. Asked by `decision`, and by `upstream_header` for the fields.

use super::answer::{Answer, BAD_CERTIFICATE, NO_CERTIFICATE};
use super::context::RequestContext;
use super::fields::{Fields, dashed};
use super::request::RequestTarget;
use crate::options::TlsConfig;
use crate::state::State;
use crate::tls::Presented;
use crate::tls::host_authority::Verification;
use http::{HeaderName, HeaderValue};
use nearside_routing::Decision;
use nearside_routing::policy::client_certificate::{ClientGuard, Demand};
use std::sync::Arc;
use std::time::Instant;

/// What a pod is told of the client's certificate.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    verify: HeaderValue,
    subject: Option<HeaderValue>,
    issuer: Option<HeaderValue>,
    certificate: Option<HeaderValue>,
}

/// The answer to a request over TLS whose client has not shown what the host demands. Otherwise notes what the pod is told.
pub(super) fn refuse(
    state: &Arc<State>,
    decision: &Decision<'_>,
    target: &RequestTarget<'_>,
    ctx: &mut RequestContext,
) -> Option<Answer> {
    let route = match decision {
        Decision::Serve(route) | Decision::RedirectToHttps(route) => Some(*route),
        Decision::NoRoute => None,
    };
    for clients in state.routes().guards(&target.host, route.map(Arc::as_ref)) {
        let Some(authority) = state.certificates.authority(clients) else { return Some(Answer::unguarded()) };
        let presented = ctx.connection.as_ref().and_then(|connection| connection.presented.get());
        let Some(presented) = presented else { return Some(Answer::certificate_not_asked()) };
        let guard = &clients.guard;
        let verification = presented.verify(authority, guard.depth, Instant::now());
        if let Some(reason) = refused(guard.demand, &verification) {
            return Some(error_page(guard, target).unwrap_or_else(|| Answer::certificate_needed(reason)));
        }
        if !has_subject(guard, presented) {
            return Some(Answer::certificate_refused());
        }
        let pass = route.is_some_and(|route| route.policy.client_certificates.pass);
        // The host that the client names comes first.
        ctx.shown.get_or_insert_with(|| Shown::of(presented, &verification, pass));
    }
    None
}

fn refused(demand: Demand, verification: &Verification) -> Option<&'static str> {
    match (verification, demand) {
        (Verification::None, Demand::Required) => Some(NO_CERTIFICATE),
        (Verification::None, Demand::Optional | Demand::OptionalOfAnyCa) | (Verification::Success, _) => None,
        (Verification::Failed { unknown_ca: true, .. }, Demand::OptionalOfAnyCa) => None,
        (Verification::Failed { .. }, _) => Some(BAD_CERTIFICATE),
    }
}

/// Where the object sends those that are not let in; not from that place to itself.
fn error_page(guard: &ClientGuard, target: &RequestTarget<'_>) -> Option<Answer> {
    let page = guard.error_page.as_deref()?;
    let path = page.split(['?', '#']).next().unwrap_or_default();
    let own = format!("https://{}{}", target.host, String::from_utf8_lossy(target.path));
    if path.as_bytes() == target.path || path == own {
        return None;
    }
    let mut answer = Answer::stated_redirect(302, HeaderValue::from_str(page).ok());
    answer.reason = BAD_CERTIFICATE;
    Some(answer)
}

fn has_subject(guard: &ClientGuard, presented: &Presented) -> bool {
    let Some(pattern) = &guard.subject else { return true };
    presented.leaf().is_some_and(|leaf| leaf.common_names.iter().any(|name| pattern.is_match(name)))
}

/// Removes what a client says of certificates in these fields, in any spelling, and says what was verified.
pub(super) fn write(tls: &TlsConfig, shown: Option<&Shown>, header: &mut impl Fields) {
    if shown.is_some() || tls.header_filter {
        let is_told = |name: &&HeaderName| dashed(name).as_deref().unwrap_or(name.as_str()).starts_with(PREFIX);
        let told: Vec<HeaderName> = header.all().keys().filter(is_told).cloned().collect();
        told.iter().for_each(|name| header.remove(name));
    }
    let Some(shown) = shown else { return };
    header.set(&VERIFY, shown.verify.clone());
    let fields = [(SUBJECT, &shown.subject), (ISSUER, &shown.issuer), (CERTIFICATE, &shown.certificate)];
    for (name, value) in fields {
        if let Some(value) = value {
            header.set(&name, value.clone());
        }
    }
}

impl Shown {
    fn of(presented: &Presented, verification: &Verification, pass: bool) -> Self {
        let verify = match verification {
            Verification::None => HeaderValue::from_static("NONE"),
            Verification::Success => HeaderValue::from_static("SUCCESS"),
            Verification::Failed { reason, .. } => HeaderValue::from_str(&format!("FAILED:{reason}"))
                .unwrap_or_else(|_| HeaderValue::from_static("FAILED")),
        };
        let leaf = presented.leaf();
        Self {
            verify,
            subject: leaf.map(|leaf| leaf.subject.clone()),
            issuer: leaf.map(|leaf| leaf.issuer.clone()),
            certificate: pass.then(|| presented.escaped_pem()).flatten(),
        }
    }
}

const PREFIX: &str = "ssl-client-";
const VERIFY: HeaderName = HeaderName::from_static("ssl-client-verify");
const SUBJECT: HeaderName = HeaderName::from_static("ssl-client-subject-dn");
const ISSUER: HeaderName = HeaderName::from_static("ssl-client-issuer-dn");
const CERTIFICATE: HeaderName = HeaderName::from_static("ssl-client-cert");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_demand_lets_in_what_it_says() {
        let failed = |unknown_ca| Verification::Failed { reason: "", unknown_ca };
        let cases = [
            (Verification::None, [true, false, false]),
            (Verification::Success, [false, false, false]),
            (failed(true), [true, true, false]),
            (failed(false), [true, true, true]),
        ];
        for (verification, expected) in cases {
            let demands = [Demand::Required, Demand::Optional, Demand::OptionalOfAnyCa];
            let refusals = demands.map(|demand| refused(demand, &verification).is_some());
            assert_eq!(refusals, expected, "{verification:?}");
        }
    }
}
