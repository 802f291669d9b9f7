//! Trailers that come in: the bytes of one message flow in as they pass by, and the fields of its trailer section flow into the
//! place that [`super::Outgoing`] takes them from. Pure.

use super::Section;
use super::fields::{parse, to_http1};
use super::framing::Framing;
use crate::chunked::Malformed;
use crate::limits::TRAILER_BYTES;
use std::sync::Arc;

/// One message that may end with trailers.
#[derive(Debug)]
pub(crate) struct Incoming {
    framing: Framing,
    /// What came of the trailer section.
    section: Vec<u8>,
    fields: Arc<Section>,
}

impl Incoming {
    /// A response, from the first byte of its header on.
    pub(super) fn of_response(fields: Arc<Section>) -> Self {
        Self { framing: Framing::of_response(), section: Vec::new(), fields }
    }

    /// A message from the first byte of its chunked body on.
    pub(super) fn of_body(fields: Arc<Section>) -> Self {
        Self { framing: Framing::of_body(), section: Vec::new(), fields }
    }

    /// The same, with trailers that nobody asked for.
    pub(super) fn of_any_body() -> Self {
        Self::of_body(Arc::default())
    }

    /// Goes over bytes that came.
    ///
    /// # Errors
    /// The message is not as RFC 9112 says; both sides must be closed, for they may have read different things.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let body = self.framing.advance(bytes)?;
        if self.framing.is_at_trailers() {
            for byte in &bytes[body..] {
                self.section.push(*byte);
                if self.section == b"\r\n" || self.section.ends_with(b"\r\n\r\n") {
                    let fields = parse(&std::mem::take(&mut self.section))?;
                    if !fields.is_empty() {
                        // A message has one trailer section.
                        drop(self.fields.set(to_http1(&fields)));
                    }
                    self.framing.leave_trailers();
                    break;
                }
                if self.section.len() >= TRAILER_BYTES {
                    return Err(Malformed::TooLarge);
                }
            }
        }
        Ok(())
    }
}
