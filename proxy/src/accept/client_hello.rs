//! The ClientHello of a TLS connection: bytes of a socket flow in, the server name flows out; the bytes are kept, for the
//! handshake or for the pod. Bounded in bytes here and in time by the caller.

use crate::limits::CLIENT_HELLO_BYTES;
use crate::metrics::TlsFailure;
use bytes::BytesMut;
use nearside_routing::hostname::canonical_host;
use rustls::server::Acceptor;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// The server name (RFC 6066 §3), canonical.
    pub(super) server_name: Option<String>,
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The client left before it sent anything.
    #[error("closed without a byte")]
    Closed,
    /// The connection failed or ended midway.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Something else than TLS, or more bytes than a ClientHello may have.
    #[error("not a ClientHello")]
    NotTls,
}

impl HelloError {
    /// How the failure is counted.
    pub(super) fn failure(&self) -> TlsFailure {
        match self {
            Self::Closed | Self::Io(_) => TlsFailure::Closed,
            Self::NotTls => TlsFailure::NotTls,
        }
    }
}

/// Reads until the ClientHello is complete. `bytes` holds everything that was read.
///
/// # Errors
/// [`HelloError`] says what came instead.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut BytesMut,
) -> Result<ClientHello, HelloError> {
    loop {
        if stream.read_buf(bytes).await? == 0 {
            return Err(if bytes.is_empty() {
                HelloError::Closed
            } else {
                io::Error::from(io::ErrorKind::UnexpectedEof).into()
            });
        }
        if let Some(hello) = parse(bytes)? {
            return Ok(hello);
        }
        if bytes.len() >= CLIENT_HELLO_BYTES {
            return Err(HelloError::NotTls);
        }
    }
}

/// The ClientHello at the start of `bytes`; `None` while it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Err(HelloError::NotTls);
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest)? == 0 {
            break;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(|name| canonical_host(name).into_owned());
                return Ok(Some(ClientHello { server_name: name }));
            }
            Ok(None) => {}
            Err(_) => return Err(HelloError::NotTls),
        }
    }
    Ok(None)
}

/// The fatal alert `unrecognized_name` (RFC 6066 §3) as a record.
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;

    fn hello(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_is_found_once_the_hello_is_complete_and_not_before() {
        let bytes = hello("Video.Example.com");
        let expected = ClientHello { server_name: Some("video.example.com".into()) };
        assert_eq!(parse(&bytes).unwrap(), Some(expected.clone()));
        let mut followed = bytes.clone();
        followed.extend([22, 3, 3]);
        assert_eq!(parse(&followed).unwrap(), Some(expected));
        for end in [1, 5, 20, bytes.len() - 1] {
            assert_eq!(parse(&bytes[..end]).unwrap(), None, "{end} bytes");
        }
    }

    #[test]
    fn an_address_is_no_server_name() {
        assert_eq!(parse(&hello("198.18.0.1")).unwrap(), Some(ClientHello { server_name: None }));
    }

    #[test]
    fn other_protocols_are_refused_at_the_first_byte() {
        assert!(matches!(parse(b"GET / HTTP/1.1\r\n"), Err(HelloError::NotTls)));
        assert!(matches!(parse(&[22, 9, 9, 0, 1, 1]), Err(HelloError::NotTls)));
    }

    #[tokio::test]
    async fn a_hello_in_pieces_is_read_and_kept_whole() {
        let whole = hello("a.example.com");
        let mut bytes = BytesMut::new();
        let (head, tail) = whole.split_at(7);
        let mut stream = head.chain(tail);
        assert_eq!(read(&mut stream, &mut bytes).await.unwrap().server_name.as_deref(), Some("a.example.com"));
        assert_eq!(bytes, whole);
        assert!(matches!(read(&mut &b""[..], &mut BytesMut::new()).await, Err(HelloError::Closed)));
        assert!(matches!(read(&mut &whole[..9], &mut BytesMut::new()).await, Err(HelloError::Io(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = bytes;
            bytes.insert(0, HANDSHAKE);
            prop_assert!(!matches!(parse(&bytes), Ok(Some(_))));
        }
    }
}
