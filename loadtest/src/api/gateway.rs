//! A gateway in front of any API server: requests flow in, meet the faults that are switched on, and flow on to the server with the
//! credentials that they bear. By it programs in the lab's network reach a real cluster, and tests of faults need no server of ours.

use super::ServerTls;
use super::error::ApiError;
use super::faults::{Behind, Fault, Faults, WatchSignal, made_up};
use super::http::verb;
use super::listener::{Answered, Answering, Listeners};
use super::object::resource_version;
use super::request::{ObjectPath, Query, Target};
use super::response::{self, AnswerBody};
use crate::rest::{Kubeconfig, Rest, Upstream};
use anyhow::Result;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, mpsc};
use tokio_rustls::TlsAcceptor;

/// A running gateway; it ends with the value.
#[derive(Debug)]
pub struct Gateway {
    faults: Faults,
    listeners: Arc<Listeners>,
    /// The listeners hold it weakly.
    _forwarding: Arc<dyn Answering>,
}

impl Gateway {
    /// Serves on listeners that exist, over TLS with a certificate of its own. The credentials of the kubeconfig are used for nothing
    /// but to ask how far the server's history has come.
    ///
    /// # Errors
    /// When a listener or the kubeconfig cannot be used.
    pub async fn start_on(listeners: Vec<TcpListener>, server: &Kubeconfig, tls: ServerTls) -> Result<Self> {
        let listeners = Arc::new(Listeners::new(listeners, Some(TlsAcceptor::from(tls.server)))?);
        let pretence =
            Arc::new(Pretence { rest: Rest::new(server)?, compacted: Mutex::default(), absent: Mutex::default() });
        let faults = Faults::in_front_of(Arc::clone(&pretence) as Arc<dyn Behind>, Arc::clone(&listeners));
        let nobody = Kubeconfig { credentials: Default::default(), ..server.clone() };
        let upstream = Upstream::new(&nobody)?;
        let forwarding: Arc<dyn Answering> = Arc::new(Forwarding { upstream, faults: faults.clone(), pretence });
        listeners.start(&forwarding).await?;
        Ok(Self { faults, listeners, _forwarding: forwarding })
    }

    /// The switches for faults, and the request counts.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listeners.stop();
    }
}

/// What the gateway makes believe about the server behind it.
#[derive(Debug)]
struct Pretence {
    rest: Rest,
    /// Watches from before this revision are told that it is forgotten.
    compacted: Mutex<u64>,
    /// Names of kinds that are not served.
    absent: Mutex<BTreeSet<String>>,
}

impl Behind for Pretence {
    fn compact(&self) {
        match self.rest.request("GET", "/api/v1/namespaces?limit=1", "", None) {
            Ok(list) => *lock(&self.compacted) = resource_version(&list),
            Err(error) => tracing::warn!(%error, "the server does not say how far its history has come"),
        }
    }

    fn set_served(&self, name: &str, served: bool) -> Vec<String> {
        let mut absent = lock(&self.absent);
        if served {
            absent.remove(name)
        } else {
            absent.insert(name.to_owned())
        };
        // Nobody here knows kinds; what is switched off is called by its plural in requests.
        vec![name.split('.').next().unwrap_or_default().to_owned()]
    }
}

impl Pretence {
    fn serves(&self, path: &ObjectPath) -> bool {
        let absent = lock(&self.absent);
        !absent.contains(&path.plural) && !absent.contains(&format!("{}.{}", path.plural, path.group))
    }
}

#[derive(Debug)]
struct Forwarding {
    upstream: Upstream,
    faults: Faults,
    pretence: Arc<Pretence>,
}

impl Answering for Forwarding {
    fn answer(&self, request: Request<Incoming>) -> Answered<'_> {
        Box::pin(self.decide(request))
    }
}

