//! The course of one request: look up, connect, send, redirect or read, and go on to the next address when a node does not
//! answer. Called by `Client::fetch`.

use super::connection::Connection;
use super::kept::Origin;
use super::{Call, Client, Hop, Record, Retry};
use crate::pods::{NODE_HEADER, POD_HEADER, media};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

pub(super) async fn fetch(client: &Client, call: &Call) -> Record {
    let start = Instant::now();
    let mut record = Record { url: call.url.clone(), ..Record::default() };
    let outcome = follow(client, call, &mut record).await;
    record.failure = outcome.err().map(|error| format!("{error:#}"));
    record.duration = start.elapsed();
    record
}

/// Follows redirects until something else comes.
async fn follow(client: &Client, call: &Call, record: &mut Record) -> Result<()> {
    let (mut url, mut target) = (call.url.clone(), Target::parse(&call.url, client)?);
    record.host.clone_from(&target.host);
    let mut redirects = 0;
    loop {
        let response = reach(client, call, &target, record).await?;
        let Some(location) = redirect(&response) else { return Ok(()) };
        if redirects == call.redirects {
            ensure!(call.redirects == 0, "more than {} redirects", call.redirects);
            return Ok(());
        }
        redirects += 1;
        let next = Target::parse(&location, client).with_context(|| format!("Location {location:?}"))?;
        // A change of scheme alone is the route's own wish, no sign of a missing pod.
        if next.host != target.host {
            record.redirects += 1;
        }
        let (node, status) = (record.contacted.clone(), response.status().as_u16());
        record.hops.push(Hop { url, node, status, location: location.clone() });
        (url, target) = (location, next);
    }
}

/// Gets a whole response from one of the target's addresses.
async fn reach(client: &Client, call: &Call, target: &Target, record: &mut Record) -> Result<Response<()>> {
    let repeatable = call.method.is_idempotent();
    if let Some(response) = reuse(client, call, target, record).await? {
        return Ok(response);
    }
    for round in 0..=call.rounds {
        let literal = || target.host.trim_matches(['[', ']']).parse().ok();
        let mut addresses = match client.address.or_else(literal) {
            Some(address) => vec![address],
            None => client.resolver.addresses(&target.host).await?,
        };
        if !client.in_order {
            shuffle(&mut addresses);
        }
        let last_round = round == call.rounds || !repeatable;
        let most = addresses.len();
        for (index, address) in addresses.into_iter().enumerate() {
            record.contacted = client.nodes.get(&address).cloned();
            let error = match attempt(client, call, target, address, record).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let node = record.contacted.clone().unwrap_or_else(|| address.to_string());
            if (last_round && index + 1 == most) || (!repeatable && !error.is::<NotConnected>()) {
                return Err(error.context(format!("{} at node {node}", target.host)));
            }
            record.retries.push(Retry { node, reason: format!("{error:#}") });
        }
        client.resolver.forget(&target.host);
        tokio::time::sleep(PAUSE).await;
    }
    bail!("{}: no address answered", target.host)
}

/// The response over a connection that was kept, if there is one and it still serves. Any request may go to another connection where
/// this one is closed before the response begins (RFC 9112 §9.3.1, and what browsers do).
async fn reuse(client: &Client, call: &Call, target: &Target, record: &mut Record) -> Result<Option<Response<()>>> {
    let Some(kept) = &client.kept else { return Ok(None) };
    while let Some((address, connection)) = kept.take(&target.origin(call)) {
        record.contacted = client.nodes.get(&address).cloned();
        let error = match exchange(client, call, target, (address, connection), record).await {
            Ok(response) => return Ok(Some(response)),
            Err(error) => error,
        };
        let closed = error.is::<NoResponse>() && !error.is::<Elapsed>();
        let node = record.contacted.clone().unwrap_or_else(|| address.to_string());
        if closed {
            record.reconnects = record.reconnects.saturating_add(1);
        } else if call.method.is_idempotent() {
            record.retries.push(Retry { node, reason: format!("{error:#}") });
        } else {
            return Err(error.context(format!("{} at node {node}", target.host)));
        }
    }
    Ok(None)
}

/// One exchange with one address over a connection of its own.
async fn attempt(
    client: &Client,
    call: &Call,
    target: &Target,
    address: IpAddr,
    record: &mut Record,
) -> Result<Response<()>> {
    let name = target.tls.then_some(target.host.as_str());
    let at = SocketAddr::new(address, target.port);
    let connection = Connection::open(client, at, name, call.protocol).await.context(NotConnected)?;
    exchange(client, call, target, (address, connection), record).await
}

