//! The end of a feed that reads the cluster: connections of one Unix socket flow in, what lists and watches say flows out. Each connection
//! has watches of its own, which end with it, and gets only what the program offers. Called by programs whose other half talks to strangers.

use super::frame::{self, Described, Name, Said, VERSION, Wanted};
use super::named::Named;
use super::socket;
use crate::cluster::{Cluster, Reviews};
use crate::hold::Reading;
use crate::limits::{FEED_CONNECTIONS, FEED_PAUSE, FEED_STALL, FEED_STATE_PERIOD, FOLLOWED, QUEUED_UPDATES};
use crate::merge::{Event, Update};
use crate::{ClusterConfig, Kind, ObjectKey, Selection, Source, SyncState};
use nearside_routing::admission::AdmissionRules;
use nearside_routing::object::is_object_name;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Why objects cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Its socket.
    #[error("the socket {} cannot be opened: {source} (--serve-objects)", path.display())]
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever can read manifests needs nobody to read them.
    #[error("only the objects of a cluster can be offered to another process (--serve-objects)")]
    NoCluster,
}

/// What is offered to every connection.
struct Offer {
    cluster: ClusterConfig,
    selections: Vec<Selection>,
    rules: AdmissionRules,
}

/// Offers these selections of a cluster, and the Secrets that their Routes and Ingresses name, at a Unix socket, until `end` and until
/// nobody reads any more: whoever does may have long to go. Must run on a Tokio runtime.
///
/// # Errors
/// [`FeedError`] where the socket cannot be had.
pub async fn serve(
    source: &Source,
    selections: Vec<Selection>,
    rules: AdmissionRules,
    path: &Path,
    end: impl Future<Output = ()>,
) -> Result<(), FeedError> {
    let Source::Cluster(cluster) = source else { return Err(FeedError::NoCluster) };
    let listener = socket::bind(path).map_err(|source| FeedError::Socket { path: path.to_owned(), source })?;
    tracing::info!(socket = %path.display(), "the objects of the cluster are offered here");
    let offer = Arc::new(Offer { cluster: cluster.clone(), selections, rules });
    let room = Arc::new(Semaphore::new(FEED_CONNECTIONS));
    let mut connections = JoinSet::new();
    let (mut end, mut ending) = (pin!(end), false);
    loop {
        if ending && connections.is_empty() {
            tracing::info!("nobody reads the objects any more; ending");
            return Ok(());
        }
        let accepted = async {
            // The semaphore is never closed; without a place a connection waits in the backlog.
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut end, if !ending => ending = true,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) if socket::is_ours(&stream) => {
                    let offer = Arc::clone(&offer);
                    connections.spawn(async move {
                        let _place = place;
                        if let Err(error) = serve_one(stream, &offer).await {
                            tracing::warn!(%error, "the connection of a process that reads the objects has ended");
                        }
                    });
                }
                Ok(_) => tracing::warn!("a process of another user asked for objects and was refused"),
                Err(error) => {
                    tracing::warn!(%error, "a connection for objects cannot be accepted");
                    sleep(FEED_PAUSE).await;
                }
            },
        }
    }
}

/// Until the other end leaves.
async fn serve_one(stream: UnixStream, offer: &Offer) -> io::Result<()> {
    let (mut read, write) = stream.into_split();
    let mut out = Out(BufWriter::new(write));
    let hello = timeout(FEED_STALL, frame::read::<Wanted>(&mut read)).await??.0;
    let selections = match offer.agree(&hello) {
        Ok(selections) => selections,
        Err(why) => {
            tracing::warn!(why, "objects were asked for that are not offered");
            out.say(&Said::Refused { why }, &[]).await?;
            return out.flush().await;
        }
    };
    out.say(&Said::Welcome, &[]).await?;
    out.flush().await?;
    // Others ask about a token, again and again.
    if !selections.is_empty() {
        tracing::info!(selections = selections.len(), "the objects are read by another process from now on");
    }
    let mut tasks = JoinSet::new();
    let (wishes, wanted) = mpsc::channel(FOLLOWED);
    tasks.spawn(listen(read, wishes));
    let (updates, queue) = mpsc::channel(QUEUED_UPDATES);
    let state = SyncState::new(&selections);
    let cluster = Cluster::new(&offer.cluster, &mut tasks);
    let mut kinds = HashMap::new();
    let count = selections.len();
    for (position, selection) in selections.into_iter().enumerate() {
        kinds.insert(position, selection.kind);
        cluster.spawn(position, selection, updates.clone(), &state, &mut tasks);
    }
    let named = Named::new(offer.rules.clone());
    let (wished, followed, lists) = (HashMap::new(), HashMap::new(), HashMap::new());
    let reviews = Reviews::of(&offer.cluster);
    let connection =
        Connection { out, cluster, reviews, count, kinds, named, wished, followed, lists, state, updates, tasks };
    connection.run(queue, wanted).await
}

impl Offer {
    /// The selections that are asked for, where all of them are offered; else why not.
    fn agree(&self, hello: &Wanted) -> Result<Vec<Selection>, String> {
        let Wanted::Hello { version, selections } = hello else { return Err("something came before hello".into()) };
        if *version != VERSION {
            return Err(format!("version {version} of the protocol is wanted, and {VERSION} is spoken here"));
        }
        let offered = |wanted: &Described| {
            let found = self.selections.iter().find(|own| Described::new(own) == *wanted);
            found
                .cloned()
                .ok_or_else(|| format!("{wanted}: is not offered; check that both processes have the same flags"))
        };
        selections.iter().map(offered).collect()
    }
}

