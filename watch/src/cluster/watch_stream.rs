//! Watches: a selection and a version flow in, or none for a list that goes on as a watch; events flow out, decoded line by line.
//! `cluster` calls it; it does not retry.

use super::failure::{Asked, Failure};
use super::pulse::Pulse;
use super::request::{Decoded, decode, next_chunk, open, path};
use super::split;
use crate::backoff::spread;
use crate::limits::{ITEM_BYTES, STREAMED_LIST_SILENCE, WATCH_GRACE, WATCH_TIMEOUT, WATCH_TIMEOUT_SPREAD};
use crate::{Kind, ObjectKey, Selection};
use kube::Client;
use kube::api::WatchParams;
use kube::client::Body;
use kube::core::{Request, Status};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// One event of a watch.
#[derive(Debug)]
pub(super) enum WatchEvent {
    /// `ADDED` or `MODIFIED`.
    Put(Box<Decoded>),
    /// `DELETED`: what, and the version of its end.
    Gone(ObjectKey, String),
    /// `BOOKMARK`: everything up to this version was sent.
    Bookmark {
        version: String,
        /// Whether these were all objects that there were when the watch began.
        ends_list: bool,
    },
}

impl WatchEvent {
    /// The version up to which the watch has come with it.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Put(decoded) => match &**decoded {
                Ok(object) => &object.metadata().resource_version,
                Err(undecodable) => &undecodable.version,
            },
            Self::Gone(_, version) | Self::Bookmark { version, .. } => version,
        }
    }
}

/// A watch that the server has accepted.
pub(super) struct WatchStream {
    body: Body,
    kind: Kind,
    asked: Asked,
    /// What came after the last whole line.
    rest: Vec<u8>,
    /// How much of it is known to hold no end of a line.
    searched: usize,
    patience: Duration,
    pulse: Pulse,
    bytes: u64,
}

impl WatchStream {
    /// Watches from a version on.
    pub(super) async fn open(
        client: &Client,
        pulse: &Pulse,
        selection: &Selection,
        version: &str,
    ) -> Result<Self, Failure> {
        Self::begin(client, pulse, selection, version, false).await
    }

    /// Asks for a list and what comes after it in one stream.
    ///
    /// # Errors
    /// [`Failure::NotStreamed`] where the server does not offer that.
    pub(super) async fn open_list(client: &Client, pulse: &Pulse, selection: &Selection) -> Result<Self, Failure> {
        match Self::begin(client, pulse, selection, "", true).await {
            // What servers without the feature say.
            Err(Failure::Other { code: 400 | 422, message }) => Err(Failure::NotStreamed(message)),
            begun => begun,
        }
    }

    async fn begin(
        client: &Client,
        pulse: &Pulse,
        selection: &Selection,
        version: &str,
        list: bool,
    ) -> Result<Self, Failure> {
        let timeout = WATCH_TIMEOUT + spread(WATCH_TIMEOUT_SPREAD);
        let params = WatchParams {
            label_selector: selection.labels.clone(),
            field_selector: selection.fields.clone(),
            timeout: Some(u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            send_initial_events: list,
        };
        let asked = Asked::new("watch", selection);
        let request = Request::new(path(selection)).watch(&params, version).map_err(kube::Error::BuildRequest)?;
        let body = open(client, pulse, request, &asked).await?;
        let patience = if list { STREAMED_LIST_SILENCE } else { timeout + WATCH_GRACE };
        let pulse = pulse.clone();
        Ok(Self { body, kind: selection.kind, asked, rest: Vec::new(), searched: 0, patience, pulse, bytes: 0 })
    }

    /// From now on the stream may be silent as long as any watch.
    pub(super) fn listed(&mut self) {
        self.patience = WATCH_TIMEOUT + WATCH_TIMEOUT_SPREAD + WATCH_GRACE;
    }

    /// Bytes that came since this was asked last.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// The next event; `None` when the watch has ended. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Option<WatchEvent>, Failure> {
        loop {
            if let Some(length) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=self.searched + length).collect();
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return self.read(&line).map(Some);
            }
            self.searched = self.rest.len();
            if self.searched > ITEM_BYTES {
                return Err(Failure::Garbled(format!("an event of more than {ITEM_BYTES} bytes")));
            }
            match next_chunk(&mut self.body, &self.pulse, self.patience).await {
                Ok(Some(chunk)) => {
                    self.bytes += chunk.len() as u64;
                    self.rest.extend_from_slice(&chunk);
                }
                Ok(None) => return Ok(None),
                // A connection that breaks ends the watch; whether the server is lost shows when it is resumed.
                Err(Failure::Cut(cut)) => {
                    tracing::debug!(error = cut, "a watch was cut");
                    return Ok(None);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn read(&self, line: &[u8]) -> Result<WatchEvent, Failure> {
        let no_event = || Failure::Garbled("a line that is no watch event".to_owned());
        let (kind, object) = split::event(line).ok_or_else(no_event)?;
        match kind {
            b"ADDED" | b"MODIFIED" => Ok(WatchEvent::Put(Box::new(decode(self.kind, object)))),
            b"DELETED" => {
                let seen: Peek = serde_json::from_slice(object).map_err(kube::Error::SerdeError)?;
                let key = ObjectKey::new(self.kind, &seen.metadata.namespace, &seen.metadata.name);
                Ok(WatchEvent::Gone(key, seen.metadata.resource_version))
            }
            b"BOOKMARK" => {
                let seen: Peek = serde_json::from_slice(object).map_err(kube::Error::SerdeError)?;
                let annotations = seen.metadata.annotations.unwrap_or_default();
                let ends_list = annotations.get("k8s.io/initial-events-end").is_some_and(|value| value == "true");
                Ok(WatchEvent::Bookmark { version: seen.metadata.resource_version, ends_list })
            }
            b"ERROR" => {
                let status: Status = serde_json::from_slice(object).map_err(kube::Error::SerdeError)?;
                Err(Failure::of_status(&status, self.asked.clone(), None))
            }
            _ => Err(no_event()),
        }
    }
}

/// What is read of an object that is gone, or of a bookmark.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Peek {
    metadata: PeekMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PeekMetadata {
    name: String,
    namespace: String,
    resource_version: String,
    annotations: Option<BTreeMap<String, String>>,
}
