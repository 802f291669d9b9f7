//! List and watch requests: a selection flows in, pages and events as JSON flow out. `cluster` calls it; it neither
//! decodes nor retries.

use super::failure::Failure;
use crate::backoff::spread;
use crate::limits::{PAGE_SIZE, REQUEST_TIMEOUT, SECRET_PAGE_SIZE, WATCH_GRACE, WATCH_TIMEOUT, WATCH_TIMEOUT_SPREAD};
use crate::{Kind, Selection};
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::{self, Request};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A list on its way, page by page.
pub(super) struct Listing {
    request: Request,
    params: ListParams,
    version: Option<String>,
    done: bool,
}

impl Listing {
    pub(super) fn new(selection: &Selection) -> Self {
        let params = ListParams {
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            limit: Some(if selection.kind == Kind::Secret { SECRET_PAGE_SIZE } else { PAGE_SIZE }),
            ..ListParams::default()
        };
        Self { request: Request::new(path(selection)), params, version: None, done: false }
    }

    /// The next page; `None` after the last one.
    pub(super) async fn next_page(&mut self, client: &Client) -> Result<Option<Vec<Value>>, Failure> {
        if self.done {
            return Ok(None);
        }
        let request = self.request.list(&self.params).map_err(kube::Error::BuildRequest)?;
        // Not `Client::request`: it logs the whole text, Secrets included, when it cannot read it.
        let text = within(REQUEST_TIMEOUT, client.request_text(request)).await?;
        let page: Page = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        self.params.continue_token = page.metadata.continue_token.filter(|token| !token.is_empty());
        self.done = self.params.continue_token.is_none();
        self.version = page.metadata.resource_version.or_else(|| self.version.take());
        Ok(Some(page.items.unwrap_or_default()))
    }

    /// The version to watch from.
    pub(super) fn into_version(self) -> Result<String, Failure> {
        self.version
            .filter(|version| !version.is_empty())
            .ok_or_else(|| Failure::Other("a list without metadata.resourceVersion".into()))
    }
}

/// One event of a watch.
pub(super) enum WatchEvent {
    /// `ADDED` or `MODIFIED`.
    Put(Value),
    /// `DELETED`.
    Gone(Value),
    /// `BOOKMARK`: everything up to this version was sent.
    Bookmark(String),
}

/// A watch that the server has accepted.
pub(super) struct WatchStream {
    events: BoxStream<'static, Result<core::WatchEvent<Value>, kube::Error>>,
    patience: Duration,
}

impl WatchStream {
    pub(super) async fn open(client: &Client, selection: &Selection, version: &str) -> Result<Self, Failure> {
        let timeout = WATCH_TIMEOUT + spread(WATCH_TIMEOUT_SPREAD);
        let params = WatchParams {
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            timeout: Some(u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = Request::new(path(selection)).watch(&params, version).map_err(kube::Error::BuildRequest)?;
        let events = within(REQUEST_TIMEOUT, client.request_events::<Value>(request)).await?;
        Ok(Self { events: events.boxed(), patience: timeout + WATCH_GRACE })
    }

    /// The next event; `None` when the server has ended the watch.
    pub(super) async fn next(&mut self) -> Result<Option<WatchEvent>, Failure> {
        let Ok(event) = tokio::time::timeout(self.patience, self.events.next()).await else {
            return Err(Failure::Unreachable(format!("a watch was silent for {} s", self.patience.as_secs())));
        };
        let event = match event.transpose() {
            // A connection that breaks ends the watch; whether the server is lost shows when it is resumed.
            Err(kube::Error::ReadEvents(error)) => {
                tracing::debug!(%error, "a watch was cut");
                return Ok(None);
            }
            event => event?,
        };
        Ok(Some(match event {
            None => return Ok(None),
            Some(core::WatchEvent::Added(value) | core::WatchEvent::Modified(value)) => WatchEvent::Put(value),
            Some(core::WatchEvent::Deleted(value)) => WatchEvent::Gone(value),
            Some(core::WatchEvent::Bookmark(bookmark)) => WatchEvent::Bookmark(bookmark.metadata.resource_version),
            Some(core::WatchEvent::Error(status)) => return Err(Failure::of_status(&status)),
        }))
    }
}

/// `metadata.resourceVersion`.
pub(super) fn version_of(value: &Value) -> String {
    value.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Unreachable(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn path(selection: &Selection) -> String {
    let kind = selection.kind;
    let root = if kind.group().is_empty() { "/api" } else { "/apis" };
    let namespace = match &selection.namespace {
        Some(namespace) if kind.namespaced() => format!("namespaces/{namespace}/"),
        _ => String::new(),
    };
    format!("{root}/{}/{namespace}{}", kind.api_version(), kind.plural())
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    /// `null` where Go has an empty list.
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_falls_silent_is_given_up() {
        let patience = WATCH_TIMEOUT + WATCH_GRACE;
        let mut stream = WatchStream { events: futures::stream::pending().boxed(), patience };
        let began = tokio::time::Instant::now();
        assert!(matches!(stream.next().await, Err(Failure::Unreachable(_))));
        assert_eq!(began.elapsed().as_secs(), patience.as_secs());
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |selection: Selection| path(&selection);
        assert_eq!(path(Selection::all(Kind::Pod)), "/api/v1/pods");
        assert_eq!(path(Selection::all(Kind::Node).namespace("shop")), "/api/v1/nodes");
        assert_eq!(
            path(Selection::all(Kind::Route).namespace("shop")),
            "/apis/route.openshift.io/v1/namespaces/shop/routes"
        );
    }
}
