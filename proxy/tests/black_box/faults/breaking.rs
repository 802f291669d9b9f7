//! Visits in which somebody breaks off: clients that leave in the middle, and clients whose pods do. `clients` makes them. What comes
//! from a pod that breaks off is a part of what it should have been, or the proxy's refusal, and nothing else.

use super::super::support::PATIENCE;
use super::super::support::wire::{Numbers, ask, bytes, upload};
use super::clients::{REFUSED, RUDE, SURPLUS, Site, WEB, download, get, hello, leave, to_end};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Says something that is no whole request, after so many requests, and leaves.
pub(super) async fn leaves_in(site: &Site, numbers: &mut Numbers, requests: usize, last: &[u8]) -> usize {
    let mut client = site.connect().await;
    for _ in 0..requests {
        let size = numbers.below(500);
        let (_, body) = ask(&mut client, download(numbers, size).as_bytes()).await;
        assert!(body == bytes(size));
    }
    client.write_all(last).await.unwrap();
    leave(&client, numbers);
    requests
}

pub(super) async fn leaves_in_header(site: &Site, numbers: &mut Numbers) -> usize {
    let header = get(WEB, "length/10/10", "X-Long: field\r\n");
    let part = 1 + numbers.below(header.len() - 1);
    let requests = numbers.below(2);
    leaves_in(site, numbers, requests, &header.as_bytes()[..part]).await + 1
}

pub(super) async fn leaves_in_upload(site: &Site, numbers: &mut Numbers) -> usize {
    let size = 1000 + numbers.below(300_000);
    let request = upload(WEB, &bytes(size), (numbers.below(2) == 0).then_some(1000));
    let part = 60 + numbers.below(request.len() - 60);
    leaves_in(site, numbers, 1, &request[..part]).await + 1
}

pub(super) async fn leaves_in_answer(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let size = [3000, 100_000, 300_000, 4 << 20][numbers.below(4)];
    client.write_all(download(numbers, size).as_bytes()).await.unwrap();
    // Sometimes before anything comes.
    let mut some = vec![0; numbers.below(size.min(200_000))];
    timeout(PATIENCE, client.read_exact(&mut some)).await.unwrap().unwrap();
    leave(&client, numbers);
    1
}

pub(super) async fn leaves_in_handshake(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = TcpStream::connect(site.https).await.unwrap();
    let hello = hello(&site.tls);
    let part = numbers.below(hello.len());
    client.write_all(&hello[..part]).await.unwrap();
    leave(&client, numbers);
    1
}

/// Asks a pod that breaks off. What comes is a part of what it should have been, or the proxy's refusal.
pub(super) async fn rude(site: &Site, numbers: &mut Numbers) -> usize {
    // Those that are waited for in vain are the least.
    let habits = ["short", "reset", "torn", "garbage", "early", "deaf"];
    let habit = match numbers.below(20) {
        0 => "silent",
        1 => "stalled",
        _ => habits[numbers.below(habits.len())],
    };
    let size = [200, 5000, 300_000][numbers.below(3)];
    let mut client = site.connect().await;
    let request = match habit {
        "early" => {
            let head = format!("POST /early/{size} HTTP/1.1\r\nHost: {RUDE}\r\nContent-Length: {size}\r\n\r\n");
            [head.as_bytes(), &bytes(size)].concat()
        }
        _ => get(RUDE, &format!("{habit}/{size}"), "Connection: close\r\n").into_bytes(),
    };
    // A client that is refused may not be read to the end.
    if client.write_all(&request).await.is_err() || habit == "early" {
        client.shutdown().await.ok();
        to_end(&mut client).await;
        return 1;
    }
    let answer = to_end(&mut client).await;
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    let (header, body) = answer.split_at(end);
    let refused = [&b"HTTP/1.1 502 "[..], b"HTTP/1.1 504 "].iter().any(|line| header.starts_with(line));
    let right = match habit {
        "short" | "reset" | "stalled" => header.starts_with(b"HTTP/1.1 200 ") && bytes(size).starts_with(body),
        "torn" => header.starts_with(b"HTTP/1.1 200 "),
        _ => false,
    };
    assert!(refused || right, "{habit} {size}: {} of {}", String::from_utf8_lossy(header), body.len());
    1
}

pub(super) async fn surplus(site: &Site, numbers: &mut Numbers) -> usize {
    let mut client = site.connect().await;
    let size = [1000, 300_000][numbers.below(2)];
    client.write_all(get(SURPLUS, &format!("{size}"), "Connection: close\r\n").as_bytes()).await.unwrap();
    assert!(to_end(&mut client).await.starts_with(b"HTTP/1.1 "));
    1
}

pub(super) async fn refused(site: &Site) -> usize {
    let mut client = site.connect().await;
    client.write_all(get(REFUSED, "", "Connection: close\r\n").as_bytes()).await.unwrap();
    assert!(to_end(&mut client).await.starts_with(b"HTTP/1.1 503 "));
    1
}
