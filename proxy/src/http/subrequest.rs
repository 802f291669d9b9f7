//! Requests of the proxy's own, besides those that it passes on: where to ask, a header and a short body flow in, status, header
//! and a short body flow out. On Pingora's connector, so that one HTTP implementation speaks to pods; HTTP/1.1 alone. All is
//! bounded: the whole exchange in time, both bodies in size, idle connections in number. One of the few modules that name
//! Pingora types.

use crate::limits::{SUBREQUEST_HEADER_BYTES, SUBREQUEST_INTERIM, SUBREQUEST_POOL, UPSTREAM_IDLE};
use crate::upstream_tls::DestinationCa;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// Makes requests, and keeps connections for further ones. Shared by all requests of clients.
pub(crate) struct Subrequests(Connector);

/// Who is asked.
#[derive(Clone)]
pub(crate) struct Server {
    /// Where it listens. That it may be asked is the caller's to know (`routing::address_policy`).
    pub(crate) address: SocketAddr,
    /// What tells its connections from those of another server at the same address, such as [`crate::backends::Target::identity`].
    pub(crate) identity: u64,
    /// `Host`.
    pub(crate) authority: HeaderValue,
    /// How it is asked over TLS, if it is.
    pub(crate) tls: Option<ServerTls>,
}

/// TLS to a server.
#[derive(Clone)]
pub(crate) struct ServerTls {
    /// The name that it is asked for; never empty, for an empty one would switch verification off.
    pub(crate) name: String,
    /// Who must have signed its certificate; `None` means that it is not verified.
    pub(crate) ca: Option<DestinationCa>,
}

