//! The fuzz targets of the core: what tenants write into objects, and what clients ask for, flows in, and a panic flows out where a
//! parser fails or what must hold does not. Built for tests, which replay the corpus, and by cargo-fuzz.

mod objects;
mod requests;
mod secrets;

pub use objects::{annotations, objects};
pub use requests::{header_value, path, route_match};
pub use secrets::{certificates, credentials};

/// What a target is called, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("annotations", annotations),
    ("certificates", certificates),
    ("credentials", credentials),
    ("header_value", header_value),
    ("objects", objects),
    ("path", path),
    ("route_match", route_match),
];

/// The parts of an input before and after the first line break.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_replayed() {
        TARGETS.into_iter().for_each(nearside_loadtest::corpus::replay);
    }
}
