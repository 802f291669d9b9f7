//! The end of a feed that has no credentials: the path of a socket and selections flow in, the same updates flow out as of a cluster. One
//! task reads for as long as its reader lives, and connects again when the other end was away; what is known stays meanwhile.

use super::frame::{self, Described, Name, Said, VERSION, Wanted};
use super::socket;
use crate::hold::Reading;
use crate::last_known::Store;
use crate::limits::{FEED_PAUSE, FEED_SILENCE, FEED_STALL, QUEUED_FRAMES, REVIEW_TIMEOUT};
use crate::merge::{Event, Update};
use crate::{Kind, Object, ObjectKey, Selection, SyncState};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Where another process of the machine offers the objects of a cluster.
#[derive(Clone, Debug)]
pub struct Feed {
    path: PathBuf,
    pub(crate) store: Option<Store>,
}

/// Asks the other end for single objects. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct Follower(mpsc::UnboundedSender<Wanted>);

impl Follower {
    /// Reads this Secret as well.
    pub(crate) fn follow(&self, selection: usize, secret: &ObjectKey) {
        // The task ends only with the reader.
        drop(self.0.send(Wanted::Follow { selection, secret: Name::of(secret) }));
    }

    /// Reads it no longer.
    pub(crate) fn leave(&self, selection: usize) {
        drop(self.0.send(Wanted::Leave { selection }));
    }
}

impl Feed {
    /// At this socket.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, store: None }
    }

    /// What stands for the cluster in snapshots on disk.
    pub(crate) fn identity(&self) -> String {
        format!("objects at {}", self.path.display())
    }

    /// What the cluster says of a token: whether its user may read metrics; `None` where it does not know it.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(crate) async fn review(&self, token: String) -> Result<Option<bool>, String> {
        let asked = async {
            let (mut read, mut write) = greeted(&self.path, Vec::new()).await?;
            write.write_all(&frame::encode(&Wanted::Review { token }, &[])?).await?;
            loop {
                match frame::read::<Said>(&mut read).await?.0 {
                    Said::Reviewed { may } => return Ok(Ok(may)),
                    Said::NotReviewed { why } => return Ok(Err(why)),
                    _ => {}
                }
            }
        };
        let answer = timeout(REVIEW_TIMEOUT, asked).await.unwrap_or_else(|late| Err(late.into()));
        answer.unwrap_or_else(|error: io::Error| Err(error.to_string()))
    }

    /// The task that reads, and what asks it for single objects.
    pub(crate) fn read(
        self,
        selections: Vec<Selection>,
        updates: mpsc::Sender<Update>,
        state: SyncState,
    ) -> (Follower, impl Future<Output = ()> + Send) {
        let (follower, wishes) = mpsc::unbounded_channel();
        let reading = Reader { path: self.path, selections, updates, state, followed: BTreeMap::new() }.run(wishes);
        (Follower(follower), reading)
    }
}

struct Reader {
    path: PathBuf,
    selections: Vec<Selection>,
    updates: mpsc::Sender<Update>,
    state: SyncState,
    followed: BTreeMap<usize, Name>,
}

/// The reader of the updates is gone; the task ends.
struct Closed;

impl Reader {
    async fn run(mut self, mut wishes: mpsc::UnboundedReceiver<Wanted>) {
        let mut told = None;
        loop {
            let failed = match self.connected(&mut wishes, &mut told).await {
                Ok(Closed) => return,
                Err(error) => error.to_string(),
            };
            let text = format!("the objects at {} cannot be had: {failed}", self.path.display());
            for position in 0..self.selections.len() {
                self.state.set_error(position, "FeedUnavailable", text.clone());
            }
            if told.as_ref() != Some(&text) {
                tracing::warn!("{text}; what is known is served on");
                told = Some(text);
            }
            if self.updates.is_closed() {
                return;
            }
            sleep(FEED_PAUSE).await;
        }
    }

