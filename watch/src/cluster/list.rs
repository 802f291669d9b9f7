//! One complete list of a selection: as a stream where the server offers that, else page by page. Objects flow in one by one;
//! the list, the version to watch from, and the stream that goes on after it flow out. Only `cluster` calls it.

use super::failure::Failure;
use super::request::{Decoded, Listing};
use super::watch_stream::{WatchEvent, WatchStream};
use super::{Cause, KindWatch};
use crate::limits::REQUEST_TIMEOUT;
use crate::{Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use tokio::time::timeout;

/// A complete list.
pub(super) struct Listed {
    pub(super) objects: Vec<Object>,
    /// Objects that exist but cannot be decoded.
    pub(super) kept: Vec<ObjectKey>,
    /// The version to watch from.
    pub(super) version: String,
    /// The watch that goes on from there.
    pub(super) stream: Option<WatchStream>,
}

/// Which API groups do not stream lists: each may be served by another server.
#[derive(Debug, Default)]
pub(super) struct Streaming {
    refused: Mutex<BTreeSet<&'static str>>,
}

impl Streaming {
    fn is_offered(&self, group: &'static str) -> bool {
        !self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(group)
    }

    /// Whether it was not known before.
    fn refused(&self, group: &'static str) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(group)
    }
}

impl KindWatch {
    /// A complete list. One that confirms another is asked for in the other way, of all servers.
    pub(super) async fn list(&mut self) -> Result<Listed, Failure> {
        let group = self.selection.kind.group();
        if self.cause == Cause::Confirm || !self.streaming.is_offered(group) {
            return self.list_pages().await;
        }
        let why = match self.list_stream().await {
            Err(Failure::NotStreamed(why)) => why,
            listed => return listed,
        };
        let listed = self.list_pages().await?;
        // A server that answers this at once refused the other, and was not just slow.
        if self.streaming.refused(group) {
            tracing::info!(
                server = self.reachability.server(),
                group,
                why,
                "lists are not streamed; they are read in pages"
            );
        }
        Ok(listed)
    }

    async fn list_pages(&mut self) -> Result<Listed, Failure> {
        let (client, pulse) = (self.client.clone(), self.pulse.clone());
        let (mut objects, mut kept) = (Vec::new(), Vec::new());
        let mut listing = Listing::new(&self.selection);
        while let Some(bytes) = {
            let take = |decoded: Decoded| match self.accept(decoded) {
                Ok(object) => objects.push(object),
                Err(key) => kept.push(key),
            };
            listing.next_page(&client, &pulse, take).await?
        } {
            self.state.answered(self.position, None);
            self.state.count(self.position, |counts| counts.bytes += bytes);
        }
        Ok(Listed { objects, kept, version: listing.into_version()?, stream: None })
    }

    async fn list_stream(&mut self) -> Result<Listed, Failure> {
        let mut stream = WatchStream::open_list(&self.client, &self.pulse, &self.selection).await?;
        match timeout(REQUEST_TIMEOUT, self.gather(&mut stream)).await {
            Ok(gathered) => gathered.map(|listed| Listed { stream: Some(stream), ..listed }),
            Err(_) => Err(Failure::NotStreamed(format!("no end after {} s", REQUEST_TIMEOUT.as_secs()))),
        }
    }

    /// Takes what was there when the watch began, and what happened to it before the server says that this was all.
    async fn gather(&mut self, stream: &mut WatchStream) -> Result<Listed, Failure> {
        let (mut objects, mut kept) = (BTreeMap::new(), BTreeSet::new());
        loop {
            let event = stream.next().await.map_err(|failure| match failure {
                Failure::Unreachable(silence) if self.pulse.is_beating() => Failure::NotStreamed(silence),
                failure => failure,
            })?;
            let bytes = stream.take_bytes();
            self.state.answered(self.position, None);
            self.state.count(self.position, |counts| counts.bytes += bytes);
            match event {
                None => return Err(Failure::Cut("a list ended before it was whole".to_owned())),
                Some(WatchEvent::Put(decoded)) => match self.accept(*decoded) {
                    Ok(object) => {
                        let key = object.key();
                        kept.remove(&key);
                        objects.insert(key, object);
                    }
                    Err(key) => {
                        objects.remove(&key);
                        kept.insert(key);
                    }
                },
                Some(WatchEvent::Gone(key, _)) => {
                    kept.remove(&key);
                    objects.remove(&key);
                }
                Some(WatchEvent::Bookmark { version, ends_list: true }) if !version.is_empty() => {
                    stream.listed();
                    let (objects, kept) = (objects.into_values().collect(), kept.into_iter().collect());
                    return Ok(Listed { objects, kept, version, stream: None });
                }
                Some(WatchEvent::Bookmark { .. }) => {
                    return Err(Failure::NotStreamed("a bookmark came before the end of the list".to_owned()));
                }
            }
        }
    }
}
