//! Compression of responses on their way to clients: Pingora hands over header and body, part by part, `compression` decides, and
//! each part leaves as soon as it came. One of the few modules that name Pingora types.

use super::compression::{Asked, Plan, mark, vary};
use crate::limits::COMPRESSED_AT_A_TIME;
use crate::memory::Memory;
use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use h2::ext::Protocol;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::any::Any;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Makes one [`Gzip`] for each request.
pub(super) struct GzipBuilder {
    types: Arc<[String]>,
    room: Arc<Semaphore>,
    memory: Memory,
}

impl GzipBuilder {
    /// For responses of these media types.
    pub(super) fn new(types: Arc<[String]>, room: Arc<Semaphore>, memory: Memory) -> Self {
        Self { types, room, memory }
    }
}

/// Room for as many responses as are compressed at the same time.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(COMPRESSED_AT_A_TIME))
}

/// Whether the response whose header went out is compressed.
pub(super) fn is_compressing(session: &Session) -> bool {
    session.downstream_modules_ctx.get::<Gzip>().is_some_and(|gzip| gzip.encoder.is_some())
}

impl HttpModuleBuilder for GzipBuilder {
    fn init(&self) -> Module {
        let (types, room, memory) = (Arc::clone(&self.types), Arc::clone(&self.room), self.memory.clone());
        Box::new(Gzip { types, room, memory, asked: Asked::default(), encoder: None })
    }
}

struct Gzip {
    types: Arc<[String]>,
    room: Arc<Semaphore>,
    memory: Memory,
    asked: Asked,
    /// Of a response that is compressed, with its share of the room.
    encoder: Option<(GzEncoder<Vec<u8>>, OwnedSemaphorePermit)>,
}

impl Gzip {
    fn finish(&mut self) -> Result<Option<Bytes>> {
        let Some((encoder, _room)) = self.encoder.take() else { return Ok(None) };
        encoder.finish().map(|rest| Some(rest.into())).map_err(failed)
    }
}

#[async_trait]
impl HttpModule for Gzip {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        // What looks like a body of an extended CONNECT is a tunnel.
        if request.extensions.get::<Protocol>().is_none() {
            self.asked = Asked::of(&request.method, request.version, &request.headers);
        }
        Ok(())
    }

    async fn response_header_filter(&mut self, response: &mut ResponseHeader, empty: bool) -> Result<()> {
        match self.asked.plan(&self.types, response.status, &response.headers, empty) {
            Plan::Leave => {}
            Plan::Vary => vary(response),
            // As the header of GET, if that found room.
            Plan::Compress if self.asked.head => mark(response),
            Plan::Compress if !self.memory.compresses() => vary(response),
            Plan::Compress => match Arc::clone(&self.room).try_acquire_owned() {
                Ok(room) => {
                    mark(response);
                    response.insert_header(TRANSFER_ENCODING, "chunked")?;
                    self.encoder = Some((GzEncoder::new(Vec::new(), Compression::fast()), room));
                }
                Err(_) => vary(response),
            },
        }
        Ok(())
    }

    fn response_body_filter(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<()> {
        if let Some((encoder, _)) = &mut self.encoder
            && let Some(part) = body.take().filter(|part| !part.is_empty())
        {
            // A client that waits for this part is not to wait for the next one.
            encoder.write_all(&part).and_then(|()| encoder.flush()).map_err(failed)?;
            *body = Some(std::mem::take(encoder.get_mut()).into());
        }
        if end && let Some(rest) = self.finish()? {
            let part = body.take().unwrap_or_default();
            *body = Some([part, rest].concat().into());
        }
        Ok(())
    }

    /// A body that ends with trailers ends here; the trailers, which nobody announced, are left out.
    fn response_trailer_filter(&mut self, _trailers: &mut Option<Box<HeaderMap>>) -> Result<Option<Bytes>> {
        self.finish()
    }

    fn response_done_filter(&mut self) -> Result<Option<Bytes>> {
        self.finish()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

fn failed(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "while a response is compressed", error)
}