impl Forwarding {
    async fn decide(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        self.faults.thawed().await;
        let Target::Objects(path) = Target::parse(request.uri().path()) else {
            return self.forward(request, None).await;
        };
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let Some(verb) = verb(request.method(), &path, &query) else { return self.forward(request, None).await };
        if !self.pretence.serves(&path) {
            return response::text(404, "404 page not found\n");
        }
        let is_streamed_list = verb == "watch" && query.flag("sendInitialEvents");
        // A list that is streamed is both, and meets the faults of both.
        let verbs: &[&str] = if is_streamed_list { &["list", "watch"] } else { &[verb] };
        let faults = self.faults.meet(verbs, &path.plural);
        for fault in &faults {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(*time).await,
                Fault::Answer { status, retry_after } => return response::error(&made_up(*status, *retry_after)),
                Fault::EmptyList | Fault::ShortList(_) | Fault::TruncatedBody => {}
            }
        }
        if verb == "watch" {
            let revision = query.text("resourceVersion").parse::<u64>().unwrap_or(0);
            let compacted = *lock(&self.pretence.compacted);
            if revision != 0 && revision < compacted {
                let why = format!("too old resource version: {revision} ({compacted})");
                return ended_with(&ApiError::expired(why));
            }
        }
        let watched = (verb == "watch").then(|| Watched::new(&path.plural, is_streamed_list, &faults));
        let answer = self.forward(request, watched).await;
        let answer = shortened(answer, &faults);
        if faults.contains(&Fault::TruncatedBody) { response::truncated(answer) } else { answer }
    }

    /// Asks the server; its answer is passed on as it comes when it is that of a watch, else as a whole.
    async fn forward(&self, request: Request<Incoming>, watched: Option<Watched>) -> Response<AnswerBody> {
        // Before the server answers, so that nothing that is ordered meanwhile is missed.
        let signals = self.faults.signals();
        match self.ask(request).await {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                let body = match watched {
                    Some(watched) if parts.status.is_success() => {
                        let (lines, receiver) = mpsc::channel(LINES_IN_FLIGHT);
                        tokio::spawn(watched.pass_on(body, lines, signals, self.faults.clone()));
                        AnswerBody::Stream(receiver)
                    }
                    _ => match body.collect().await {
                        Ok(whole) => AnswerBody::Whole(Some(whole.to_bytes())),
                        Err(error) => return unreachable(&error.to_string()),
                    },
                };
                let mut answer = Response::new(body);
                *answer.status_mut() = parts.status;
                for name in [CONTENT_TYPE, RETRY_AFTER] {
                    if let Some(value) = parts.headers.get(&name) {
                        answer.headers_mut().insert(name, value.clone());
                    }
                }
                answer
            }
            Err(error) => unreachable(&format!("{error:#}")),
        }
    }

    async fn ask(&self, request: Request<Incoming>) -> Result<Response<Incoming>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = self.upstream.path(path).parse()?;
        parts.version = Version::HTTP_11;
        for name in [CONNECTION, ACCEPT_ENCODING, CONTENT_LENGTH, HeaderName::from_static("transfer-encoding")] {
            parts.headers.remove(name);
        }
        parts.headers.insert(HOST, HeaderValue::try_from(self.upstream.authority())?);
        let body = body.collect().await?.to_bytes();
        let mut sender = self.upstream.open().await?;
        Ok(sender.send_request(Request::from_parts(parts, Full::from(body))).await?)
    }
}

/// A watch that is passed on line by line.
struct Watched {
    plural: String,
    /// Of a streamed list, until its end has passed.
    is_initial: bool,
    /// How many of its objects a streamed list keeps.
    keeps: usize,
    /// How many of them pass before the connection is cut.
    cut_after: usize,
    /// The last event, where events come twice.
    last: Option<Bytes>,
}

impl Watched {
    fn new(plural: &str, is_initial: bool, faults: &[Fault]) -> Self {
        let lengths = faults.iter().filter_map(|fault| match fault {
            Fault::EmptyList => Some(0),
            Fault::ShortList(length) => Some(*length),
            _ => None,
        });
        let keeps = lengths.min().unwrap_or(usize::MAX);
        let cut_after = if faults.contains(&Fault::TruncatedBody) { 1 } else { usize::MAX };
        Self { plural: plural.to_owned(), is_initial, keeps, cut_after, last: None }
    }

