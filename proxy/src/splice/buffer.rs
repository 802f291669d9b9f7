//! Memory for bytes that pass through this process: room flows out, and comes back when its user is done with it. Used between two
//! waits, by what has to see the bytes or to encrypt them: what waits holds none.

use crate::limits::{SEALED_BATCH, SEALED_CAUTION, SEALED_CAUTIOUS_BATCH};
use std::cell::Cell;
use std::time::Instant;

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

    /// How many bytes are fetched at once, at most. Near its limit for all sockets together (`tcp_mem`) the kernel takes less than a
    /// socket has room for, and what it does not take stays here, perhaps for long.
    pub(crate) fn worth() -> usize {
        let cautious = REFUSED.get().is_some_and(|last| last.elapsed() < SEALED_CAUTION);
        if cautious { SEALED_CAUTIOUS_BATCH } else { SEALED_BATCH }
    }

    /// A client's socket has taken less than it had room for.
    pub(crate) fn refuse(now: Instant) {
        REFUSED.set(Some(now));
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        KEPT.set(Some(std::mem::take(&mut self.bytes)));
    }
}

thread_local! {
    static KEPT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static REFUSED: Cell<Option<Instant>> = const { Cell::new(None) };
}
