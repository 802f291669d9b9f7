//! Spans as OTLP in JSON (opentelemetry-proto, "JSON Protobuf Encoding"): spans flow in, the body of one request to the
//! collector flows out. Pure.

use super::span::{Span, Value};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who the spans come from.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) service: Arc<str>,
    pub(super) node: Arc<str>,
}

/// The body of an export request.
pub(super) fn body(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let attributes =
        [("service.name", &*resource.service), ("k8s.node.name", &resource.node), ("host.name", &resource.node)];
    let attributes: Vec<Json> = attributes.iter().map(|(key, value)| attribute(key, &(*value).into())).collect();
    let body = json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes },
            "scopeSpans": [{
                "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }]
        }]
    });
    body.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let mut written = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanoseconds(span.begun),
        "endTimeUnixNano": nanoseconds(span.ended.max(span.begun)),
        "attributes": span.attributes.iter().map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
        "status": if span.failed { json!({ "code": 2 }) } else { json!({}) },
        // Sampled; nothing else is sent.
        "flags": 1,
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = json!(parent.to_string());
    }
    if !span.state.is_empty() {
        written["traceState"] = json!(span.state);
    }
    written
}

fn attribute(key: &str, value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({ "key": key, "value": { "stringValue": text } }),
        // 64-bit numbers are text in the JSON of protobuf.
        Value::Number(number) => json!({ "key": key, "value": { "intValue": number.to_string() } }),
    }
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::context::{SpanId, TraceId};
    use super::super::span::Kind;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let begun = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
        let span = Span {
            trace: TraceId(0xab),
            id: SpanId(0xcd),
            parent: Some(SpanId(1)),
            state: "a=1".into(),
            name: "GET /".into(),
            kind: Kind::Server,
            begun,
            ended: begun - Duration::from_secs(1),
            attributes: vec![("url.path", "/\"\n".into()), ("http.response.status_code", 503_u16.into())],
            failed: true,
        };
        let resource = Resource { service: "nearside".into(), node: "n1".into() };
        let body: Json = serde_json::from_slice(&body(&resource, &[span])).unwrap();
        let all = &body["resourceSpans"][0];
        assert_eq!(
            all["resource"]["attributes"][0],
            json!({ "key": "service.name", "value": { "stringValue": "nearside" } })
        );
        let span = &all["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "000000000000000000000000000000ab");
        assert_eq!((&span["spanId"], &span["parentSpanId"]), (&json!("00000000000000cd"), &json!("0000000000000001")));
        assert_eq!(
            (&span["kind"], &span["status"], &span["traceState"]),
            (&json!(2), &json!({ "code": 2 }), &json!("a=1"))
        );
        assert_eq!(span["startTimeUnixNano"], "1700000000000000001");
        assert_eq!(span["endTimeUnixNano"], span["startTimeUnixNano"], "never before its begin");
        assert_eq!(span["attributes"][0]["value"]["stringValue"], "/\"\n");
        assert_eq!(span["attributes"][1]["value"]["intValue"], "503");
    }
}
