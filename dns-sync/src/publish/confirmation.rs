//! The word of the operator that many names may go: a file in the state directory, `<zone>.confirm`, that the command `confirm` writes
//! and the running publisher takes. Text flows in and out; the feed asks once a second.

use crate::limits::{CONFIRMATION, MAX_CONFIRMATION};
use crate::name::Name;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The files that are looked for.
#[derive(Debug)]
pub struct Confirmations {
    files: Vec<(Name, PathBuf)>,
}

impl Confirmations {
    /// Those of these zones.
    pub fn new<'z>(directory: &Path, zones: impl IntoIterator<Item = &'z Name>) -> Self {
        Self { files: zones.into_iter().map(|zone| (zone.clone(), file(directory, zone))).collect() }
    }

    /// Takes the files that are there: each counts once, for as long as it says.
    pub fn taken(&mut self) -> Vec<(Name, Instant)> {
        let take = |(zone, path): &(Name, PathBuf)| {
            let text = std::fs::read_to_string(path).ok()?;
            // A file that cannot be removed would be a word that never ends.
            std::fs::remove_file(path).ok()?;
            let seconds = text.trim().parse().map_or(CONFIRMATION, Duration::from_secs);
            Some((zone.clone(), Instant::now() + seconds.min(MAX_CONFIRMATION)))
        };
        self.files.iter().filter_map(take).collect()
    }
}

/// Says that names of the zone may go within the time.
///
/// # Errors
/// Where the directory cannot be written.
pub fn confirm(directory: &Path, zone: &Name, time: Duration) -> io::Result<()> {
    let path = file(directory, zone);
    let new = path.with_extension("confirm.new");
    std::fs::write(&new, time.as_secs().to_string())?;
    std::fs::rename(new, path)
}

fn file(directory: &Path, zone: &Name) -> PathBuf {
    directory.join(format!("{zone}.confirm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_counts_once_and_for_its_zone() {
        let directory = tempfile::tempdir().unwrap();
        let zones: [Name; 2] = ["apps.test".parse().unwrap(), "example.test".parse().unwrap()];
        let mut confirmations = Confirmations::new(directory.path(), &zones);
        assert_eq!(confirmations.taken(), []);
        confirm(directory.path(), &zones[1], Duration::from_secs(1_000_000)).unwrap();
        let taken = confirmations.taken();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].0, zones[1]);
        assert!(taken[0].1 <= Instant::now() + MAX_CONFIRMATION);
        assert_eq!(confirmations.taken(), []);
    }
}
