//! The fuzz target of the snapshot: what is no snapshot is refused, what is one and is changed anywhere is refused as well, and
//! objects are read from lines that anybody may have written.

use super::file::{Described, read, write};
use crate::{Kind, Selection};

/// See [`crate::fuzzing::snapshot`].
pub(crate) fn snapshot(bytes: &[u8]) {
    let described = Described::new("here", &Selection::all(Kind::Pod));
    if let Ok(lines) = read(bytes, &described) {
        drop(lines.decode(Kind::Pod));
    }
    for kind in [Kind::Pod, Kind::Route, Kind::Secret] {
        let described = Described::new("here", &Selection::all(kind));
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let file = write(&described, lines.iter());
        let read_again = read(&file, &described).expect("what is written is read");
        if let Ok(objects) = read_again.decode(kind) {
            assert_eq!(objects.len(), lines.len(), "a line is an object");
            assert!(objects.iter().all(|object| object.kind() == kind && !object.metadata().name.is_empty()));
        }
        assert!(read(&file, &described).expect("the same").keyed().len() <= lines.len());
        // Places that depend on the input, so that all are tried in time.
        let place =
            bytes.iter().fold(bytes.len(), |place, byte| place.wrapping_mul(31) ^ usize::from(*byte)) % file.len();
        let mut changed = file.clone();
        changed[place] ^= 1;
        assert!(read(&changed, &described).is_err(), "a change at {place} is not noticed");
        assert!(read(&file[..place], &described).is_err(), "the end after {place} is not noticed");
    }
}