    /// Until the connection breaks.
    async fn connected(
        &mut self,
        wishes: &mut mpsc::UnboundedReceiver<Wanted>,
        told: &mut Option<String>,
    ) -> io::Result<Closed> {
        let selections = self.selections.iter().map(Described::new).collect();
        let (mut read, write) = greeted(&self.path, selections).await?;
        if told.take().is_some() {
            tracing::info!(socket = %self.path.display(), "the objects can be had again");
        }
        let mut tasks = JoinSet::new();
        let (heard, mut said) = mpsc::channel(QUEUED_FRAMES);
        tasks.spawn(async move {
            loop {
                let frame = frame::read::<Said>(&mut read).await;
                let ended = frame.is_err();
                if heard.send(frame).await.is_err() || ended {
                    return;
                }
            }
        });
        // Never waits for the other end, which may wait for this one to read.
        let (answers, waiting) = mpsc::unbounded_channel();
        tasks.spawn(write_all(write, waiting));
        let answer = |wanted: &Wanted| frame::encode(wanted, &[]).map(|frame| drop(answers.send(frame)));
        for (selection, secret) in &self.followed {
            answer(&Wanted::Follow { selection: *selection, secret: secret.clone() })?;
        }
        let mut lists: HashMap<usize, Vec<Object>> = HashMap::new();
        loop {
            tokio::select! {
                biased;
                wish = wishes.recv() => {
                    let Some(wish) = wish else { return Ok(Closed) };
                    match &wish {
                        Wanted::Follow { selection, secret } => drop(self.followed.insert(*selection, secret.clone())),
                        Wanted::Leave { selection } => {
                            self.followed.remove(selection);
                            lists.remove(selection);
                        }
                        Wanted::Hello { .. } | Wanted::TookList { .. } | Wanted::Review { .. } => {}
                    }
                    answer(&wish)?;
                }
                frame = timeout(FEED_SILENCE, said.recv()) => {
                    let (said, object) = frame?.ok_or(io::ErrorKind::UnexpectedEof)??;
                    match self.take(said, &object, &mut lists).await? {
                        Taken::Nothing => {}
                        Taken::List { selection, held } => answer(&Wanted::TookList { selection, held })?,
                        Taken::Closed => return Ok(Closed),
                    }
                }
            }
        }
    }

    async fn take(&self, said: Said, object: &[u8], lists: &mut HashMap<usize, Vec<Object>>) -> io::Result<Taken> {
        let decode = |selection: usize| {
            Object::decode_text(self.kind(selection), object)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let (selection, event) = match said {
            Said::Applied { selection } => (selection, Event::Apply(Box::new(decode(selection)?))),
            Said::Deleted { selection, object } => (selection, Event::Delete(object.key(self.kind(selection)))),
            Said::Listed { selection } => {
                lists.entry(selection).or_default().push(decode(selection)?);
                return Ok(Taken::Nothing);
            }
            Said::ListEnded { selection, kept, second } => {
                let kind = self.kind(selection);
                let (objects, kept) =
                    (lists.remove(&selection).unwrap_or_default(), kept.iter().map(|it| it.key(kind)));
                let (held, count) = oneshot::channel();
                let reading = if second { Reading::Second } else { Reading::First };
                let event = Event::List { objects, kept: kept.collect(), reading, held: Some(held) };
                if self.updates.send(Update { selection, event }).await.is_err() {
                    return Ok(Taken::Closed);
                }
                // Dropped where it is not followed any more.
                let held = count.await.unwrap_or_default();
                return Ok(Taken::List { selection, held });
            }
            Said::StandsIn { selection, unknown } => (selection, Event::StandIn { unknown }),
            Said::State { selection, state } => {
                self.state.relay(selection, state);
                return Ok(Taken::Nothing);
            }
            Said::Welcome | Said::Refused { .. } | Said::Reviewed { .. } | Said::NotReviewed { .. } => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a second welcome"));
            }
        };
        match self.updates.send(Update { selection, event }).await {
            Ok(()) => Ok(Taken::Nothing),
            Err(_) => Ok(Taken::Closed),
        }
    }

    /// What is said of a selection that was left meanwhile is dropped by whoever merges.
    fn kind(&self, selection: usize) -> Kind {
        self.selections.get(selection).map_or(Kind::Secret, |selection| selection.kind)
    }
}

/// A connection on which these selections are read.
async fn greeted(path: &Path, selections: Vec<Described>) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let stream = timeout(FEED_STALL, UnixStream::connect(path)).await??;
    if !socket::is_ours(&stream) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the process there runs as another user"));
    }
    let (mut read, mut write) = stream.into_split();
    let hello = frame::encode(&Wanted::Hello { version: VERSION, selections }, &[])?;
    timeout(FEED_STALL, write.write_all(&hello)).await??;
    match timeout(FEED_STALL, frame::read::<Said>(&mut read)).await??.0 {
        Said::Welcome => Ok((read, write)),
        Said::Refused { why } => Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no welcome")),
    }
}

/// What became of a frame.
enum Taken {
    Nothing,
    /// A list, and how many objects are held that it lacks.
    List {
        selection: usize,
        held: usize,
    },
    Closed,
}

async fn write_all(mut write: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = waiting.recv().await {
        // A broken connection is told by reading.
        if write.write_all(&frame).await.is_err() {
            return;
        }
    }
}
