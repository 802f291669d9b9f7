//! The corpus of the fuzz targets, replayed: the inputs of `fuzz/corpus/` and changes of them that are the same each time flow into a
//! target; what it fails on flows out, as a panic. Each crate that has targets calls it in its tests.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A fuzz target: what it is called, as is its folder in `fuzz/corpus/`, and what takes an input and panics where something does not
/// hold.
pub type Target = (&'static str, fn(&[u8]));

/// Gives a target its corpus, and changes of it.
///
/// # Panics
/// When the target does, with the input; and when its corpus is not there.
pub fn replay((name, run): Target) {
    let corpus = read(name);
    assert!(corpus.len() >= LEAST, "fuzz/corpus/{name} holds {} inputs, which is too few", corpus.len());
    for (file, input) in &corpus {
        attempt(run, input, || format!("fuzz/corpus/{name}/{file}"));
    }
    let mut random = Random::new(name);
    for turn in 0..CHANGES {
        let (file, input) = &corpus[turn % corpus.len()];
        let (_, other) = &corpus[random.below(corpus.len())];
        let changed = change(&mut random, input, other);
        attempt(run, &changed, || format!("change {turn}, of fuzz/corpus/{name}/{file}"));
    }
}

/// The inputs of a target with the names of their files, in the order of these.
fn read(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join(target))
        .unwrap_or_else(|error| panic!("fuzz/corpus/{target}: {error}"))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap_or_default())).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn attempt(run: fn(&[u8]), input: &[u8], what: impl Fn() -> String) {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let shown = input.escape_ascii();
        panic!("{} fails; the input is b\"{shown}\"", what());
    }
}

/// An input that differs in a few places, at the level of bytes, of words and of whole inputs.
fn change(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at).min(64) + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.byte(),
            2 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].iter().copied())),
            3 => drop(bytes.splice(at..end, WORDS[random.below(WORDS.len())].iter().copied())),
            4 => drop(bytes.drain(at..end)),
            5 => bytes.truncate(at),
            6 => {
                let again = bytes[at..end].repeat(1 + random.below(3));
                drop(bytes.splice(at..at, again));
            }
            _ if !other.is_empty() => {
                let from = random.below(other.len());
                let taken = other[from..].iter().take(random.below(64)).copied();
                drop(bytes.splice(at..end, taken));
            }
            _ => {}
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Numbers that look random, the same for the same name (SplitMix64).
struct Random(u64);

impl Random {
    fn new(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Inputs that a target has at least.
const LEAST: usize = 12;
/// Changed inputs that a target gets.
const CHANGES: usize = 1500;
/// Bytes of a changed input.
const LONGEST: usize = 8 * 1024;
/// What parsers of text and of octets stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"\xff",
    b"\xff\xff",
    b"\x80",
    b"\xc0\x0c",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"=",
    b"\"",
    b"\\",
    b"/",
    b"..",
    b"%00",
    b"%2e",
    b"%",
    b"{",
    b"[",
    b"]",
    b"-",
    b"*",
    b"0",
    b"9999999999999999999999",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_differ_from_what_they_are_of_and_are_the_same_each_time() {
        let changed = || {
            let mut random = Random::new("a target");
            (0..200).map(|_| change(&mut random, b"GET / HTTP/1.1\r\n\r\n", b"another")).collect::<Vec<_>>()
        };
        let first = changed();
        assert_eq!(first, changed());
        let differing = first.iter().filter(|bytes| *bytes != b"GET / HTTP/1.1\r\n\r\n").count();
        assert!(differing > 150, "{differing}");
    }

    #[test]
    fn nothing_can_be_changed_as_well() {
        let mut random = Random::new("nothing");
        assert!((0..200).any(|_| !change(&mut random, b"", b"").is_empty()));
    }

    #[test]
    #[should_panic(expected = "; the input is b\"a\\x00b\"")]
    fn what_a_target_fails_on_is_told() {
        attempt(|input| assert!(!input.contains(&0)), b"a\0b", || "it".into());
    }
}
