//! Fetches the page: where the admin port is, and what lets in there, flow in; the publication flows out. One request over plain
//! HTTP, bounded in time and size.

use crate::limits::{PAGE_OCTETS, PAGE_TIMEOUT};
use crate::overview::Overview;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;

/// Where a publisher shows its pages: `HOST:PORT`, over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

/// What lets in; never shown.
#[derive(Clone, Default)]
pub enum Access {
    /// Nothing: it is open.
    #[default]
    Open,
    /// A token of the cluster (RFC 6750).
    Token(String),
    /// A name and its password (RFC 7617).
    Password {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
}

impl Access {
    /// The header line, where there is one.
    fn header(&self) -> String {
        match self {
            Self::Open => String::new(),
            Self::Token(token) => format!("Authorization: Bearer {token}\r\n"),
            Self::Password { name, password } => {
                format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:{password}")))
            }
        }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Nobody answers there.
    #[error("{place} cannot be asked: {source}; is it the --admin-listen of the publisher?")]
    Unreachable {
        /// Where it was asked.
        place: Place,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The publisher does not let us in, or has no such page.
    #[error("{place} answers \"{status}\"{}", hint(.status))]
    Refused {
        /// Where it was asked.
        place: Place,
        /// The status of its answer.
        status: String,
    },
    /// Something else answers there.
    #[error("{place} shows no publication: {why}")]
    Unreadable {
        /// Where it was asked.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
}

/// A place that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not http://HOST:PORT; a port with TLS is asked through a tunnel")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let bad = || NoPlace(text.to_owned());
        if text.starts_with("https://") {
            return Err(bad());
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        let is_plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '@' | '?'));
        if !is_plain || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self(authority.to_owned()))
    }
}

impl Place {
    /// The page as it is now.
    ///
    /// # Errors
    /// [`PageError`] names the place.
    pub fn overview(&self, access: &Access) -> Result<Overview, PageError> {
        let unreachable = |source| PageError::Unreachable { place: self.clone(), source };
        let unreadable = |why: String| PageError::Unreadable { place: self.clone(), why };
        let answer = exchange(&self.0, access).map_err(unreachable)?;
        let end = answer.windows(4).position(|octets| octets == b"\r\n\r\n");
        let (head, body) = match end {
            Some(end) => (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]),
            None => return Err(unreadable("that is no HTTP".to_owned())),
        };
        let status = head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or_default();
        if !status.starts_with("200") {
            return Err(PageError::Refused { place: self.clone(), status: status.to_owned() });
        }
        serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))
    }
}

fn exchange(authority: &str, access: &Access) -> io::Result<Vec<u8>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PAGE_TIMEOUT) {
            Ok(stream) => return ask(stream, authority, access),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream, authority: &str, access: &Access) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
    let access = access.header();
    write!(stream, "GET /publication HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{access}\r\n")?;
    let mut answer = Vec::new();
    stream.take(PAGE_OCTETS).read_to_end(&mut answer)?;
    Ok(answer)
}

fn hint(status: &str) -> &'static str {
    match status.get(..3) {
        Some("401" | "403") => "; --token-file, or --username and --password-file, name what lets in",
        Some("404") => "; only `publish` has this page",
        _ => "",
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_http_address() {
        for (text, authority) in [
            ("http://127.0.0.1:1938", "127.0.0.1:1938"),
            ("http://127.0.0.1:1938/", "127.0.0.1:1938"),
            ("dns-sync.nearside:1938", "dns-sync.nearside:1938"),
            ("http://[::1]:1938", "[::1]:1938"),
        ] {
            assert_eq!(text.parse(), Ok(Place(authority.into())));
        }
        for text in
            ["", "https://127.0.0.1:1938", "127.0.0.1", "http://a:b", "http://:1938", "http://user@host:1", "a/b:1"]
        {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
