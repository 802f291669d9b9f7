//! Files of lines that a crash or a disk may spoil: lines flow in, and bytes that end with their own SHA-256 flow out, and back; bytes
//! flow in and replace a file as a whole. Used for snapshots here, and by dns-sync for what it keeps of zones.

use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file of lines, taken apart and not believed yet: its version is looked at first, since another one may end otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'f> {
    content: &'f [u8],
    /// What stands where the checksum is to be; `None` where no line ends there.
    pub digest: Option<&'f [u8]>,
}

impl<'f> Sealed<'f> {
    /// `None` for what is too short, or whose lines do not end before the checksum.
    pub fn split(bytes: &'f [u8]) -> Option<Self> {
        let (content, digest) = bytes.split_at(bytes.len().checked_sub(DIGEST_LINE)?);
        content.ends_with(b"\n").then(|| Self { content, digest: digest.strip_suffix(b"\n") })
    }

    /// The lines before the checksum; at least one, perhaps an empty one.
    pub fn lines(&self) -> impl Iterator<Item = &'f [u8]> + use<'f> {
        let content = self.content;
        content.strip_suffix(b"\n").unwrap_or(content).split(|octet| *octet == b'\n')
    }

    /// Whether the checksum is that of the lines.
    pub fn is_whole(&self) -> bool {
        self.digest.is_some_and(|digest| *digest == *checksum(self.content).as_bytes())
    }
}

/// A first line that says what it is, and further ones, with their checksum.
pub fn seal(mut first: Vec<u8>, lines: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    first.push(b'\n');
    let mut bytes = first;
    for line in lines {
        bytes.extend_from_slice(line.as_ref());
        bytes.push(b'\n');
    }
    let digest = checksum(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// Replaces a file as a whole: after a crash there is the old one or the new one. Blocks.
///
/// # Errors
/// Where the disk does not take it; the old one stays then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        // A full disk must not stay full for it.
        drop(fs::remove_file(&new));
    }
    written?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The SHA-256 in hexadecimal digits.
pub(crate) fn checksum(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// 64 digits and the end of the line.
const DIGEST_LINE: usize = 65;
