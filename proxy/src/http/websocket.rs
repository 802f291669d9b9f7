//! WebSocket over HTTP/2 (RFC 8441): an extended CONNECT of a client flows in, an upgrade of HTTP/1.1 (RFC 6455) is what the pod
//! sees, and bytes flow both ways once both have agreed. Pingora upgrades HTTP/1.1 to HTTP/1.1 alone, so the pod is spoken to
//! here, by the same phases of `http` in the same order. One of the few modules that name Pingora types.

use super::HttpService;
use super::context::RequestContext;
use super::tunnel;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// Whether a client asks for a WebSocket in the way of HTTP/2.
pub(super) fn is_asked(header: &Parts) -> bool {
    header.version == Version::HTTP_2
        && header.method == Method::CONNECT
        && header.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Whether `Upgrade` names WebSocket alone (RFC 9110 §7.8).
pub(super) fn is_named(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let first = protocols.next().is_some_and(|named| named.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
    first && protocols.next().is_none()
}

/// Whether a request over HTTP/1 may become a WebSocket: anything that has a body, or is none of GET (RFC 6455 §4.1), is a request as any
/// other.
pub(super) fn may_upgrade(header: &Parts) -> bool {
    let length = header.headers.get(CONTENT_LENGTH);
    header.method == Method::GET
        && is_named(&header.headers)
        && !header.headers.contains_key(TRANSFER_ENCODING)
        && length.is_none_or(|length| length.as_bytes().iter().all(|digit| *digit == b'0'))
}

/// Serves it from the pod of the context, or from another one where that cannot be reached, until either side ends.
///
/// # Errors
/// No pod could be asked, or the tunnel broke.
pub(super) async fn serve(service: &HttpService, session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
    loop {
        let peer = service.upstream_peer(session, ctx).await?;
        match attempt(service, &peer, session, ctx).await {
            Err(error) if error.retry() => {}
            ended => return ended,
        }
    }
}

async fn attempt(
    service: &HttpService,
    peer: &HttpPeer,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let stream = match service.connector.new_stream(peer).await {
        Ok(stream) => stream,
        Err(error) => return Err(service.not_connected(error.into_up(), ctx)),
    };
    service.connected(false, ctx);
    let mut pod = HttpSession::new_with_options(stream, peer);
    let response = match ask(service, &mut pod, session, ctx).await {
        Ok(response) => response,
        Err(error) => return Err(service.failed(session, error, ctx, false)),
    };
    answer(service, pod, response, session, ctx).await
}

/// Asks the pod to upgrade, and gives its word on it.
async fn ask(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<ResponseHeader> {
    let key = key()?;
    let mut request = upgrade(session.req_header(), &key)?;
    service.upstream_request_filter(session, &mut request, ctx).await?;
    pod.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    let response = loop {
        let response = pod.read_resp_header_parts().await.map_err(Error::into_up)?;
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
            break response;
        }
    };
    service.judge_response(session, &response, ctx)?;
    let fault = match response.status {
        StatusCode::SWITCHING_PROTOCOLS if is_accepted(&response, &key) => None,
        StatusCode::SWITCHING_PROTOCOLS => Some("the pod switches to what was not asked for"),
        // To the client any 2xx means that the tunnel is there (RFC 9110 §9.3.6).
        status if status.is_success() => Some("the pod answers a request to upgrade as any other"),
        _ => None,
    };
    match fault {
        Some(fault) => Err(Error::explain(ErrorType::InvalidHTTPHeader, fault).into_up()),
        None => Ok(*response),
    }
}

/// Gives the client the pod's word, and then the tunnel or the body of the refusal.
async fn answer(
    service: &HttpService,
    mut pod: HttpSession,
    mut response: ResponseHeader,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let upgraded = response.status == StatusCode::SWITCHING_PROTOCOLS;
    service.write_response(session, &mut response, ctx)?;
    if upgraded {
        response.set_status(StatusCode::OK)?;
        for name in [&CONNECTION, &UPGRADE, &SEC_WEBSOCKET_ACCEPT, &CONTENT_LENGTH, &TRANSFER_ENCODING] {
            response.remove_header(name);
        }
        session.write_response_header(Box::new(response), false).await?;
        return tunnel::relay(pod, session, service.shared.timeouts()).await;
    }
    session.write_response_header(Box::new(response), false).await?;
    while let Some(part) = pod.read_body_bytes().await.map_err(Error::into_up)? {
        session.write_response_body(Some(part), false).await?;
    }
    session.write_response_body(None, true).await
}

/// The request to upgrade: the client's fields, without what only HTTP/2 has or what is the business of each hop.
fn upgrade(client: &RequestHeader, key: &HeaderValue) -> Result<RequestHeader> {
    let mut request = client.clone();
    request.set_version(Version::HTTP_11);
    request.set_method(Method::GET);
    for name in [&CONNECTION, &CONTENT_LENGTH, &TRANSFER_ENCODING, &TE, &EXPECT, &SEC_WEBSOCKET_ACCEPT] {
        request.remove_header(name);
    }
    if let Some(authority) = client.uri.authority() {
        request.insert_header(HOST, authority.as_str())?;
    }
    // HTTP/2 may divide cookies into several fields, and HTTP/1.1 has one (RFC 9113 §8.2.3).
    let cookies: Vec<&[u8]> = client.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        request.insert_header(COOKIE, cookie)?;
    }
    if !client.headers.contains_key(SEC_WEBSOCKET_VERSION) {
        request.insert_header(SEC_WEBSOCKET_VERSION, "13")?;
    }
    request.insert_header(CONNECTION, "Upgrade")?;
    request.insert_header(UPGRADE, "websocket")?;
    request.insert_header(SEC_WEBSOCKET_KEY, key)?;
    Ok(request)
}

/// A fresh value for `Sec-WebSocket-Key` (RFC 6455 §4.1), which clients of HTTP/2 do not send.
fn key() -> Result<HeaderValue> {
    let mut nonce = [0; 16];
    let filled = SystemRandom::new().fill(&mut nonce).ok();
    let key = filled.and_then(|()| HeaderValue::from_str(&STANDARD.encode(nonce)).ok());
    key.ok_or_else(|| Error::explain(ErrorType::InternalError, "the system has no random numbers"))
}

/// Whether the pod read the key and means WebSocket (RFC 6455 §4.2.2).
fn is_accepted(response: &ResponseHeader, key: &HeaderValue) -> bool {
    let expected = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat()));
    let accept = response.headers.get(SEC_WEBSOCKET_ACCEPT);
    is_named(&response.headers) && accept.is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn only_an_extended_connect_for_websocket_asks_for_one() {
        for (method, version, protocol, expected) in [
            (Method::CONNECT, Version::HTTP_2, Some("websocket"), true),
            (Method::CONNECT, Version::HTTP_2, Some("connect-udp"), false),
            (Method::CONNECT, Version::HTTP_2, None, false),
            (Method::CONNECT, Version::HTTP_11, Some("websocket"), false),
            (Method::GET, Version::HTTP_2, Some("websocket"), false),
        ] {
            let mut parts = Request::builder().method(&method).version(version).body(()).unwrap().into_parts().0;
            parts.extensions.extend(
                protocol
                    .map(Protocol::from)
                    .map(|protocol| {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(protocol);
                        extensions
                    })
                    .unwrap_or_default(),
            );
            assert_eq!(is_asked(&parts), expected, "{method} {version:?} {protocol:?}");
        }
    }

    #[test]
    fn the_pod_sees_one_upgrade_and_one_cookie() {
        let request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri("https://web.example.com/chat?a=b")
            .header(COOKIE, "a=1")
            .header(COOKIE, "b=2")
            .header(SEC_WEBSOCKET_KEY, "of the client")
            .body(())
            .unwrap();
        let request = RequestHeader::from(request.into_parts().0);
        let (one, other) = (key().unwrap(), key().unwrap());
        assert!(one != other && one.len() == 24);
        let request = upgrade(&request, &one).unwrap();
        let field =
            |name| request.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((request.method.as_str(), request.raw_path()), ("GET", &b"/chat?a=b"[..]));
        assert_eq!(field(HOST), ["web.example.com"]);
        assert_eq!(field(COOKIE), ["a=1; b=2"]);
        assert_eq!((field(CONNECTION), field(UPGRADE)), (vec!["Upgrade"], vec!["websocket"]));
        assert_eq!(field(SEC_WEBSOCKET_KEY), [one.to_str().unwrap()]);
        assert_eq!(field(SEC_WEBSOCKET_VERSION), ["13"]);
    }

    #[test]
    fn only_the_answer_to_the_key_is_accepted() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        for (upgrade, accept, expected) in [
            ("websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true),
            ("WebSocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true),
            ("h2c", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false),
            ("websocket", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false),
            ("websocket", "", false),
        ] {
            let mut response = ResponseHeader::build(101, None).unwrap();
            response.insert_header(UPGRADE, upgrade).unwrap();
            response.insert_header(SEC_WEBSOCKET_ACCEPT, accept).unwrap();
            assert_eq!(is_accepted(&response, &key), expected, "{upgrade} {accept}");
        }
    }
}