/// Reads what is wanted until the connection ends.
async fn listen(mut read: OwnedReadHalf, wishes: mpsc::Sender<Wanted>) {
    while let Ok((wish, _)) = frame::read(&mut read).await {
        if wishes.send(wish).await.is_err() {
            return;
        }
    }
}

struct Connection {
    out: Out,
    cluster: Cluster,
    reviews: Reviews,
    /// Selections of the program; those that came later are numbered on.
    count: usize,
    kinds: HashMap<usize, Kind>,
    named: Named,
    /// Secrets that are wanted, whether anything names them or not: the objects that do may still be on their way.
    wished: HashMap<usize, ObjectKey>,
    /// Of these, those that are read.
    followed: HashMap<usize, AbortHandle>,
    /// Lists of which it is not known yet what became.
    lists: HashMap<usize, oneshot::Sender<usize>>,
    state: SyncState,
    updates: mpsc::Sender<Update>,
    tasks: JoinSet<()>,
}

impl Connection {
    async fn run(mut self, mut queue: mpsc::Receiver<Update>, mut wanted: mpsc::Receiver<Wanted>) -> io::Result<()> {
        let mut period = interval(FEED_STATE_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut received = Vec::new();
        loop {
            tokio::select! {
                _ = queue.recv_many(&mut received, QUEUED_UPDATES) => {
                    for update in received.drain(..) {
                        self.pass(update).await?;
                    }
                }
                wish = wanted.recv() => match wish {
                    Some(Wanted::Review { token }) => self.review(&token).await?,
                    Some(wish) => self.grant(wish)?,
                    None => return Ok(()),
                },
                _ = period.tick() => self.tell_state().await?,
            }
            self.out.flush().await?;
            // Those that were aborted.
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Hands on what a watch saw.
    async fn pass(&mut self, update: Update) -> io::Result<()> {
        let Update { selection, event } = update;
        // What was on its way when it was not followed any more.
        if !self.kinds.contains_key(&selection) {
            return Ok(());
        }
        match event {
            Event::Apply(object) => {
                self.named.put(selection, &object);
                self.out.say(&Said::Applied { selection }, &object.encode()?).await?;
            }
            Event::Delete(key) => {
                self.named.remove(selection, &key);
                self.out.say(&Said::Deleted { selection, object: Name::of(&key) }, &[]).await?;
            }
            Event::List { objects, kept, reading, held } => {
                self.named.list(selection, &objects, &kept);
                for object in objects {
                    self.out.say(&Said::Listed { selection }, &object.encode()?).await?;
                }
                self.lists.extend(held.map(|held| (selection, held)));
                let (kept, second) = (kept.iter().map(Name::of).collect(), reading == Reading::Second);
                self.out.say(&Said::ListEnded { selection, kept, second }, &[]).await?;
            }
            Event::StandIn { unknown } => self.out.say(&Said::StandsIn { selection, unknown }, &[]).await?,
        }
        if self.named.take_changed() {
            self.settle();
        }
        Ok(())
    }

    fn grant(&mut self, wish: Wanted) -> io::Result<()> {
        match wish {
            Wanted::Follow { selection, secret } => {
                let key = secret.key(Kind::Secret);
                let is_used = selection < self.count || self.wished.contains_key(&selection);
                if is_used || self.wished.len() >= FOLLOWED || !is_object_name(&key.name) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a Secret that cannot be followed"));
                }
                self.wished.insert(selection, key);
                self.settle();
            }
            Wanted::Leave { selection } => {
                self.wished.remove(&selection);
                self.settle();
            }
            // Nobody waits where the watch has ended meanwhile.
            Wanted::TookList { selection, held } => drop(self.lists.remove(&selection).map(|list| list.send(held))),
            Wanted::Hello { .. } | Wanted::Review { .. } => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a second hello"));
            }
        }
        Ok(())
    }

    async fn review(&mut self, token: &str) -> io::Result<()> {
        let said = match self.reviews.may_read_metrics(token).await {
            Ok(may) => Said::Reviewed { may },
            Err(error) => Said::NotReviewed { why: error.to_string() },
        };
        self.out.say(&said, &[]).await
    }

    /// Reads the Secrets that are wished for and that something names, and no others.
    fn settle(&mut self) {
        let granted = |selection: &usize| self.wished.get(selection).is_some_and(|key| self.named.allows(key));
        let (kinds, lists) = (&mut self.kinds, &mut self.lists);
        self.followed.retain(|selection, task| {
            let stays = granted(selection);
            if !stays {
                task.abort();
                kinds.remove(selection);
                lists.remove(selection);
            }
            stays
        });
        for (selection, key) in &self.wished {
            if self.followed.contains_key(selection) || !self.named.allows(key) {
                continue;
            }
            let own = Selection::all(Kind::Secret).namespace(&*key.namespace);
            let own = own.fields(format!("metadata.name={}", key.name));
            let task = self.cluster.spawn(*selection, own, self.updates.clone(), &self.state, &mut self.tasks);
            self.kinds.insert(*selection, Kind::Secret);
            self.followed.insert(*selection, task);
        }
    }

    /// Also the sign of life of this end.
    async fn tell_state(&mut self) -> io::Result<()> {
        for (selection, state) in self.state.watches().into_iter().enumerate() {
            self.out.say(&Said::State { selection, state }, &[]).await?;
        }
        Ok(())
    }
}

/// The way to the other end, which is given up if it takes nothing for too long.
struct Out(BufWriter<OwnedWriteHalf>);

impl Out {
    async fn say(&mut self, said: &Said, object: &[u8]) -> io::Result<()> {
        let frame = frame::encode(said, object)?;
        timeout(FEED_STALL, self.0.write_all(&frame)).await?
    }

    async fn flush(&mut self) -> io::Result<()> {
        timeout(FEED_STALL, self.0.flush()).await?
    }
}
