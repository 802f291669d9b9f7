//! The fuzz target of trace contexts: header fields flow in; the context that they state is the same when it is written and read again.

use super::context::{Incoming, TRACEPARENT, TRACESTATE, written};
use http::HeaderMap;

/// See [`crate::fuzzing::forwarded`].
pub(crate) fn context(headers: &HeaderMap) {
    let Some(read) = Incoming::read(headers) else { return };
    let mut fields = HeaderMap::new();
    fields.insert(TRACEPARENT, written(read.trace, read.parent, read.sampled));
    if let Some(state) = read.state.clone() {
        fields.insert(TRACESTATE, state);
    }
    assert_eq!(Incoming::read(&fields), Some(read));
}
