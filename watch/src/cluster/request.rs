//! Requests and lists in pages: a selection flows in, decoded objects flow out while the answer is still on its way. Each object
//! is cut out of the stream as text and trimmed at once; neither a page nor a tree of JSON is ever held. `cluster` calls it; it
//! does not retry.

use super::failure::{Asked, Failure};
use super::pulse::Pulse;
use super::split::{Items, TooLarge};
use crate::limits::{ERROR_BYTES, ITEM_BYTES, PAGE_SIZE, REQUEST_TIMEOUT, SECRET_PAGE_SIZE, STALL};
use crate::source::describe;
use crate::{Kind, Object, ObjectKey, Selection};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http_body_util::BodyExt;
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::{Request, Status};
use nearside_routing::object::DecodeError;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::time::Duration;

/// An object, or the key and version of one that cannot be decoded, and why.
pub(super) type Decoded = Result<Object, Box<Undecodable>>;

#[derive(Debug)]
pub(super) struct Undecodable {
    pub(super) key: ObjectKey,
    pub(super) version: String,
    pub(super) error: DecodeError,
}

/// A list on its way, page by page. It reads what is newest, of all servers of the cluster.
pub(super) struct Listing {
    request: Request,
    params: ListParams,
    kind: Kind,
    asked: Asked,
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
        let asked = Asked::new("list", selection);
        Self { request: Request::new(path(selection)), params, kind: selection.kind, asked, version: None, done: false }
    }

    /// Gives the objects of the next page, and its bytes; `None` after the last one.
    pub(super) async fn next_page(
        &mut self,
        client: &Client,
        pulse: &Pulse,
        mut take: impl FnMut(Decoded),
    ) -> Result<Option<u64>, Failure> {
        if self.done {
            return Ok(None);
        }
        let request = self.request.list(&self.params).map_err(kube::Error::BuildRequest)?;
        let mut body = open(client, pulse, request, &self.asked).await?;
        let (mut items, mut bytes) = (Items::default(), 0);
        while let Some(chunk) = next_chunk(&mut body, pulse, STALL).await? {
            bytes += chunk.len() as u64;
            let kind = self.kind;
            items
                .push(&chunk, |item| take(decode(kind, item)))
                .map_err(|TooLarge| Failure::Garbled(format!("an object of more than {ITEM_BYTES} bytes")))?;
        }
        let page: Page = serde_json::from_slice(&items.into_envelope()).map_err(kube::Error::SerdeError)?;
        self.params.continue_token = page.metadata.continue_token.filter(|token| !token.is_empty());
        self.done = self.params.continue_token.is_none();
        self.version = page.metadata.resource_version.or_else(|| self.version.take());
        Ok(Some(bytes))
    }

    /// The version to watch from.
    pub(super) fn into_version(self) -> Result<String, Failure> {
        self.version
            .filter(|version| !version.is_empty())
            .ok_or_else(|| Failure::Other { code: 0, message: "a list without metadata.resourceVersion".into() })
    }
}

/// Sends a request, and gives the body of an answer that is no error.
pub(super) async fn open(
    client: &Client,
    pulse: &Pulse,
    request: http::Request<Vec<u8>>,
    asked: &Asked,
) -> Result<Body, Failure> {
    let answered = pulse.alive(within(REQUEST_TIMEOUT, client.send(request.map(Body::from)))).await??;
    let (head, mut body) = answered.into_parts();
    if head.status.is_success() {
        return Ok(body);
    }
    // A proxy in between, or a path that is not there, answers with something else than a Status.
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = next_chunk(&mut body, pulse, STALL).await {
        text.extend_from_slice(&chunk);
        if text.len() > ERROR_BYTES {
            break;
        }
    }
    let mut status =
        serde_json::from_slice::<Status>(&text).ok().filter(|status| status.code != 0).unwrap_or_else(|| {
            let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().chars().take(200).collect();
            Status {
                message: line,
                reason: head.status.canonical_reason().unwrap_or_default().into(),
                ..Status::default()
            }
        });
    status.code = head.status.as_u16();
    let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failure::of_status(&status, asked.clone(), seconds.map(Duration::from_secs)))
}

/// The next bytes of a body; a connection that breaks is [`Failure::Cut`].
pub(super) async fn next_chunk(body: &mut Body, pulse: &Pulse, patience: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        let Ok(frame) = tokio::time::timeout(patience, pulse.alive(body.frame())).await else {
            return Err(Failure::Unreachable(format!("an answer was silent for {} s", patience.as_secs())));
        };
        match frame? {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Anything else are trailers, which say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(Failure::Cut(describe(&error))),
        }
    }
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

pub(super) fn decode(kind: Kind, text: &[u8]) -> Decoded {
    Object::decode_text(kind, text).map_err(|error| {
        // Read leniently: this object's metadata may be what is wrong with it.
        let value: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
        let text = |pointer| value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
        let key = ObjectKey::new(kind, text("/metadata/namespace"), text("/metadata/name"));
        Box::new(Undecodable { key, version: text("/metadata/resourceVersion").to_owned(), error })
    })
}

pub(super) fn path(selection: &Selection) -> String {
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
    /// Required, so that a document of another kind is not taken for an empty list.
    #[serde(rename = "items")]
    _items: IgnoredAny,
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
