//! Questions that are created and never stored: a TokenReview or a SubjectAccessReview flows in, the same with its status flows
//! out, as the accounts of the server have it. `http` calls it.

use super::error::ApiError;
use super::object::text;
use super::request::ObjectPath;
use serde_json::{Value, json};

/// A user of the cluster.
#[derive(Clone, Debug)]
pub struct Account {
    /// The bearer token that says who it is.
    pub token: String,
    /// The user's name.
    pub user: String,
    /// What the user may: `get route.openshift.io/routers/metrics`, or `get /metrics`.
    pub may: Vec<String>,
}

/// Whether a path is that of a question.
pub(crate) fn is_review(path: &ObjectPath) -> bool {
    let known = [("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")];
    path.version == "v1" && known.contains(&(path.group.as_str(), path.plural.as_str()))
}

/// Answers a question.
pub(crate) fn review(accounts: &[Account], path: &ObjectPath, mut asked: Value) -> Result<Value, ApiError> {
    let missing = |field: &str| ApiError::new(422, "Invalid", format!("{field}: Required value"));
    let status = if path.plural == "tokenreviews" {
        let token = text(&asked, "spec.token");
        if token.is_empty() {
            return Err(missing("spec.token"));
        }
        match accounts.iter().find(|account| account.token == token) {
            Some(account) => json!({
                "authenticated": true,
                "user": { "username": account.user, "uid": account.user, "groups": ["system:authenticated"] },
            }),
            None => json!({ "user": {}, "error": "invalid bearer token" }),
        }
    } else {
        let user = text(&asked, "spec.user");
        if user.is_empty() {
            return Err(missing("spec.user"));
        }
        let of = |attributes: &str, field: &str| text(&asked, &format!("spec.{attributes}.{field}")).to_owned();
        let action = if asked.pointer("/spec/resourceAttributes").is_some() {
            let part = |field| of("resourceAttributes", field);
            format!("{} {}/{}/{}", part("verb"), part("group"), part("resource"), part("subresource"))
        } else if asked.pointer("/spec/nonResourceAttributes").is_some() {
            let part = |field| of("nonResourceAttributes", field);
            format!("{} {}", part("verb"), part("path"))
        } else {
            return Err(missing("spec.resourceAttributes"));
        };
        let allowed = accounts.iter().any(|account| account.user == user && account.may.contains(&action));
        json!({ "allowed": allowed })
    };
    asked["status"] = status;
    Ok(asked)
}
