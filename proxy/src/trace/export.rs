//! Spans on their way to the collector: a bounded queue flows in, batches flow out over HTTP/1.1 with or without TLS. A batch
//! that the collector does not take is sent again a few times, and then dropped and counted. One of the few modules that
//! name Pingora types.

use super::endpoint::Endpoint;
use super::otlp::{self, Resource};
use super::span::Span;
use super::{Counters, Queued};
use crate::limits::{TRACE_BATCH, TRACE_INTERVAL, TRACE_TIME};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use pingora::connectors::TransportConnector;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Sends until no tracer is left.
pub(super) async fn run(mut queue: mpsc::Receiver<Queued>, endpoint: Endpoint, resource: Resource, counters: Counters) {
    let connector = TransportConnector::new(None);
    let mut complained = false;
    while let Some(first) = queue.recv().await {
        let (spans, flushed) = gather(first, &mut queue).await;
        if !spans.is_empty() {
            match send(&connector, &endpoint, &otlp::body(&resource, &spans)).await {
                Ok(()) => {
                    counters.exported.inc_by(spans.len() as u64);
                    complained = false;
                }
                Err(error) => {
                    counters.dropped.inc_by(spans.len() as u64);
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(
                            %error, collector = endpoint.authority(),
                            "spans cannot be sent (--otlp-endpoint); they are dropped until they can"
                        );
                    }
                }
            }
        }
        if let Some(flushed) = flushed {
            // Who asked may not wait any more.
            let _ = flushed.send(());
        }
    }
}

/// The spans of one batch: as many as come in time and fit, and who waits for them.
async fn gather(first: Queued, queue: &mut mpsc::Receiver<Queued>) -> (Vec<Span>, Option<oneshot::Sender<()>>) {
    let until = Instant::now() + TRACE_INTERVAL;
    let mut spans = Vec::new();
    let mut next = Some(first);
    while let Some(queued) = next {
        match queued {
            Queued::Span(span) => spans.push(*span),
            Queued::Flush(flushed) => return (spans, Some(flushed)),
        }
        if spans.len() >= TRACE_BATCH {
            break;
        }
        next = timeout_at(until, queue.recv()).await.ok().flatten();
    }
    (spans, None)
}

/// Sends a batch, and again where that may help (OTLP, "Failures").
async fn send(connector: &TransportConnector, endpoint: &Endpoint, body: &[u8]) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match timeout(TRACE_TIME, post(connector, endpoint, body)).await {
            Ok(Ok(status)) if !RETRYABLE.contains(&status) => return taken(status),
            Ok(_) | Err(_) => sleep(pause).await,
        }
        pause *= 2;
    }
    let last = timeout(TRACE_TIME, post(connector, endpoint, body)).await;
    taken(last.or_err(ErrorType::ConnectTimedout, "the collector is too slow")??)
}

fn taken(status: u16) -> Result<()> {
    if (200..300).contains(&status) {
        Ok(())
    } else {
        Error::e_explain(ErrorType::HTTPStatus(status), "the collector refuses")
    }
}

async fn post(connector: &TransportConnector, endpoint: &Endpoint, body: &[u8]) -> Result<u16> {
    let addresses = tokio::net::lookup_host((&*endpoint.host, endpoint.port)).await;
    let mut addresses = addresses.or_err(ErrorType::ConnectError, "the collector's name has no address")?;
    let address = addresses.next().ok_or_else(|| Error::new(ErrorType::ConnectError))?;
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.to_string());
    peer.options.set_http_version(1, 1);
    let mut session = HttpSession::new(connector.new_stream(&peer).await?);
    let mut request = RequestHeader::build("POST", endpoint.path.as_bytes(), Some(5))?;
    request.insert_header(HOST, endpoint.authority())?;
    request.insert_header(USER_AGENT, concat!("nearside/", env!("CARGO_PKG_VERSION")))?;
    request.insert_header(CONTENT_TYPE, "application/json")?;
    request.insert_header(CONTENT_LENGTH, body.len())?;
    request.insert_header(CONNECTION, "close")?;
    session.write_request_header(Box::new(request)).await?;
    session.write_body(body).await?;
    session.finish_body().await?;
    session.read_response().await?;
    let status = session.resp_header().map_or(0, |response| response.status.as_u16());
    session.shutdown().await;
    Ok(status)
}

/// How often a batch is sent.
const TRIES: u32 = 3;
/// Before the second time; twice as long before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Statuses of a collector that may take the same later.
const RETRYABLE: [u16; 4] = [429, 502, 503, 504];
