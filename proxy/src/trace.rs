//! Traces of requests for an OpenTelemetry collector, off unless the operator names one: trace context (W3C Trace Context)
//! and the steps of a request flow in, context for the pod and finished spans flow out. Serving never waits for the
//! collector: spans that find no room are dropped and counted.
//!
//! Spans are made and encoded here, as OTLP in JSON over HTTP/1.1 on the connections that Pingora makes: the crates of
//! OpenTelemetry bring either a second HTTP client or gRPC and protobuf, for a few hundred lines.

pub(crate) mod context;
pub(crate) mod endpoint;
mod export;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod otlp;
mod request;
mod sampling;
mod span;

use crate::balance::Random;
use crate::limits::TRACE_SPANS;
use context::Incoming;
use endpoint::Endpoint;
use http::HeaderMap;
use prometheus::{IntCounter, Registry};
pub(crate) use request::{RequestEnd, RequestTrace};
pub(crate) use sampling::Sampling;
use span::Span;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Where spans go, which, and under which name.
#[derive(Clone, Debug)]
pub(crate) struct TraceConfig {
    /// `None` for no traces.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) sampling: Sampling,
    /// `service.name`.
    pub(crate) service: Arc<str>,
}

/// Makes traces. Clones share it.
#[derive(Clone)]
pub(crate) struct Tracer(Option<Arc<Inner>>);

struct Inner {
    sampling: Sampling,
    spans: mpsc::Sender<Queued>,
    counters: Counters,
}

/// What the exporter is given.
enum Queued {
    Span(Box<Span>),
    /// To send what there is, and to say when that is done.
    Flush(oneshot::Sender<()>),
}

#[derive(Clone)]
struct Counters {
    exported: IntCounter,
    dropped: IntCounter,
}

impl Tracer {
    /// Starts the exporter, where there is an endpoint, on the present runtime.
    ///
    /// # Errors
    /// Prometheus', if two series have one name.
    pub(crate) fn start(config: &TraceConfig, node: &Arc<str>, registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = Counters {
            exported: counter("nearside_trace_spans_exported_total", "Spans that the collector has taken.")?,
            dropped: counter("nearside_trace_spans_dropped_total", "Spans that found no room or no collector.")?,
        };
        let Some(endpoint) = config.endpoint.clone() else { return Ok(Self(None)) };
        let (spans, queue) = mpsc::channel(TRACE_SPANS);
        let resource = otlp::Resource { service: Arc::clone(&config.service), node: Arc::clone(node) };
        tokio::spawn(export::run(queue, endpoint, resource, counters.clone()));
        Ok(Self(Some(Arc::new(Inner { sampling: config.sampling, spans, counters }))))
    }

    /// Begins the trace of a request, or goes on with the one that its client names. `None` where there are none.
    pub(crate) fn begin(&self, headers: &HeaderMap, random: &mut Random) -> Option<Box<RequestTrace>> {
        let inner = self.0.as_ref()?;
        let incoming = Incoming::read(headers);
        Some(Box::new(RequestTrace::new(incoming, inner.sampling, random)))
    }

    /// Hands over the spans of a request that is over, if it is sampled.
    pub(crate) fn finish(&self, trace: RequestTrace, end: &RequestEnd<'_>) {
        let Some(inner) = &self.0 else { return };
        for span in trace.into_spans(end) {
            if inner.spans.try_send(Queued::Span(Box::new(span))).is_err() {
                inner.counters.dropped.inc();
            }
        }
    }

    /// Waits until what was handed over is sent or given up.
    pub(crate) async fn flush(&self) {
        let Some(inner) = &self.0 else { return };
        let (done, waits) = oneshot::channel();
        if inner.spans.send(Queued::Flush(done)).await.is_ok() {
            // An exporter that is gone has nothing left to send.
            drop(waits.await);
        }
    }
}
