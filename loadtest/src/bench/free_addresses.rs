//! Addresses for the programs of a measurement: how many flows in, so many addresses of 127.0.0.1 flow out that nobody had just now,
//! for TCP and UDP, and no two alike.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// See the module.
///
/// # Errors
/// No port is free.
pub(super) fn free_addresses<const NUMBER: usize>() -> Result<[SocketAddr; NUMBER]> {
    // Held until all are found: one that is let go may be found again.
    let mut held = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); NUMBER];
    for address in &mut addresses {
        *address = loop {
            if held.len() > NUMBER + SPARE {
                bail!("no port of 127.0.0.1 is free for TCP and UDP");
            }
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let found = listener.local_addr()?;
            held.push(listener);
            if UdpSocket::bind(found).is_ok() {
                break found;
            }
        };
    }
    Ok(addresses)
}

/// Ports that may have an owner for UDP alone.
const SPARE: usize = 20;
