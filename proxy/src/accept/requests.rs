//! The requests of a connection over HTTP/1, one after another: a stream flows in and is handed to Pingora for one request at a
//! time, or to an exchange that lasts. In between nothing is kept but the stream itself: an idle connection holds no session and no buffer. Called by `accept`.
//! One of the few modules that name Pingora types.

use crate::connection::{Awaited, Connection};
use crate::edge::Limit;
use crate::limits::TIGHT_IDLE;
use crate::server::Server;
use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

/// Whether the client may have something left to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It may.
    Lingering,
    /// It has had nothing for a while, and its place is wanted.
    AtOnce,
}

/// Serves requests until either side wants no more.
pub(super) async fn serve(
    mut stream: Stream,
    connection: &Connection,
    draining: &ShutdownWatch,
    server: &Server,
) -> End {
    let mut next = Next { begun: BytesMut::new(), settings: None };
    loop {
        let mut reused = request(stream, next, draining, server).await;
        if let Some(lasting) = connection.lasting.take() {
            reused = Box::pin(lasting.run()).await;
        }
        let Some(reused) = reused else { return End::Lingering };
        let settings;
        (stream, settings) = reused.consume();
        // What was left of the body of a request that was refused is read by now.
        connection.header.set(Awaited::NextRequest);
        match next_request(&mut stream, server).await {
            Ok(begun) => next = Next { begun, settings },
            Err(end) => return end,
        }
    }
}

/// What is known of the next request before it is read.
struct Next {
    begun: BytesMut,
    /// Of the requests before it.
    settings: Option<HttpPersistentSettings>,
}

/// One request and its answer; gives the stream back if there may be another.
fn request<'s>(
    stream: Stream,
    next: Next,
    draining: &'s ShutdownWatch,
    server: &'s Server,
) -> impl Future<Output = Option<ReusedHttpStream>> + Send + use<'s> {
    let mut session = ServerSession::new_http1(stream);
    match next.settings {
        Some(settings) => settings.apply_to_session(&mut session),
        // How long is said by the phases of `http`.
        None => session.set_keepalive((!*draining.borrow()).then_some(HEADER_SECONDS)),
    }
    session.set_pipelined_prefix(next.begun);
    server.http().process_new_http(session, draining)
}

/// Waits for the first bytes of the next request. `Err` says how the connection ends without one: the client has closed, or has nothing to
/// ask for, or others need its place.
async fn next_request(stream: &mut Stream, server: &Server) -> Result<BytesMut, End> {
    let keep_alive = server.timeouts().keep_alive;
    let since = Instant::now();
    // Nobody is sent away earlier; most ask again by then, and whether there is room need not be watched for them.
    let soon = keep_alive.min(TIGHT_IDLE);
    tokio::select! {
        biased;
        begun = timeout(soon, poll_fn(|cx| poll_begin(stream, cx))) => match begun {
            Ok(begun) => return begun.ok_or(End::Lingering),
            Err(_) if soon == keep_alive => return Err(End::Lingering),
            Err(_) => {}
        },
        () = server.lifecycle().idle_closed() => return Err(End::Lingering),
    }
    tokio::select! {
        biased;
        begun = timeout_at(since + keep_alive, poll_fn(|cx| poll_begin(stream, cx))) => {
            begun.ok().flatten().ok_or(End::Lingering)
        }
        () = server.lifecycle().idle_closed() => Err(End::Lingering),
        () = server.memory().idled(since) => Err(End::Lingering),
        () = server.edge().crowd().idled(|| Some(since)) => {
            server.metrics().exceeded().count(Limit::IdleInCrowd);
            Err(End::AtOnce)
        }
    }
}

/// The first bytes of the next request; `None` is the end of the connection.
fn poll_begin(stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Option<BytesMut>> {
    let mut space = [const { MaybeUninit::uninit() }; USUAL_HEADER];
    let mut buffer = ReadBuf::uninit(&mut space);
    let read = ready!(Pin::new(stream).poll_read(cx, &mut buffer));
    Poll::Ready((read.is_ok() && !buffer.filled().is_empty()).then(|| BytesMut::from(buffer.filled())))
}

/// What the header of a request rarely exceeds; a longer one is read in parts.
const USUAL_HEADER: usize = 4096;
/// Longer than any header may take.
const HEADER_SECONDS: u64 = 3600;
