//! Names of header fields in the case that old clients and pods insist on (HTTP/1 only): a list of names and a header flow
//! in, the same header with its names rewritten flows out. One of the few modules that name Pingora types.

use crate::options::headers::CasedName;
use http::HeaderValue;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

/// For a client that speaks HTTP/1.
///
/// # Errors
/// Pingora's, for more fields than a header can have.
pub(super) fn adjust_response(names: &[CasedName], header: &mut ResponseHeader) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if !header.has_case() {
        // A pod that speaks HTTP/2 has no case to keep, and so no place to note ours.
        let mut cased = ResponseHeader::build(header.status, Some(header.headers.len()))?;
        cased.set_version(header.version);
        for (name, value) in &header.headers {
            cased.append_header(name, value.clone())?;
        }
        *header = cased;
    }
    for CasedName { name, written } in names {
        let values: Vec<HeaderValue> = header.headers.get_all(name).iter().cloned().collect();
        header.remove_header(name);
        for value in values {
            header.append_header(written.clone(), value)?;
        }
    }
    Ok(())
}

/// For a pod that speaks HTTP/1.
///
/// # Errors
/// Pingora's, for more fields than a header can have.
pub(super) fn adjust_request(names: &[CasedName], header: &mut RequestHeader) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if !header.has_case() {
        let mut cased = RequestHeader::build(header.method.clone(), header.raw_path(), Some(header.headers.len()))?;
        cased.set_version(header.version);
        for (name, value) in &header.headers {
            cased.append_header(name, value.clone())?;
        }
        *header = cased;
    }
    for CasedName { name, written } in names {
        let values: Vec<HeaderValue> = header.headers.get_all(name).iter().cloned().collect();
        header.remove_header(name);
        for value in values {
            header.append_header(written.clone(), value)?;
        }
    }
    Ok(())
}
