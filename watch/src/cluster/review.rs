//! Asks the API server about readers of an admin port: a token flows in, whether its user may read metrics flows out. As the
//! OpenShift router asks: TokenReview says who it is (`authentication.k8s.io/v1`), SubjectAccessReview what they may
//! (`authorization.k8s.io/v1`).

use super::failure::Failure;
use super::request::within;
use crate::limits::REVIEW_TIMEOUT;
use crate::{ClusterConfig, Source};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

/// The API server cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} cannot be created: {why}. The program needs the verb create on it (deploy/manifests/admin-tokens.yaml)"
)]
pub struct ReviewError {
    what: &'static str,
    why: String,
}

/// Asks the cluster of a source about tokens; `None` for manifests. A question gives whether the user of a token may `get`
/// `routers/metrics` of `route.openshift.io`, or the path `/metrics`; `None` where the cluster does not know the token.
pub fn token_reviews(source: &Source) -> Option<TokenReviews> {
    match source {
        Source::Cluster(cluster) => {
            let reviews = Reviews::of(cluster);
            Some(Box::new(move |token| {
                let reviews = reviews.clone();
                async move { reviews.may_read_metrics(&token).await }.boxed()
            }))
        }
        Source::Feed(feed) => {
            let feed = feed.clone();
            Some(Box::new(move |token| {
                let feed = feed.clone();
                async move { feed.review(token).await.map_err(|why| ReviewError { what: "TokenReview", why }) }.boxed()
            }))
        }
        Source::Manifests(_) => None,
    }
}

/// Asks about a token.
pub type TokenReviews = Box<dyn Fn(String) -> Asked + Send + Sync>;

/// An answer on its way.
pub type Asked = BoxFuture<'static, Result<Option<bool>, ReviewError>>;

#[derive(Clone)]
pub(crate) struct Reviews {
    client: Client,
}

impl Reviews {
    pub(crate) fn of(cluster: &ClusterConfig) -> Self {
        Self { client: cluster.watcher.clone() }
    }

    pub(crate) async fn may_read_metrics(&self, token: &str) -> Result<Option<bool>, ReviewError> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": { "token": token },
        });
        let reviewed: TokenStatus =
            self.create("TokenReview", "/apis/authentication.k8s.io/v1/tokenreviews", &review).await?;
        let Some(user) = reviewed.user.filter(|_| reviewed.authenticated) else { return Ok(None) };
        let routers = json!({
            "verb": "get", "group": "route.openshift.io", "resource": "routers", "subresource": "metrics",
        });
        let path = json!({ "verb": "get", "path": "/metrics" });
        for (kind, attributes) in [("resourceAttributes", routers), ("nonResourceAttributes", path)] {
            let mut spec = json!({
                "user": user.username, "groups": user.groups, "uid": user.uid, "extra": user.extra,
            });
            spec[kind] = attributes;
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec,
            });
            let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
            let status: AccessStatus = self.create("SubjectAccessReview", path, &review).await?;
            if status.allowed {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    async fn create<S: for<'s> Deserialize<'s>>(
        &self,
        what: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<S, ReviewError> {
        let refused = |why: String| ReviewError { what, why };
        let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string().into_bytes()).map_err(|error| refused(error.to_string()))?;
        // Not `Client::request`: it logs the whole text, the token included, when it cannot read it.
        let text = within(REVIEW_TIMEOUT, self.client.request_text(request))
            .await
            .map_err(|failure: Failure| refused(failure.to_string()))?;
        let review: Review<S> = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        Ok(review.status)
    }
}

#[derive(Deserialize)]
struct Review<S> {
    status: S,
}

#[derive(Deserialize)]
struct TokenStatus {
    #[serde(default)]
    authenticated: bool,
    user: Option<User>,
}

#[derive(Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: Value,
}

impl Default for User {
    fn default() -> Self {
        Self { username: String::new(), uid: String::new(), groups: Vec::new(), extra: json!({}) }
    }
}

#[derive(Deserialize)]
struct AccessStatus {
    #[serde(default)]
    allowed: bool,
}
