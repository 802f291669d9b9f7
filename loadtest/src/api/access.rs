//! Who asks, and whether they may: the head of a request flows in, a user or a refusal flows out. `http` asks before every answer,
//! `review` for those who ask about others. Without rules everybody may do everything, as in a server that authorizes `AlwaysAllow`.

mod rules;
mod tokens;

pub(crate) use rules::Asked;

use super::clock;
use super::error::{ApiError, Cause};
use super::kinds::ResourceKind;
use super::object::{Key, meta_text, text};
use super::registry::Registry;
use super::review::Account;
use serde_json::{Value, json};
use std::time::Duration;
use tokens::{Holder, Tokens};

/// A user, as authentication makes it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
}

/// What a server knows of its users.
#[derive(Debug)]
pub(crate) struct Access {
    /// Whether what is not allowed by a Role or ClusterRole is refused.
    pub(crate) rbac: bool,
    /// The token of the administrator; without rules it is the one that everybody must show, if there is any.
    pub(crate) token: Option<String>,
    /// Users from outside, for reviews.
    pub(crate) accounts: Vec<Account>,
    pub(crate) issued: Tokens,
}

impl Access {
    pub(crate) fn new(rbac: bool, token: Option<String>, accounts: Vec<Account>) -> Self {
        Self { rbac, token, accounts, issued: Tokens::default() }
    }

    /// Whose request this is, by the value of its `Authorization` field (empty when it has none).
    pub(crate) fn authenticate(&self, registry: &Registry, authorization: &str) -> Result<User, ApiError> {
        let unauthorized = || ApiError::new(401, "Unauthorized", "Unauthorized");
        let token = authorization.strip_prefix("Bearer ");
        if !self.rbac {
            let is_open = self.token.is_none() || self.token.as_deref() == token;
            return if is_open { Ok(administrator()) } else { Err(unauthorized()) };
        }
        match token {
            None if authorization.is_empty() => Ok(User {
                name: "system:anonymous".to_owned(),
                uid: String::new(),
                groups: vec!["system:unauthenticated".to_owned()],
            }),
            None => Err(unauthorized()),
            Some(token) => self.holder(registry, token).ok_or_else(unauthorized),
        }
    }

    /// The user that a token stands for.
    pub(crate) fn holder(&self, registry: &Registry, token: &str) -> Option<User> {
        if self.rbac && self.token.as_deref() == Some(token) {
            return Some(administrator());
        }
        if let Some(account) = self.accounts.iter().find(|account| account.token == token) {
            let groups = vec![AUTHENTICATED.to_owned()];
            return Some(User { name: account.user.clone(), uid: account.user.clone(), groups });
        }
        let Holder { namespace, name, uid } = self.issued.holder(token)?;
        // A token goes with its account; one of the same name that was made anew is another.
        let kind = registry.kinds.by_type("v1", "ServiceAccount")?;
        let account = registry.get(&kind, &Key::new(namespace.as_str(), name.as_str())).ok()?;
        (meta_text(&account, "uid") == uid).then(|| User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid,
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                AUTHENTICATED.to_owned(),
            ],
        })
    }

    /// 403 when no rule allows it.
    pub(crate) fn authorize(&self, registry: &Registry, user: &User, asked: &Asked) -> Result<(), ApiError> {
        if !self.rbac || self.may(registry, user, asked) { Ok(()) } else { Err(asked.refused(&user.name)) }
    }

    /// Whether some rule allows it.
    pub(crate) fn may(&self, registry: &Registry, user: &User, asked: &Asked) -> bool {
        if user.groups.iter().any(|group| group == "system:masters") || rules::everybody(user).allows(asked) {
            return true;
        }
        if !self.rbac {
            let account = self.accounts.iter().find(|account| account.user == user.name);
            return account.is_some_and(|account| account.may.contains(&asked.to_string()));
        }
        rules::of(registry, user, asked.namespace()).allows(asked)
    }

    /// `create serviceaccounts/token`: a TokenRequest flows in, the same with a token flows out.
    pub(crate) fn issue(
        &self,
        registry: &Registry,
        kind: &ResourceKind,
        key: &Key,
        mut request: Value,
    ) -> Result<Value, ApiError> {
        let account = registry.get(kind, key)?;
        let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_SECONDS);
        if seconds < LEAST_SECONDS {
            let detail = "may not specify a duration less than 10 minutes";
            let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), detail);
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
        let lifetime = Duration::from_secs(seconds);
        let uid = meta_text(&account, "uid").to_owned();
        let holder = Holder { namespace: key.namespace.clone(), name: key.name.clone(), uid };
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        request["metadata"] = json!({"name": key.name, "namespace": key.namespace, "creationTimestamp": clock::now()});
        request["spec"]["expirationSeconds"] = json!(seconds);
        request["status"] = json!({
            "token": self.issued.issue(holder, lifetime),
            "expirationTimestamp": clock::now_plus(lifetime),
        });
        Ok(request)
    }

    /// The user that a SubjectAccessReview asks about.
    pub(crate) fn subject(asked: &Value) -> User {
        let groups = asked.pointer("/spec/groups").and_then(Value::as_array).into_iter().flatten();
        User {
            name: text(asked, "spec.user").to_owned(),
            uid: text(asked, "spec.uid").to_owned(),
            groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
        }
    }
}

/// Who may do everything.
fn administrator() -> User {
    let groups = ["system:masters", AUTHENTICATED].map(str::to_owned).to_vec();
    User { name: "kubernetes-admin".to_owned(), uid: String::new(), groups }
}

const AUTHENTICATED: &str = "system:authenticated";

/// How long a token lasts that does not say, and the shortest that may be asked for (TokenRequest).
const DEFAULT_SECONDS: u64 = 3600;
const LEAST_SECONDS: u64 = 600;
