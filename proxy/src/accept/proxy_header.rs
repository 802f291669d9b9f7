//! Who is behind a load balancer: a socket flows in, the addresses that its PROXY header tells flow out. Nothing beyond the
//! header is read. Which connections must have one, the operator says; from all others it is no header but a client's bytes.

use crate::limits::PROXY_HEADER_TIME;
use crate::options::ProxyProtocol;
use crate::proxy_protocol::{Addresses, Malformed, Parsed, parse};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What is expected of a connection before its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// A client.
    Client,
    /// A PROXY header, then a client.
    Header,
    /// Nothing: it comes from where no connection may come from.
    Nothing,
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It comes from elsewhere than the load balancers.
    #[error("not from a trusted source")]
    Source,
    /// It ended, such as a check whether the port is open.
    #[error("the connection ended: {0}")]
    Ended(#[from] io::Error),
    /// Its header does not come in time.
    #[error("the PROXY header does not come in time")]
    Timeout,
    /// Its first bytes are no header.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Refused {
    /// For the metric; `None` where nothing is wrong.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Source => Some("source"),
            Self::Ended(_) => None,
            Self::Timeout => Some("timeout"),
            Self::Malformed(Malformed::Absent) => Some("absent"),
            Self::Malformed(Malformed::Broken | Malformed::TooLong) => Some("malformed"),
        }
    }
}

/// What a connection from this address begins with.
pub(super) fn expected(settings: &ProxyProtocol, peer: IpAddr) -> Expected {
    let trusted = settings.from.iter().any(|range| range.contains(&peer));
    match (settings.required, trusted) {
        (_, true) => Expected::Header,
        (true, false) if settings.from.is_empty() => Expected::Header,
        (true, false) => Expected::Nothing,
        (false, false) => Expected::Client,
    }
}

/// Reads the header. `None` where it names no addresses.
///
/// # Errors
/// [`Refused`] says why the connection is not served.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Addresses>, Refused> {
    timeout(PROXY_HEADER_TIME, read_header(stream)).await.unwrap_or(Err(Refused::Timeout))
}

async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Addresses>, Refused> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes)? {
            Parsed::Header(addresses) => return Ok(addresses),
            Parsed::Incomplete(more) => {
                // Not all at once: what cannot become a header is refused at its first bytes.
                if (&mut *stream).take(more as u64).read_buf(&mut bytes).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn only_load_balancers_are_believed() {
        let ranges = |text: &str| text.split(' ').map(|range| range.parse().unwrap()).collect();
        let [balancer, other]: [IpAddr; 2] = ["192.0.2.9".parse().unwrap(), "198.51.100.9".parse().unwrap()];
        let off = ProxyProtocol { required: false, from: Vec::new() };
        let trusted = ProxyProtocol { required: false, from: ranges("192.0.2.0/24 2001:db8::/32") };
        let required = ProxyProtocol { required: true, from: Vec::new() };
        let both = ProxyProtocol { required: true, ..trusted.clone() };
        let both_of = |settings| (expected(settings, balancer), expected(settings, other));
        assert_eq!(both_of(&off), (Expected::Client, Expected::Client));
        assert_eq!(both_of(&trusted), (Expected::Header, Expected::Client));
        assert_eq!(both_of(&required), (Expected::Header, Expected::Header));
        assert_eq!(both_of(&both), (Expected::Header, Expected::Nothing));
    }

    #[tokio::test]
    async fn a_header_in_pieces_is_read_and_nothing_behind_it() {
        let (mut ours, mut theirs) = tokio::io::duplex(1);
        let sender = tokio::spawn(async move {
            theirs.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET").await.unwrap();
            theirs
        });
        let addresses = read(&mut ours).await.unwrap().unwrap();
        assert_eq!(addresses.source, "192.0.2.1:1".parse().unwrap());
        let mut rest = [0; 3];
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"GET");
        drop(sender.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_never_ends_is_not_waited_for() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(b"PROXY TCP4 ").await.unwrap();
        assert_eq!(read(&mut ours).await.unwrap_err().name(), Some("timeout"));
        assert_eq!(read(&mut &b"GET / HTTP/1.1\r\n"[..]).await.unwrap_err().name(), Some("absent"));
        assert_eq!(read(&mut &b""[..]).await.unwrap_err().name(), None);
    }
}
