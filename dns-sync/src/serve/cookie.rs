//! DNS cookies of the server (RFC 7873, in the form of RFC 9018): what a query brings, the address of its sender and the time flow
//! in; whether this server gave that cookie to that address lately, and the cookie of the answer, flow out. Pure; called by
//! `respond`.
//!
//! Whoever forges an address does not see the answers to it, and so has no cookie: a query with one is not limited.

use crate::wire::Cookie;
use std::net::IpAddr;

/// Makes cookies and knows them again.
#[derive(Clone)]
pub(super) struct Cookies {
    secret: [u8; 16],
}

impl Cookies {
    /// Cookies of this secret; whoever has it can make them.
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// The server's part of the cookie for this client (RFC 9018 §4). `now` is in seconds since 1970.
    pub(super) fn make(&self, client_cookie: [u8; 8], client: IpAddr, now: u64) -> [u8; 16] {
        // The timestamp goes around after 136 years (§4.3).
        let [.., a, b, c, d] = now.to_be_bytes();
        self.sealed(client_cookie, [VERSION, 0, 0, 0, a, b, c, d], client)
    }

    /// Whether this server gave the cookie to this client, within the last hour (§4.3).
    pub(super) fn is_known(&self, cookie: &Cookie, client: IpAddr, now: u64) -> bool {
        let Some(server) = cookie.server else { return false };
        let [head @ .., _, _, _, _, _, _, _, _] = server;
        let [version, .., a, b, c, d] = head;
        let [.., e, f, g, h] = now.to_be_bytes();
        // Serial number arithmetic (RFC 1982): how long ago, of which the upper half is the future.
        let age = u32::from_be_bytes([e, f, g, h]).wrapping_sub(u32::from_be_bytes([a, b, c, d])).cast_signed();
        let is_recent = (-MAX_AHEAD..=MAX_AGE).contains(&age);
        version == VERSION && is_recent && self.sealed(cookie.client, head, client) == server
    }

    /// The head of a cookie with its hash. What is reserved in the head is hashed as it came (§4.2).
    fn sealed(&self, client_cookie: [u8; 8], head: [u8; 8], client: IpAddr) -> [u8; 16] {
        let mut message = [client_cookie, head].concat();
        match client.to_canonical() {
            IpAddr::V4(v4) => message.extend(v4.octets()),
            IpAddr::V6(v6) => message.extend(v6.octets()),
        }
        let mut cookie = [0; 16];
        cookie[..8].copy_from_slice(&head);
        cookie[8..].copy_from_slice(&siphash_2_4(self.secret, &message).to_le_bytes());
        cookie
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cookies").finish_non_exhaustive()
    }
}

/// SipHash-2-4 of Aumasson and Bernstein, of which RFC 9018 §4.4 asks for the octets in little-endian order.
fn siphash_2_4(key: [u8; 16], message: &[u8]) -> u64 {
    let number = u128::from_le_bytes(key);
    let (k0, k1) = (number as u64, (number >> 64) as u64);
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = message.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = message.len() as u8;
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        state[3] ^= word;
        rounds(&mut state, 2);
        state[0] ^= word;
    }
    state[2] ^= 0xff;
    rounds(&mut state, 4);
    state.into_iter().fold(0, std::ops::BitXor::bitxor)
}

fn rounds([a, b, c, d]: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32).wrapping_add(*d);
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }
}

const VERSION: u8 = 1;

/// Seconds for which a cookie counts, and for which the clock of another server with the same secret may be ahead (RFC 9018 §4.3).
const MAX_AGE: i32 = 3600;
/// See [`MAX_AGE`].
const MAX_AHEAD: i32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    fn cookie(hex: &str) -> Cookie {
        let server = (hex.len() > 16).then(|| octets(&hex[16..]));
        Cookie { client: octets(&hex[..16]), server }
    }

    #[test]
    fn siphash_has_the_value_of_its_paper() {
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash_2_4(octets("000102030405060708090a0b0c0d0e0f"), &message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn the_examples_of_rfc_9018_appendix_a() {
        let cookies = Cookies::new(octets("e5e973e5a6b2a43f48e7dc849e37bfcf"));
        let client = "198.51.100.100".parse().unwrap();
        let first = cookie("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        assert_eq!(cookies.make(first.client, client, 1_559_731_985), first.server.unwrap());
        // Asked again forty minutes later it is known, and renewed.
        assert!(cookies.is_known(&first, client, 1_559_734_385));
        let renewed = octets("010000005cf7a871d4a564a1442aca77");
        assert_eq!(cookies.make(first.client, client, 1_559_734_385), renewed);
        // What is reserved need not be zero.
        let other = cookie("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        assert!(cookies.is_known(&other, "203.0.113.203".parse().unwrap(), 1_559_731_000));
        let v6 = Cookies::new(octets("445536bcd2513298075a5d379663c962"));
        let made =
            v6.make(octets("22681ab97d52c298"), "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap(), 1_559_741_961);
        assert_eq!(made, octets("010000005cf7c609a6bb79d16625507a"));
    }

    #[test]
    fn a_cookie_counts_for_its_client_and_its_time_alone() {
        let (cookies, client) = (Cookies::new([7; 16]), IpAddr::from([192, 0, 2, 1]));
        let made = |at| Cookie { client: [1; 8], server: Some(cookies.make([1; 8], client, at)) };
        let start = u64::from(u32::MAX) - 100;
        assert!(cookies.is_known(&made(start), client, start));
        assert!(cookies.is_known(&made(start), "::ffff:192.0.2.1".parse().unwrap(), start));
        assert!(cookies.is_known(&made(start), client, start + 3600), "the time goes around meanwhile");
        assert!(!cookies.is_known(&made(start), client, start + 3601));
        assert!(cookies.is_known(&made(start + 300), client, start));
        assert!(!cookies.is_known(&made(start + 301), client, start));
        assert!(!cookies.is_known(&made(start), [192, 0, 2, 2].into(), start));
        assert!(!cookies.is_known(&Cookie { client: [2; 8], ..made(start) }, client, start));
        assert!(!cookies.is_known(&Cookie { server: None, ..made(start) }, client, start));
        assert!(!Cookies::new([8; 16]).is_known(&made(start), client, start));
        let forged = |at: usize| {
            let mut server = made(start).server.unwrap();
            server[at] ^= 1;
            Cookie { client: [1; 8], server: Some(server) }
        };
        assert!((0..16).all(|at| !cookies.is_known(&forged(at), client, start)));
    }
}