/// What is asked.
pub(crate) struct Subrequest {
    /// The method; the body of an answer to HEAD is not waited for.
    pub(crate) method: Method,
    /// The target in origin form, as it is sent.
    pub(crate) target: Vec<u8>,
    /// Header fields. Those that belong to a connection or frame a message, and `Host`, are not sent.
    pub(crate) headers: HeaderMap,
    /// The body, empty for none.
    pub(crate) body: Bytes,
    /// For everything, from connecting to the last byte of the answer.
    pub(crate) time: Duration,
    /// Bytes of the answer's body. More: [`SubrequestError::TooLarge`].
    pub(crate) largest_answer: usize,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subresponse {
    /// The final status, never 1xx.
    pub(crate) status: StatusCode,
    /// Header fields, without those that belong to a connection or frame a message.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubrequestError {
    /// It took too long.
    #[error("no whole answer in time")]
    Time,
    /// Connecting, TLS, or HTTP failed.
    #[error("{0}")]
    Failed(#[from] Box<pingora::Error>),
    /// Header or body of the answer are larger than they may be.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is none, such as a change of protocols that nobody asked for.
    #[error("the answer is no final response")]
    NotFinal,
}

impl Subrequests {
    /// Without any connection yet.
    pub(crate) fn new() -> Self {
        Self(Connector::new(Some(ConnectorOptions::new(SUBREQUEST_POOL))))
    }

    /// Asks once; again only where a kept connection turned out to be dead and the method may be repeated.
    ///
    /// # Errors
    /// [`SubrequestError`] says why there is no whole answer.
    pub(crate) async fn ask(&self, server: &Server, request: &Subrequest) -> Result<Subresponse, SubrequestError> {
        let peer = peer(server, request.time);
        let asking = async {
            loop {
                let (mut session, reused) = self.0.get_http_session(&peer).await?;
                match exchange(&mut session, server, request).await {
                    Ok(answer) => {
                        self.0.release_http_session(session, &peer, Some(UPSTREAM_IDLE)).await;
                        return Ok(answer);
                    }
                    // The pool loses a connection each time, so this ends.
                    Err(SubrequestError::Failed(_))
                        if reused && request.method.is_idempotent() && session.response_header().is_none() => {}
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(request.time, asking).await.unwrap_or(Err(SubrequestError::Time))
    }
}

fn peer(server: &Server, time: Duration) -> HttpPeer {
    let name = server.tls.as_ref().map(|tls| tls.name.clone()).unwrap_or_default();
    let ca = server.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    let mut peer = HttpPeer::new(server.address, server.tls.is_some(), name);
    peer.options.verify_cert = ca.is_some();
    peer.options.verify_hostname = ca.is_some_and(|ca| ca.names);
    // Without a bundle of its own, Pingora verifies with the CAs of the system.
    peer.options.ca = ca.filter(|ca| !ca.system).map(|ca| ca.bundle.clone());
    peer.options.set_http_version(1, 1);
    peer.options.total_connection_timeout = Some(time);
    let mut key = DefaultHasher::new();
    (server.identity, ca.map(|ca| (ca.identity, ca.names, ca.system))).hash(&mut key);
    peer.group_key = key.finish();
    peer
}

async fn exchange(
    session: &mut HttpSession,
    server: &Server,
    request: &Subrequest,
) -> Result<Subresponse, SubrequestError> {
    let mut header = RequestHeader::build(request.method.clone(), &request.target, Some(request.headers.len() + 2))?;
    let own = without_connection(&request.headers);
    for (name, value) in own.iter().filter(|(name, _)| **name != HOST && **name != EXPECT) {
        header.append_header(name, value)?;
    }
    header.insert_header(HOST, &server.authority)?;
    let expected = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    if expected || !request.body.is_empty() {
        header.insert_header(CONTENT_LENGTH, request.body.len())?;
    }
    session.write_request_header(Box::new(header)).await?;
    if !request.body.is_empty() {
        session.write_request_body(request.body.clone(), true).await?;
    }
    session.finish_request_body().await?;
    let mut interim = 0;
    let (status, headers) = loop {
        session.read_response_header().await?;
        let response = session.response_header().ok_or(SubrequestError::NotFinal)?;
        match response.status {
            StatusCode::SWITCHING_PROTOCOLS => return Err(SubrequestError::NotFinal),
            status if status.is_informational() && interim < SUBREQUEST_INTERIM => interim += 1,
            status if status.is_informational() => return Err(SubrequestError::NotFinal),
            status => break (status, without_connection(&response.headers)),
        }
    };
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > SUBREQUEST_HEADER_BYTES {
        return Err(SubrequestError::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(part) = session.read_response_body().await? {
        if body.len() + part.len() > request.largest_answer {
            return Err(SubrequestError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(Subresponse { status, headers, body: body.freeze() })
}

/// The fields that are for whoever is at the other end, and not for the connection (RFC 9110 §7.6.1) or its framing.
pub(super) fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let kept = |name: &HeaderName| !OF_CONNECTION.contains(name) && !named.contains(name);
    headers.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).fold(
        HeaderMap::new(),
        |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        },
    )
}

const OF_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Answers each connection with these pieces, one for each request, and says what was asked.
    async fn server(answers: Vec<Vec<&'static str>>) -> (Server, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let mut asked = Vec::new();
            for connection in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in connection {
                    asked.push(read_request(&mut stream).await);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            asked
        });
        let authority = HeaderValue::from_static("auth.example.com");
        (Server { address, identity: 1, authority, tls: None }, served)
    }

    async fn read_request(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        let length = |text: &str| {
            let (header, body) = text.split_once("\r\n\r\n")?;
            let length = header.to_ascii_lowercase();
            let length = length.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
            (body.len() >= length.parse().unwrap()).then_some(())
        };
        while length(&String::from_utf8_lossy(&read)).is_none() && stream.read_buf(&mut read).await.unwrap() > 0 {}
        String::from_utf8(read).unwrap()
    }

    fn request(method: Method, body: &'static str) -> Subrequest {
        let fields = [("host", "other"), ("connection", "x-hop, close"), ("x-hop", "1"), ("x-kept", "2"), ("te", "x")];
        let headers = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Subrequest {
            method,
            target: b"/check?a=b".to_vec(),
            headers: headers.into_iter().collect(),
            body: body.into(),
            time: Duration::from_secs(20),
            largest_answer: 10,
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-User: me\r\nKeep-Alive: timeout=5\r\n\r\nok";

    #[tokio::test]
    async fn what_belongs_to_a_connection_is_not_passed_on_and_connections_are_kept() {
        let (server, served) = server(vec![vec![OK, OK]]).await;
        let subrequests = Subrequests::new();
        for (method, body) in [(Method::GET, ""), (Method::POST, "text")] {
            let answer = subrequests.ask(&server, &request(method, body)).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]));
            assert_eq!(answer.headers.len(), 1, "{:?}", answer.headers);
        }
        let asked = served.await.unwrap();
        assert!(asked[0].starts_with("GET /check?a=b HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[0].contains("x-kept: 2") && !asked[0].contains("x-hop"), "{asked:?}");
        assert!(asked[0].to_ascii_lowercase().contains("host: auth.example.com\r\n"), "{asked:?}");
        assert!(asked[1].ends_with("\r\n\r\ntext"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_dead_connection_is_replaced_and_interim_answers_are_passed_over() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let (server, served) = server(vec![vec![OK, ""], vec![interim]]).await;
        let subrequests = Subrequests::new();
        subrequests.ask(&server, &request(Method::GET, "")).await.unwrap();
        let answer = subrequests.ask(&server, &request(Method::GET, "")).await.unwrap();
        assert_eq!(answer.status.as_u16(), 204);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_must_be_one() {
        let subrequests = Subrequests::new();
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n12345678901", "the answer is too large"),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "the answer is no final response"),
        ] {
            let (server, served) = server(vec![vec![answer]]).await;
            let error = subrequests.ask(&server, &request(Method::GET, "")).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            served.await.unwrap();
        }
        let (server, served) = server(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "never"]]).await;
        let hasty = Subrequest { time: Duration::from_millis(50), ..request(Method::GET, "") };
        assert!(matches!(subrequests.ask(&server, &hasty).await, Err(SubrequestError::Time)));
        served.abort();
    }
}
