//! A pod whose every byte is known: requests flow in, answers of the length and framing that a request asks for flow out, or what it
//! brought. Started by tests of the byte path as it is, and driven connection by connection where pods have other habits as well.

use super::Scripted;
use super::wire::{bytes, read_body, read_head};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A pod that answers `GET /FRAMING/LENGTH/PIECE` with so many bytes, the first of them together with the header where the length is
/// odd, in pieces of this size; and that answers anything else with what it was sent.
pub(crate) async fn bytes_pod() -> Scripted {
    Scripted::start(|mut stream| async move {
        let mut read = Vec::new();
        while let Some(header) = read_head(&mut stream, &mut read).await {
            if answer(&mut stream, &header, &mut read).await.is_none() {
                return;
            }
        }
    })
    .await
}

/// Answers a request whose header was read, and `read` with it; `None` where the connection is to be closed.
pub(crate) async fn answer(stream: &mut TcpStream, header: &str, read: &mut Vec<u8>) -> Option<()> {
    match header.split(' ').next() {
        Some("GET") => give(stream, header).await,
        _ => mirror(stream, header, read).await,
    }
}

async fn give(stream: &mut TcpStream, header: &str) -> Option<()> {
    let mut path = header.split(' ').nth(1)?.split('/').skip(1);
    let framing = path.next()?;
    let (length, piece): (usize, usize) = (path.next()?.parse().ok()?, path.next()?.parse().ok()?);
    let body = bytes(length);
    let head = match framing {
        "length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
        "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
    };
    let mut pieces: Vec<Vec<u8>> = body.chunks(piece).map(<[u8]>::to_vec).collect();
    if framing == "chunked" {
        for piece in &mut pieces {
            *piece = [format!("{:X}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        }
        pieces.push(b"0\r\n\r\n".to_vec());
    }
    match pieces.first_mut().filter(|_| length % 2 == 1) {
        Some(first) => *first = [head.as_bytes(), first].concat(),
        None => stream.write_all(head.as_bytes()).await.ok()?,
    }
    for piece in pieces {
        stream.write_all(&piece).await.ok()?;
    }
    (framing != "close").then_some(())
}

async fn mirror(stream: &mut TcpStream, header: &str, read: &mut Vec<u8>) -> Option<()> {
    let body = read_body(stream, header, read).await?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[answer.as_bytes(), &body].concat()).await.ok()
}
