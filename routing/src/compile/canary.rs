//! Canaries of one host: the rules that are served and the claims of canaries flow in, each canary is put beside its main
//! rule or told why not.

use super::CompiledHost;
use crate::claim::Claim;
use crate::object::Kind;
use crate::path::PathRule;
use crate::table::{Canary, CompiledRoute, Termination};
use crate::verdict::{Problem, Reason};
use std::sync::Arc;

/// Puts canaries beside the rules of the same path, those of older objects first: a rule has one. Only an Ingress of the
/// rule's own namespace can be one.
pub(super) fn attach(routes: &mut [Arc<CompiledRoute>], mut canaries: Vec<(usize, &Claim)>, out: &mut CompiledHost) {
    canaries.sort_by(|(_, a), (_, b)| (&a.age, &a.route.source).cmp(&(&b.age, &b.route.source)));
    for (place, claim) in canaries {
        let main = routes.iter_mut().find(|route| is_main(route, claim));
        if let Err((reason, message)) = stand_beside(main, claim) {
            out.reject(claim, place, Problem::new(claim.field.clone(), reason, message));
        }
    }
}

fn stand_beside(main: Option<&mut Arc<CompiledRoute>>, claim: &Claim) -> Result<(), (Reason, String)> {
    let Some(main) = main else {
        let message =
            "there is no main rule for this host and path in this namespace that the canary could stand beside";
        return Err((Reason::RouteNotAdmitted, message.into()));
    };
    if main.termination == Termination::Passthrough {
        let message = "the connections of this host are passed through; a canary needs to see requests";
        return Err((Reason::RouteNotAdmitted, message.into()));
    }
    if let Some(canary) = &main.canary {
        let message = format!("ingress {} is the canary of this rule already and is older", canary.route.source.name);
        return Err((Reason::HostAlreadyClaimed, message));
    }
    let Some(rules) = &claim.route.policy.canary else { return Ok(()) };
    // What is wrong with its backend was told; it answers nothing then.
    if claim.route.backends.is_empty() {
        return Ok(());
    }
    let route = CompiledRoute {
        source: claim.route.source.clone(),
        backends: claim.route.backends.clone(),
        policy: Arc::new(main.policy.for_canary(&claim.route.policy)),
        ..CompiledRoute::clone(main)
    };
    let canary = Canary { rules: rules.clone(), route: Arc::new(route) };
    *main = Arc::new(CompiledRoute { canary: Some(Arc::new(canary)), ..CompiledRoute::clone(main) });
    Ok(())
}

fn is_main(route: &CompiledRoute, canary: &Claim) -> bool {
    let written = canary.canary.as_ref().and_then(|canary| canary.written.as_deref());
    let same_path = match &route.path {
        PathRule::Regex(regex) if written.is_some() => written == Some(regex.as_str()),
        path => *path == canary.route.path,
    };
    same_path && route.source.kind == Kind::Ingress && *route.source.namespace == *canary.namespace()
}
