//! Answers on the wire: JSON values, text and watch streams go in, HTTP responses come out.

use super::error::ApiError;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The body of an answer: known whole, or coming line by line.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(lines) => lines.poll_recv(context).map(|line| line.map(|line| line.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A JSON document.
pub(crate) fn json(status: u16, document: &Value) -> Response<AnswerBody> {
    response(status, "application/json", AnswerBody::Whole(Some(document.to_string().into())))
}

/// A refusal as a `Status` document.
pub(crate) fn error(error: &ApiError) -> Response<AnswerBody> {
    let mut response = json(error.code, &error.status());
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text, as the health endpoints and unknown paths answer.
pub(crate) fn text(status: u16, text: &'static str) -> Response<AnswerBody> {
    response(status, "text/plain; charset=utf-8", AnswerBody::Whole(Some(Bytes::from_static(text.as_bytes()))))
}

/// An OpenAPI v2 document without any definition: in protocol buffers, the only form `kubectl` asks for, that is no
/// bytes at all. It then leaves validation to the server.
pub(crate) fn empty_protobuf() -> Response<AnswerBody> {
    response(200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", AnswerBody::Whole(None))
}

/// A watch.
pub(crate) fn stream(lines: mpsc::Receiver<io::Result<Bytes>>) -> Response<AnswerBody> {
    response(200, "application/json", AnswerBody::Stream(lines))
}

/// The first half of an answer's body; then the connection breaks.
pub(crate) fn truncated(whole: Response<AnswerBody>) -> Response<AnswerBody> {
    let (parts, body) = whole.into_parts();
    let AnswerBody::Whole(Some(bytes)) = body else { return Response::from_parts(parts, body) };
    let (sender, receiver) = mpsc::channel(2);
    // Both fit: the channel was made for two.
    let _ = sender.try_send(Ok(bytes.slice(..bytes.len() / 2)));
    let _ = sender.try_send(Err(io::ErrorKind::ConnectionReset.into()));
    Response::from_parts(parts, AnswerBody::Stream(receiver))
}

fn response(status: u16, content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
