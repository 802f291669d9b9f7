//! Where two processes of one node meet: a path, or a name of the network namespace, flows in, Unix sockets flow out whose other side
//! is known to run as the same user.

use rustix::process::geteuid;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// See the module head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket in a directory that both processes see.
    File(PathBuf),
    /// A name that needs no directory: both processes are in one network namespace (unix(7), abstract sockets).
    Name(String),
}

/// Why there is nobody to speak with.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// There is something else at the path.
    #[error("{0} is there and is no socket")]
    NotASocket(String),
    /// The other side is another user's process.
    #[error("the process at the other end runs as the user {0}, neither ours nor root")]
    Stranger(u32),
    /// As the kernel says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Place {
    /// A path, or a name with `@` in front.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let place = match text.strip_prefix('@') {
            Some("") => return Err("behind @ comes a name"),
            Some(name) => Self::Name(name.to_owned()),
            None => Self::File(PathBuf::from(text)),
        };
        // One byte for the end or for the mark of a name.
        if text.len() + BESIDE >= LONGEST {
            return Err("is too long for a Unix socket");
        }
        Ok(place)
    }

    /// Connects to whoever is there; `None` where nobody is.
    pub(super) async fn connect(&self) -> Result<Option<UnixStream>, PlaceError> {
        match UnixStream::connect(self.address()).await {
            Ok(stream) => known(stream).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Listens there from now on. A socket file that another process has left, or still has, is replaced at once and as a whole; a
    /// name must be free.
    pub(super) fn bind(&self) -> Result<UnixListener, PlaceError> {
        let Self::File(path) = self else { return Ok(UnixListener::bind(self.address())?) };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(PlaceError::NotASocket(path.display().to_string()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // Process ids say nothing here: each of two containers counts its own.
        let mut beside = path.clone().into_os_string();
        beside.push(format!(".{:08x}", RandomState::new().hash_one(()) as u32));
        let beside = PathBuf::from(beside);
        let listener = UnixListener::bind(&beside)?;
        let placed =
            fs::set_permissions(&beside, Permissions::from_mode(OWNER_ONLY)).and_then(|()| fs::rename(&beside, path));
        if placed.is_err() {
            // The error says more than what cannot be cleared away.
            drop(fs::remove_file(&beside));
        }
        placed?;
        Ok(listener)
    }

    fn address(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Name(name) => OsString::from(format!("\0{name}")).into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => Path::display(path).fmt(f),
            Self::Name(name) => write!(f, "@{name}"),
        }
    }
}

/// Listening sockets and keys go to our own user alone, or come from it; root can have them anyway. The kernel asks no more of two
/// processes that share a port (SO_REUSEPORT).
pub(super) fn known(stream: UnixStream) -> Result<UnixStream, PlaceError> {
    let other = stream.peer_cred()?.uid();
    if other == geteuid().as_raw() || other == 0 { Ok(stream) } else { Err(PlaceError::Stranger(other)) }
}

/// Bytes of the address of a Unix socket.
const LONGEST: usize = 108;
/// Bytes that a name grows by while it is put in its place.
const BESIDE: usize = 9;
const OWNER_ONLY: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn paths_and_names_are_told_apart() {
        assert_eq!(Place::parse("/run/a.sock"), Ok(Place::File("/run/a.sock".into())));
        assert_eq!(Place::parse("@a").unwrap().to_string(), "@a");
        assert!(Place::parse("@").is_err() && Place::parse(&"x".repeat(100)).is_err());
    }

    #[tokio::test]
    async fn a_socket_is_replaced_and_anything_else_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let place = Place::File(folder.path().join("s"));
        assert!(place.connect().await.unwrap().is_none(), "nothing is there");
        drop(place.bind().unwrap());
        assert!(place.connect().await.unwrap().is_none(), "nobody is there any more");
        let (_old, new) = (place.bind().unwrap(), place.bind().unwrap());
        let _client = place.connect().await.unwrap().unwrap();
        new.accept().await.unwrap();
        let mode = fs::metadata(folder.path().join("s")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, fs::read_dir(folder.path()).unwrap().count()), (OWNER_ONLY, 1));
        fs::remove_file(folder.path().join("s")).unwrap();
        fs::write(folder.path().join("s"), "kept").unwrap();
        assert!(matches!(place.bind(), Err(PlaceError::NotASocket(_))));
        assert_eq!(fs::read(folder.path().join("s")).unwrap(), b"kept");
    }

    #[tokio::test]
    async fn a_name_is_free_once_its_process_lets_go_of_it() {
        let place = Place::Name(format!("nearside-test-{}", std::process::id()));
        let held = place.bind().unwrap();
        assert!(place.bind().is_err() && place.connect().await.unwrap().is_some());
        drop(held);
        assert!(place.connect().await.unwrap().is_none() && place.bind().is_ok());
    }
}
