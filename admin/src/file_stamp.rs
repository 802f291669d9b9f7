//! Whether a file has changed: a path flows in, what tells one content from another without reading it flows out. Asked by
//! what follows files, in every program.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Differs after a change; `None` where there is no file.
pub type Stamp = Option<[i64; 4]>;

/// The stamp of a file. A volume of Kubernetes swaps a link, so that the file behind it counts.
pub fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    let signed = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    Some([signed(metadata.ino()), signed(metadata.len()), metadata.mtime(), metadata.mtime_nsec()])
}
