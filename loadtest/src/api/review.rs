//! Questions that are created and never stored: a TokenReview or an access review flows in, the same with its status flows out, as
//! the accounts and rules of the server have it. `http` calls it.

use super::access::{Access, Asked, User};
use super::error::ApiError;
use super::object::text;
use super::registry::Registry;
use super::request::ObjectPath;
use serde_json::{Value, json};

/// A user of the cluster from outside, whom its own rules need not know.
#[derive(Clone, Debug)]
pub struct Account {
    /// The bearer token that says who it is.
    pub token: String,
    /// The user's name.
    pub user: String,
    /// What the user may: `get route.openshift.io/routers/metrics`, or `get /metrics`. On a server with rules these count instead.
    pub may: Vec<String>,
}

/// Whether a path is that of a question.
pub(crate) fn is_review(path: &ObjectPath) -> bool {
    let known = [
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ];
    path.version == "v1" && known.contains(&(path.group.as_str(), path.plural.as_str()))
}

/// Answers a question of `who`.
pub(crate) fn review(
    access: &Access,
    registry: &Registry,
    who: &User,
    path: &ObjectPath,
    mut asked: Value,
) -> Result<Value, ApiError> {
    let missing = |field: &str| ApiError::new(422, "Invalid", format!("{field}: Required value"));
    let status = if path.plural == "tokenreviews" {
        let token = text(&asked, "spec.token");
        if token.is_empty() {
            return Err(missing("spec.token"));
        }
        match access.holder(registry, token) {
            Some(User { name, uid, groups }) => json!({
                "authenticated": true,
                "user": { "username": name, "uid": uid, "groups": groups },
            }),
            None => json!({ "user": {}, "error": "invalid bearer token" }),
        }
    } else {
        let subject = if path.plural == "selfsubjectaccessreviews" { who.clone() } else { Access::subject(&asked) };
        if subject.name.is_empty() {
            return Err(missing("spec.user"));
        }
        let wanted = Asked::of_review(&asked).ok_or_else(|| missing("spec.resourceAttributes"))?;
        json!({ "allowed": access.may(registry, &subject, &wanted) })
    };
    asked["status"] = status;
    Ok(asked)
}
