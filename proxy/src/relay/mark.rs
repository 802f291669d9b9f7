//! The mark of a relayed request: who asked whom and how flows in, a header field flows out that only a proxy with the same
//! key can make, and the other way round. Pure; time is an argument.
//!
//! Any field of this name says that the request was moved, whoever wrote it: it is answered here or refused. What it tells of
//! the client is believed only with a code (HMAC-SHA-256) over all of it and the host, made lately.

use http::HeaderName;
use nearside_routing::Scheme;
use ring::hmac;
use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What a proxy tells another of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The client.
    pub(crate) client: IpAddr,
    /// Who was connected: the client, or the last proxy before ours.
    pub(crate) peer: IpAddr,
    /// How the client came.
    pub(crate) scheme: Scheme,
    /// The port that it connected to.
    pub(crate) port: u16,
}

/// The keys that the proxies of a cluster share: the first one makes marks, all are believed, so that keys can be changed one
/// proxy after the other.
#[derive(Clone)]
pub(crate) struct Keys(Arc<[hmac::Key]>);

/// The keys of a file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// There is none.
    #[error("has no key: one a line, each at least {KEY_BYTES} characters")]
    None,
    /// One is too short to be a secret.
    #[error("has a key of less than {KEY_BYTES} characters")]
    Short,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl FromStr for Keys {
    type Err = KeyError;

    /// One key a line; empty lines mean nothing.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.iter().map(|line| line.len()).min() {
            None => Err(KeyError::None),
            Some(length) if length < KEY_BYTES => Err(KeyError::Short),
            Some(_) => Ok(Self(lines.iter().map(|line| hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes())).collect())),
        }
    }
}

impl Keys {
    /// The value of the field for a host at a time, which is since 1970.
    pub(crate) fn mark(&self, told: &Told, host: &str, now: Duration) -> String {
        let Told { client, peer, scheme, port } = told;
        let mut value = format!("1;{};{client};{peer};{};{port};", now.as_secs(), scheme.as_str());
        if let Some(key) = self.0.first() {
            for byte in hmac::sign(key, &signed(&value, host)).as_ref() {
                // Writing to a String does not fail.
                let _ = write!(value, "{byte:02x}");
            }
        }
        value
    }

    /// What a field of a request for a host tells, if a proxy with one of the keys wrote it lately.
    pub(crate) fn told(&self, value: &[u8], host: &str, now: Duration) -> Option<Told> {
        let value = std::str::from_utf8(value).ok()?;
        let (words, code) = value.split_at(value.rfind(';')? + 1);
        let (message, code) = (signed(words, host), bytes(code)?);
        self.0.iter().find(|key| hmac::verify(key, &message, &code).is_ok())?;
        let mut words = words.split(';');
        let ("1", seconds) = (words.next()?, words.next()?.parse().ok()?) else { return None };
        let age = now.abs_diff(Duration::from_secs(seconds));
        let told = Told {
            client: words.next()?.parse().ok()?,
            peer: words.next()?.parse().ok()?,
            scheme: match words.next()? {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                _ => return None,
            },
            port: words.next()?.parse().ok()?,
        };
        (age <= AGE).then_some(told)
    }
}

/// What the code is over. No host has a line break in it.
fn signed(words: &str, host: &str) -> Vec<u8> {
    format!("nearside relay\n{words}\n{host}").into_bytes()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let valid = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    if valid { (0..digits.len()).step_by(2).map(byte).collect() } else { None }
}

/// The field.
pub(crate) const MARK: HeaderName = HeaderName::from_static("nearside-relayed");
/// Characters of a key.
const KEY_BYTES: usize = 32;
/// By how much the clocks of two nodes may differ.
const AGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const HOST: &str = "video.example.com";

    fn keys(text: &str) -> Keys {
        text.parse().unwrap()
    }

    fn told() -> Told {
        Told {
            client: "192.0.2.7".parse().unwrap(),
            peer: "fd00::1".parse().unwrap(),
            scheme: Scheme::Https,
            port: 443,
        }
    }

    #[test]
    fn a_mark_is_believed_by_who_has_the_key_for_its_host_and_time() {
        let (old, new) = ("o".repeat(32), "n".repeat(32));
        let both = keys(&format!("{new}\n\n{old}\n"));
        let mark = keys(&old).mark(&told(), HOST, NOW);
        assert_eq!(both.told(mark.as_bytes(), HOST, NOW), Some(told()));
        assert_eq!(both.told(mark.as_bytes(), HOST, NOW + AGE), Some(told()));
        assert_eq!(both.told(mark.as_bytes(), HOST, NOW - AGE), Some(told()));
        assert_eq!(both.told(mark.as_bytes(), HOST, NOW + AGE + AGE), None);
        assert_eq!(both.told(mark.as_bytes(), "bank.example.com", NOW), None);
        assert_eq!(keys(&new).told(mark.as_bytes(), HOST, NOW), None);
    }

    #[test]
    fn keys_that_are_no_secret_are_refused() {
        assert_eq!("\n \n".parse::<Keys>().unwrap_err(), KeyError::None);
        assert_eq!(format!("{}\nshort", "k".repeat(32)).parse::<Keys>().unwrap_err(), KeyError::Short);
        assert!(!format!("{:?}", keys(&"k".repeat(32))).contains("kkk"), "no log shows a key");
    }

    proptest! {
        #[test]
        fn no_other_text_is_believed(at in 0_usize..200, with in any::<u8>(), text in "[ -~]{0,120}") {
            let keys = keys(&"k".repeat(32));
            let mut mark = keys.mark(&told(), HOST, NOW).into_bytes();
            let place = at % mark.len();
            let same = mark[place].eq_ignore_ascii_case(&with);
            mark[place] = with;
            prop_assert!(same || keys.told(&mark, HOST, NOW).is_none());
            prop_assert!(keys.told(text.as_bytes(), HOST, NOW).is_none());
        }
    }
}
