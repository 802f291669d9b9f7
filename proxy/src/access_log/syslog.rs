//! Lines for a syslog server as HAProxy sends them (RFC 3164 with the host's name): text flows in, one datagram for each
//! line flows out. The sending thread may wait for the server; lines that cannot be sent are counted by its caller.

use super::timestamp::SyslogDate;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Where lines are sent, and how they are labelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syslog {
    pub(crate) address: SyslogAddress,
    /// Number of the facility (RFC 5424 §6.2.1).
    pub(crate) facility: u8,
    /// The least important lines that are sent.
    pub(crate) level: Severity,
    /// Bytes of a datagram; longer lines are cut.
    pub(crate) length: usize,
    /// The host that the lines come from.
    pub(crate) host: Arc<str>,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyslogAddress {
    /// UDP; the name is looked up when there is something to send.
    Udp { host: Box<str>, port: u16 },
    /// A datagram socket of this host.
    Unix(PathBuf),
}

/// How important a line is; the numbers are those of RFC 5424 §6.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    /// A request that failed.
    Error = 3,
    Warning = 4,
    Notice = 5,
    /// Any other request.
    Info = 6,
    Debug = 7,
}

impl Severity {
    /// By HAProxy's names, those of most use first.
    pub(crate) const WORDS: [(&str, Self); 8] = [
        ("info", Self::Info),
        ("emerg", Self::Emergency),
        ("alert", Self::Alert),
        ("crit", Self::Critical),
        ("err", Self::Error),
        ("warning", Self::Warning),
        ("notice", Self::Notice),
        ("debug", Self::Debug),
    ];
}

impl Syslog {
    /// The datagram of a line, cut to its length.
    pub(super) fn datagram(&self, severity: Severity, line: &str, now: SystemTime) -> Vec<u8> {
        let mut out = String::with_capacity(line.len() + 64);
        let priority = u16::from(self.facility) * 8 + severity as u16;
        // Writing to a String does not fail.
        let _ = write!(out, "<{priority}>{} {} {TAG}[{}]: ", SyslogDate(now), self.host, std::process::id());
        out.push_str(line.trim_end());
        let mut datagram = out.into_bytes();
        datagram.truncate(self.length);
        datagram
    }
}

/// The connection to a server, made anew after a failure.
#[derive(Debug)]
pub(super) struct Sender {
    address: SyslogAddress,
    socket: Option<Socket>,
    /// Until then a server that could not be reached is left alone.
    pause: Option<Instant>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Sender {
    /// Connects when there is something to send.
    pub(super) fn new(address: SyslogAddress) -> Self {
        Self { address, socket: None, pause: None }
    }

    /// Sends one datagram; `false` if it is lost as far as this host knows.
    pub(super) fn send(&mut self, datagram: &[u8]) -> bool {
        // A socket that the server left behind fails once; the next one may be its successor.
        self.try_send(datagram) || self.try_send(datagram)
    }

    fn try_send(&mut self, datagram: &[u8]) -> bool {
        if self.socket.is_none() {
            if self.pause.is_some_and(|until| Instant::now() < until) {
                return false;
            }
            match connect(&self.address) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    tracing::warn!(%error, address = ?self.address, "the syslog server cannot be reached");
                    self.pause = Some(Instant::now() + PAUSE);
                    return false;
                }
            }
        }
        let sent = match &self.socket {
            Some(Socket::Udp(socket)) => socket.send(datagram).is_ok(),
            Some(Socket::Unix(socket)) => socket.send(datagram).is_ok(),
            None => false,
        };
        if !sent {
            self.socket = None;
        }
        sent
    }
}

fn connect(address: &SyslogAddress) -> io::Result<Socket> {
    match address {
        SyslogAddress::Udp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in (&**host, *port).to_socket_addrs()? {
                let own: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                match UdpSocket::bind(own).and_then(|socket| socket.connect(address).map(|()| socket)) {
                    Ok(socket) => return Ok(Socket::Udp(socket)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        SyslogAddress::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(PAUSE))?;
            Ok(Socket::Unix(socket))
        }
    }
}

/// The program, for the server's filters.
const TAG: &str = "nearside";
/// Before a server that could not be reached is tried again; and how long one may take for a datagram.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn syslog(length: usize) -> Syslog {
        let address = SyslogAddress::Unix("/nowhere".into());
        Syslog { address, facility: 17, level: Severity::Info, length, host: "n1".into() }
    }

    #[test]
    fn a_line_has_its_header_and_its_length() {
        let text = |severity| {
            let datagram = syslog(1024).datagram(severity, "a line\n", SystemTime::UNIX_EPOCH);
            String::from_utf8(datagram).unwrap()
        };
        let process = std::process::id();
        assert_eq!(text(Severity::Info), format!("<142>Jan  1 00:00:00 n1 nearside[{process}]: a line"));
        assert!(text(Severity::Error).starts_with("<139>"));
        let cut = syslog(80).datagram(Severity::Info, &"x".repeat(500), SystemTime::UNIX_EPOCH);
        assert!(cut.len() == 80 && cut.ends_with(b"xxx"));
    }

    #[test]
    fn a_socket_that_is_replaced_is_found_again_and_one_that_is_gone_loses_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut sender = Sender::new(SyslogAddress::Unix(path.clone()));
        assert!(sender.send(b"one"));
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        assert!(sender.send(b"two"));
        let mut read = [0; 9];
        assert_eq!(second.recv(&mut read).unwrap(), 3);
        assert_eq!(&read[..3], b"two");
        drop(second);
        std::fs::remove_file(&path).unwrap();
        assert!(!sender.send(b"three"));
    }
}
