//! One request and its answer on a connection to a pod: the client's session and the pod's flow in, the connection flows out if
//! it can serve on. What the pod says is on its way to the client before more of it is read. Called by `direct`; one of the few
//! modules that name Pingora types.

use super::pod::PodSocket;
use super::request;
use crate::http::HttpService;
use crate::http::context::RequestContext;
use crate::http::gzip;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::{ProxyHttp, Session};
use pingora::{Error, ErrorType, Result};

/// Asks the pod, and gives the client what it answers.
///
/// # Errors
/// What failed, marked with the side that did.
pub(super) async fn exchange(
    service: &HttpService,
    mut pod: HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<PodSocket>>> {
    let unsent = ask(service, &mut pod, session, ctx).await?;
    let sent = unsent.is_none();
    let response = match final_response(service, &mut pod, session, ctx).await {
        // A pod that does not take the request may have said why; if not, the first fault is the cause.
        Err(error) if *error.esource() == pingora::ErrorSource::Upstream => return Err(unsent.unwrap_or(error)),
        response => response?,
    };
    answer(service, &mut pod, response, session, ctx).await?;
    pod.respect_keepalive();
    if !sent {
        return Ok(None);
    }
    let kept = pod.reuse().await.and_then(|stream| stream.into_any().downcast().ok());
    Ok(kept)
}

/// Sends the request. Gives the fault of a pod that does not take the body.
async fn ask(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Option<Box<Error>>> {
    let mut request = request::of_client(session.req_header()).map_err(Error::into_down)?;
    service.upstream_request_filter(session, &mut request, ctx).await?;
    request::settle(&mut request, !session.as_downstream_mut().is_body_empty())?;
    pod.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    let mut body = session.as_downstream().get_retry_buffer();
    service.request_body_filter(session, &mut body, true, ctx).await?;
    let sent = match &body {
        Some(body) => pod.write_body(body).await.map(drop),
        None => Ok(()),
    };
    let finished = match sent {
        Ok(()) => pod.finish_body().await.map(drop),
        Err(error) => Err(error),
    };
    Ok(finished.err().map(Error::into_up))
}

/// The answer's header, after the interim ones, which the client has got by then.
async fn final_response(
    service: &HttpService,
    pod: &mut HttpSession,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<Box<ResponseHeader>> {
    loop {
        let mut response = tokio::select! {
            biased;
            read = pod.read_resp_header_parts() => read.map_err(Error::into_up)?,
            error = gone(session.as_downstream_mut()) => return Err(error),
        };
        service.upstream_response_filter(session, &mut response, ctx).await?;
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            let fault = "the pod switches to what was not asked for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, fault).into_up());
        }
        if !response.status.is_informational() {
            return Ok(response);
        }
        service.response_filter(session, &mut response, ctx).await?;
        session.write_response_header(response, false).await.map_err(Error::into_down)?;
    }
}

/// Gives the client the answer, whole.
async fn answer(
    service: &HttpService,
    pod: &mut HttpSession,
    mut response: Box<ResponseHeader>,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<()> {
    let empty = pod.is_body_done();
    let bodiless = session.req_header().method == Method::HEAD
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framed = response.headers.contains_key(TRANSFER_ENCODING) || response.headers.contains_key(CONTENT_LENGTH);
    if !bodiless && !framed && !empty {
        // A body that ends with the pod's connection need not end the client's.
        response.set_version(Version::HTTP_11);
        response.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    service.response_filter(session, &mut response, ctx).await?;
    session.write_response_header(response, empty).await.map_err(Error::into_down)?;
    if !empty {
        copy(pod, session).await?;
    }
    session.as_downstream_mut().finish_body().await.map_err(Error::into_down)
}

/// Passes the body on, part by part.
async fn copy(pod: &mut HttpSession, session: &mut Session) -> Result<()> {
    let changed = gzip::is_compressing(session);
    while !pod.is_body_done() {
        let part = tokio::select! {
            biased;
            read = pod.read_body_ref() => read.map_err(Error::into_up)?,
            error = gone(session.as_downstream_mut()) => return Err(error),
        };
        let Some(part) = part else { break };
        if changed {
            session.write_response_body(Some(Bytes::copy_from_slice(part)), false).await.map_err(Error::into_down)?;
        } else if let (ServerSession::H1(client), false) = (session.as_downstream_mut(), part.is_empty()) {
            client.write_body(part).await.map_err(Error::into_down)?;
        }
    }
    if changed {
        session.write_response_body(None, true).await.map_err(Error::into_down)?;
    }
    Ok(())
}

/// Returns when the client has left, or says something that nobody asked for.
async fn gone(client: &mut ServerSession) -> Box<Error> {
    match client.read_body_or_idle(true).await {
        Err(error) => error.into_down(),
        // Only a request that has a body left to be read says anything here.
        Ok(_) => std::future::pending().await,
    }
}