/// One exchange, to the body's last byte.
async fn exchange(
    client: &Client,
    call: &Call,
    target: &Target,
    (address, mut connection): (IpAddr, Connection),
    record: &mut Record,
) -> Result<Response<()>> {
    let mut request = Request::new(Full::new(call.body.clone()));
    request.method_mut().clone_from(&call.method);
    request.headers_mut().clone_from(&call.headers);
    match &connection {
        Connection::Http1(_) => {
            request.headers_mut().entry(header::HOST).or_insert(target.authority.parse()?);
            *request.uri_mut() = target.path.parse()?;
        }
        Connection::Http2(_) => {
            let scheme = if target.tls { "https" } else { "http" };
            *request.uri_mut() = format!("{scheme}://{}{}", target.authority, target.path).parse()?;
            *request.version_mut() = http::Version::HTTP_2;
        }
    }
    let (parts, body) = connection.send(request).await.context(NoResponse)?.into_parts();
    let field =
        |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).map(str::to_owned);
    record.status = Some(parts.status.as_u16());
    record.answered = field(NODE_HEADER);
    record.pod = field(POD_HEADER);
    record.headers.clone_from(&parts.headers);
    record.body = Bytes::new();
    let checked = expected_media(target, &parts.headers, parts.status);
    if call.method != Method::HEAD && parts.status != StatusCode::SWITCHING_PROTOCOLS {
        record.bytes = read(body, checked, &mut record.body).await?;
    }
    if let Some(kept) = client.kept.as_ref().filter(|_| parts.status != StatusCode::SWITCHING_PROTOCOLS) {
        kept.keep(target.origin(call), address, connection).await;
    }
    Ok(Response::from_parts(parts, ()))
}

/// Reads a body and compares media with what it must be; keeps any other, up to a limit.
async fn read(mut body: Incoming, expected: Option<std::ops::Range<u64>>, kept: &mut Bytes) -> Result<u64> {
    let mut bytes = 0;
    let mut text = BytesMut::new();
    while let Some(frame) =
        timeout(STALL, body.frame()).await.with_context(|| format!("body stalled after {bytes} bytes"))?
    {
        let frame = frame.with_context(|| format!("body broke off after {bytes} bytes"))?;
        let Some(data) = frame.data_ref() else { continue };
        match &expected {
            Some(range) => ensure!(media::verify(range.start + bytes, data), "wrong content after byte {bytes}"),
            None if text.len() + data.len() <= LARGEST_KEPT => text.extend_from_slice(data),
            None => {}
        }
        bytes += data.len() as u64;
    }
    if let Some(range) = expected {
        ensure!(bytes == range.end - range.start, "{bytes} bytes instead of {}", range.end - range.start);
    }
    *kept = text.freeze();
    Ok(bytes)
}

/// The part of the media content that a good response to `/media/BYTES` must carry.
fn expected_media(target: &Target, headers: &HeaderMap, status: StatusCode) -> Option<std::ops::Range<u64>> {
    let path = target.path.split('?').next()?;
    let total: u64 = path.rsplit_once("/media/")?.1.parse().ok()?;
    match status {
        StatusCode::OK => Some(0..total),
        StatusCode::PARTIAL_CONTENT => {
            let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
            let (first, last) = value.strip_prefix("bytes ")?.split_once('/')?.0.split_once('-')?;
            Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
        }
        _ => None,
    }
}

fn redirect(response: &Response<()>) -> Option<String> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(header::LOCATION).filter(|_| moved)?;
    Some(location.to_str().ok()?.to_owned())
}

/// A URL taken apart.
struct Target {
    tls: bool,
    host: String,
    /// What Host says: with the port when the URL or the network has an unusual one.
    authority: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str, client: &Client) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!("{url:?}: neither http:// nor https://"),
        };
        let host = uri.host().with_context(|| format!("{url:?} has no host"))?.to_owned();
        let (usual, own) = if tls { (443, client.ports.https) } else { (80, client.ports.http) };
        let port = uri.port_u16().unwrap_or(own);
        let authority = if port == usual { host.clone() } else { format!("{host}:{port}") };
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self { tls, host, authority, port, path })
    }

    fn origin(&self, call: &Call) -> Origin {
        Origin { tls: self.tls, host: self.host.clone(), port: self.port, protocol: call.protocol }
    }
}

/// Marks errors of an exchange that never began, which any request may repeat.
#[derive(Debug, Clone, Copy)]
struct NotConnected;

impl std::fmt::Display for NotConnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no connection")
    }
}

/// Marks errors of an exchange of which no response came.
#[derive(Debug, Clone, Copy)]
struct NoResponse;

impl std::fmt::Display for NoResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no response")
    }
}

/// Any order will do, as long as no address is always first.
fn shuffle(addresses: &mut [IpAddr]) {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), addresses.len());
    if !addresses.is_empty() {
        let first = usize::try_from(random % addresses.len() as u64).unwrap_or(0);
        addresses.rotate_left(first);
    }
}

const PAUSE: Duration = Duration::from_millis(250);
/// How long a body may stand still before the client gives the node up.
const STALL: Duration = Duration::from_secs(10);
const LARGEST_KEPT: usize = 1 << 20;
