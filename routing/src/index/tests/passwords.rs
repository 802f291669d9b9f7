//! Secrets that objects name for passwords: who is let in follows the Secret, and what is wrong is told.

use super::with_annotation;
use crate::index::{Change, Index, Snapshot};
use crate::object::{Kind, ObjectKey};
use crate::table::Scheme;
use crate::testing::{CLASS, apply, config, ingress, route, rule};
use crate::verdict::{Outcome, Reason};
use crate::{Decision, NormalPath};
use std::collections::BTreeSet;

fn guarded(yaml: &str) -> String {
    let typed = with_annotation(yaml, "nginx.ingress.kubernetes.io/auth-type", "basic");
    typed.replace("annotations: {", "annotations: {nginx.ingress.kubernetes.io/auth-secret: users, ")
}

fn users(kind: &str, text: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{namespace: ns, name: users}}\ntype: {kind}\nstringData: {{auth: '{text}'}}\n"
    )
}

/// Whether the host knows a user, and whether the object is told of its Secret; `None` where nobody can be let in.
fn seen(snapshot: &Snapshot, kind: Kind, user: &str) -> (Option<bool>, bool) {
    let found = snapshot.routes.find(Scheme::Http, "x.d.test", &NormalPath::parse("/").unwrap());
    let Decision::Serve(route) = found.decision else { panic!("{found:?}") };
    assert!(route.policy.authentication.is_demanded());
    let verdict = &snapshot.verdicts[&ObjectKey::new(kind, "ns", "web")];
    assert_eq!(verdict.outcome, Outcome::Admitted);
    let told = verdict.problems.iter().any(|problem| problem.reason == Reason::CredentialsNotUsable);
    (route.credentials.as_ref().map(|credentials| credentials.hash(user).is_some()), told)
}

#[test]
fn who_is_let_in_follows_the_secret_of_passwords() {
    let rules = format!("rules: [{}]", rule("x.d.test", &[("Prefix", "/", "web"), ("Exact", "/a", "web")]));
    for (kind, object) in
        [(Kind::Ingress, ingress("ns", "web", 1, &rules)), (Kind::Route, route("ns", "web", 1, "host: x.d.test"))]
    {
        let mut index = Index::new(config());
        apply(&mut index, &(CLASS.to_owned() + &guarded(&object)));
        let key = ObjectKey::new(Kind::Secret, "ns", "users");
        assert_eq!(index.take_named_secrets(), Some([key.clone()].into()));
        assert_eq!(index.take_named_secrets(), None, "as before");
        let mut after = |yaml: &str, user| {
            apply(&mut index, yaml);
            seen(&index.publish(), kind, user)
        };
        assert_eq!(after("", "ann"), (None, true));
        let line = |user: &str| format!("{user}:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=");
        assert_eq!(after(&users("Opaque", &line("ann")), "ann"), (Some(true), false));
        assert_eq!(after(&users("Opaque", &line("bob")), "ann"), (Some(false), false));
        assert_eq!(after(&users("Opaque", "ann:secret"), "ann"), (None, true));
        assert_eq!(after(&users("Opaque", &line("ann")), "ann"), (Some(true), false));
        assert_eq!(
            after(&users("kubernetes.io/tls", &line("ann")), "ann"),
            (None, true),
            "certificates are no passwords"
        );
        assert_eq!(after(&users("Opaque", &line("ann")), "ann"), (Some(true), false));
        index.apply(Change::Delete(key));
        assert_eq!(seen(&index.publish(), kind, "ann"), (None, true));
        index.apply(Change::Delete(ObjectKey::new(kind, "ns", "web")));
        assert_eq!(index.take_named_secrets(), Some(BTreeSet::new()));
    }
}
