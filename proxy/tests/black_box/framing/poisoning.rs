//! Response-queue poisoning: clients that send odd requests of every kind share pods, and their connections, with clients that do not.
//! Each request of the latter carries a word that its answer must show; whoever got another one got what was meant for somebody else.

use super::requests::{ROWS, written};
use super::site::{Served, Site, Way};
use crate::support::client::read_to_end;
use crate::support::wanted_requests;
use crate::support::wire::{Numbers, ask, upload};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_ever_gets_what_was_meant_for_another() {
    let site = Site::new().await;
    for served in site.served() {
        for (number, way) in site.ways.iter().enumerate() {
            let rounds = wanted_requests().unwrap_or(400) / 4;
            let (first, second) = (honest(way, &served, 0, rounds), honest(way, &served, 1, rounds));
            tokio::join!(first, second, hostile(&served, way, number as u64, rounds));
            let lines: Vec<String> = way.record.take().into_iter().map(|recorded| recorded.line).collect();
            assert!(lines.iter().all(|line| !line.contains("smuggled")), "{} {:?}", way.host, served.flags);
            assert_eq!(way.record.faults(), Vec::<String>::new(), "{}", way.host);
        }
    }
}

/// Asks over connections that live on; each answer is the one to its request.
async fn honest(way: &Way, served: &Served<'_>, number: usize, rounds: usize) {
    let mut client = served.connect(way).await;
    let mut numbers = Numbers(number as u64 + 5);
    for round in 0..rounds {
        let word = format!("w{number}x{round}");
        let path = format!("/{word}");
        let mut request = match numbers.below(3) {
            0 => upload(way.host, &vec![b'x'; numbers.below(2000)], None),
            1 => upload(way.host, &vec![b'x'; 1 + numbers.below(2000)], Some(700)),
            _ => format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", way.host).into_bytes(),
        };
        let at = request.iter().position(|byte| *byte == b'/').unwrap();
        request.splice(at..=at, path.into_bytes());
        let (header, body) = ask(&mut client, &request).await;
        assert!(
            body == word.as_bytes(),
            "{} {:?}: {header} {}",
            way.host,
            served.flags,
            String::from_utf8_lossy(&body)
        );
    }
}

/// Sends odd requests, cut anywhere or broken off, some of them at once.
async fn hostile(served: &Served<'_>, way: &Way, seed: u64, rounds: usize) {
    let mut numbers = Numbers(seed);
    for _ in 0..rounds {
        let mut client = served.connect(way).await;
        let mut sent = Vec::new();
        for _ in 0..=numbers.below(3) {
            let (_, request, _) = &ROWS[numbers.below(ROWS.len())];
            sent.extend(written(request, way.host));
        }
        if numbers.below(4) == 0 {
            sent.truncate(numbers.below(sent.len()));
        }
        let cut = numbers.below(sent.len().max(1));
        for part in [&sent[..cut], &sent[cut..]] {
            drop(client.write_all(part).await);
            drop(client.flush().await);
        }
        if numbers.below(2) == 0 {
            drop(client.shutdown().await);
            drop(read_to_end(&mut client).await);
        }
    }
}
