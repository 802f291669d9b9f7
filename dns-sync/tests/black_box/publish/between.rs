//! A name server between the publisher and a real one: what it is asked goes on to the real one, over TCP and UDP; what that says over TCP
//! goes back as a function decides. Ends with the process of the test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What becomes of a message.
pub(crate) enum Passed {
    /// This is sent.
    Whole(Vec<u8>),
    /// Half of it is sent, and the connection ends.
    Cut(Vec<u8>),
}

/// Starts one; the function gets each message that the real server sends, and whether a transfer was asked for.
pub(crate) fn between(
    server: SocketAddr,
    reply: impl Fn(Vec<u8>, bool) -> Passed + Send + Sync + 'static,
) -> SocketAddr {
    let (listener, socket) = sockets();
    let address = listener.local_addr().unwrap();
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let reply = Arc::clone(&reply);
            // A server or a client that goes away ends its connection alone.
            std::thread::spawn(move || drop(pass(client, server, &*reply)));
        }
    });
    std::thread::spawn(move || datagrams(&socket, server));
    address
}

/// A port for both.
fn sockets() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            return (listener, socket);
        }
    }
}

fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    reply: &(dyn Fn(Vec<u8>, bool) -> Passed + Sync),
) -> std::io::Result<()> {
    let mut real = TcpStream::connect(server)?;
    let is_transfer = AtomicBool::new(false);
    let (mut requests, mut to_real) = (client.try_clone()?, real.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(request) = framed(&mut requests) {
                if question_type(&request) == Some(AXFR) {
                    is_transfer.store(true, Ordering::Release);
                }
                if to_real.write_all(&with_length(&request)).is_err() {
                    break;
                }
            }
            // Gone already is what is wanted.
            let _ = to_real.shutdown(Shutdown::Both);
        });
        let passed = loop {
            let Ok(message) = framed(&mut real) else { break Ok(()) };
            let sent = match reply(message, is_transfer.load(Ordering::Acquire)) {
                Passed::Whole(message) => client.write_all(&with_length(&message)),
                Passed::Cut(message) => {
                    let octets = with_length(&message);
                    break client.write_all(&octets[..octets.len() / 2]);
                }
            };
            if sent.is_err() {
                break sent;
            }
        };
        let _ = client.shutdown(Shutdown::Both);
        passed
    })
}

fn datagrams(socket: &UdpSocket, server: SocketAddr) {
    let mut buffer = [0; 65_535];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let (request, back) = (buffer[..length].to_vec(), socket.try_clone().unwrap());
        std::thread::spawn(move || -> std::io::Result<()> {
            let real = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            real.connect(server)?;
            real.set_read_timeout(Some(Duration::from_secs(5)))?;
            real.send(&request)?;
            let mut buffer = [0; 65_535];
            let length = real.recv(&mut buffer)?;
            back.send_to(&buffer[..length], client).map(drop)
        });
    }
}

fn framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}

fn with_length(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The type in the question of a message: behind the header and a name.
fn question_type(message: &[u8]) -> Option<u16> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            length => at += 1 + length,
        }
    }
    Some(u16::from_be_bytes([*message.get(at + 1)?, *message.get(at + 2)?]))
}

/// Holds messages back until they are let go.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: usize,
    /// How often what was held has been let go.
    released: u64,
    open: bool,
}

impl Gate {
    /// Waits until it is let go.
    pub(crate) fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        let released = state.released;
        state.held += 1;
        let mut state = self.changed.wait_while(state, |state| state.released == released && !state.open).unwrap();
        state.held -= 1;
    }

    /// How many messages are held.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().unwrap().held
    }

    /// Lets go what is held.
    pub(crate) fn release(&self) {
        self.state.lock().unwrap().released += 1;
        self.changed.notify_all();
    }

    /// Holds nothing any more.
    pub(crate) fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }
}

/// RFC 5936.
const AXFR: u16 = 252;
