//! Memory for what is on its way through this process: room flows out, and comes back when its user is done with it. Used where bytes
//! have to be seen, between two waits: what waits holds none.

use crate::limits::SEALED_BATCH;
use std::cell::Cell;

/// Room for bytes. Each thread keeps one, so that it is that of the last use, and still in the processor's cache.
pub(crate) struct Buffer {
    /// Old bytes, until they are written over.
    pub(crate) bytes: Box<[u8]>,
}

impl Buffer {
    /// The thread's, or another one.
    pub(crate) fn new() -> Self {
        let bytes = KEPT.take().unwrap_or_else(|| vec![0; SEALED_BATCH].into_boxed_slice());
        Self { bytes }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        KEPT.set(Some(std::mem::take(&mut self.bytes)));
    }
}

thread_local! {
    static KEPT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}