    async fn pass_on(
        mut self,
        mut body: Incoming,
        lines: mpsc::Sender<io::Result<Bytes>>,
        mut signals: broadcast::Receiver<WatchSignal>,
        faults: Faults,
    ) {
        let mut part = BytesMut::new();
        let mut is_hung = faults.hangs(&self.plural);
        loop {
            if is_hung {
                lines.closed().await;
                return;
            }
            tokio::select! {
                () = lines.closed() => return,
                signal = signals.recv() => match signal {
                    Ok(WatchSignal::End { cut, requests }) if requests.matches("watch", &self.plural) => {
                        if cut {
                            let _ = lines.send(Err(io::ErrorKind::ConnectionReset.into())).await;
                        }
                        return;
                    }
                    Ok(WatchSignal::Hang { requests }) if requests.matches("watch", &self.plural) => is_hung = true,
                    Ok(_) => {}
                    Err(_) => return,
                },
                frame = body.frame() => {
                    let Some(Ok(frame)) = frame else { return };
                    part.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
                    while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
                        faults.thawed().await;
                        for line in self.events(part.split_to(end + 1).freeze(), &faults) {
                            if lines.send(line).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// What becomes of one line.
    fn events(&mut self, line: Bytes, faults: &Faults) -> Vec<io::Result<Bytes>> {
        let holds = |wanted: &[u8]| line.windows(wanted.len()).any(|part| part == wanted);
        if holds(BOOKMARK) {
            self.is_initial &= !holds(INITIAL_END);
            return vec![Ok(line)];
        }
        if self.is_initial {
            if self.cut_after == 0 {
                return vec![Err(io::ErrorKind::ConnectionReset.into())];
            }
            self.cut_after -= 1;
            let passes = self.keeps > 0;
            self.keeps = self.keeps.saturating_sub(1);
            return passes.then_some(Ok(line)).into_iter().collect();
        }
        if faults.loses(&self.plural) {
            return Vec::new();
        }
        let mut events = vec![Ok(line.clone())];
        if faults.doubles(&self.plural) {
            events.push(Ok(line.clone()));
            events.extend(self.last.replace(line).map(Ok));
        }
        events
    }
}

/// A list that keeps only as many items as the faults leave it.
fn shortened(answer: Response<AnswerBody>, faults: &[Fault]) -> Response<AnswerBody> {
    let lengths = faults.iter().filter_map(|fault| match fault {
        Fault::EmptyList => Some(0),
        Fault::ShortList(length) => Some(*length),
        _ => None,
    });
    let Some(length) = lengths.min() else { return answer };
    let (parts, body) = answer.into_parts();
    let AnswerBody::Whole(Some(bytes)) = &body else { return Response::from_parts(parts, body) };
    let Ok(mut list) = serde_json::from_slice::<Value>(bytes) else { return Response::from_parts(parts, body) };
    if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
        items.truncate(length);
    }
    if let Some(metadata) = list.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("continue");
        metadata.remove("remainingItemCount");
    }
    Response::from_parts(parts, AnswerBody::Whole(Some(list.to_string().into())))
}

/// A watch of one ERROR event.
fn ended_with(error: &ApiError) -> Response<AnswerBody> {
    let mut line = json!({"type": "ERROR", "object": error.status()}).to_string();
    line.push('\n');
    let (lines, receiver) = mpsc::channel(1);
    let _ = lines.try_send(Ok(line.into()));
    response::stream(receiver)
}

fn unreachable(why: &str) -> Response<AnswerBody> {
    tracing::warn!("the API server behind the gateway cannot be asked: {why}");
    response::error(&ApiError::new(503, "ServiceUnavailable", format!("the API server cannot be reached: {why}")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In every bookmark: within a text of an object the quotes would be escaped.
const BOOKMARK: &[u8] = b"\"type\":\"BOOKMARK\"";
/// In the bookmark that ends a streamed list.
const INITIAL_END: &[u8] = b"k8s.io/initial-events-end";
const LINES_IN_FLIGHT: usize = 16;
