//! What others may read in a path: a raw path flows in, the normal forms that a pod could see in it flow out, where they are not the one
//! that rules are matched by. Some servers decode slashes, or twice; some take what follows a semicolon for a parameter (`/a/..;/b`); many
//! merge slashes. The pod gets the raw path, so that none of this may lead it to where the rule that lets it in does not.

use super::{NormalPath, decode, resolve_dot_segments};
use std::borrow::Cow;

impl NormalPath<'_> {
    /// Normal forms that others may see in a raw path of which [`NormalPath::parse`] has one; mostly there are none.
    pub fn other_readings(raw: &str) -> Vec<NormalPath<'static>> {
        if !raw.starts_with('/') || !is_suspicious(raw) {
            return Vec::new();
        }
        let (Ok(normal), Ok(decoded)) = (NormalPath::parse(raw), decode(raw)) else { return Vec::new() };
        let mut readings: Vec<NormalPath<'static>> = Vec::new();
        for habits in 1..1_u8 << HABITS.len() {
            let mut path = decoded.clone().into_owned();
            for (place, habit) in HABITS.iter().enumerate() {
                if habits & 1 << place != 0 {
                    path = habit(&path);
                }
            }
            let path = NormalPath(Cow::Owned(resolve_dot_segments(&path)));
            if path.as_str() != normal.as_str() && !readings.contains(&path) {
                readings.push(path);
            }
        }
        readings
    }
}

/// Whether any habit could make a difference. By far most paths have nothing of this.
fn is_suspicious(raw: &str) -> bool {
    let escape =
        |at: usize| raw.get(at + 1..at + 3).is_some_and(|escape| matches!(escape, "2f" | "2F" | "25" | "3b" | "3B"));
    raw.bytes().enumerate().any(|(at, byte)| match byte {
        b';' => true,
        b'/' => raw.as_bytes().get(at + 1) == Some(&b'/'),
        b'%' => escape(at),
        _ => false,
    })
}

/// What servers do with a path, in the order in which they do it.
const HABITS: [fn(&str) -> String; 4] = [decode_again, decode_slashes, without_parameters, merge_slashes];

/// Up to a zero that comes to light, at which programs in C would end.
fn decode_again(path: &str) -> String {
    let path = path.replace("%25", "%").replace("%5c", "/").replace("%5C", "/");
    let path = path.split("%00").next().unwrap_or_default();
    decode(path).map_or_else(|_| path.to_owned(), Cow::into_owned)
}

fn decode_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%3B", ";")
}

fn without_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn readings(raw: &str) -> Vec<String> {
        NormalPath::other_readings(raw).iter().map(|path| path.as_str().to_owned()).collect()
    }

    #[test]
    fn a_path_that_everybody_reads_alike_has_no_other_reading() {
        for raw in ["", "*", "/", "/a/b", "/a/../b", "/%2e%2E/a", "/a%20b", "/a%41b/", "/a.b~c", "/a=b,c:d@e!f"] {
            assert!(readings(raw).is_empty(), "{raw}");
        }
    }

    #[test]
    fn every_habit_of_servers_shows_where_it_would_lead() {
        for (raw, led) in [
            ("//admin", "/admin"),
            ("/x//../admin", "/admin"),
            ("/x%2f..%2fadmin", "/admin"),
            ("/%2Fadmin", "/admin"),
            ("/x/..%2fadmin", "/admin"),
            ("/x/..;/admin", "/admin"),
            ("/x/..;a=b/admin", "/admin"),
            ("/admin;a", "/admin"),
            ("/;a/admin", "/admin"),
            ("/.;/admin", "/admin"),
            ("/x/%2e%2e%3b/admin", "/admin"),
            ("/x/%252e%252e/admin", "/admin"),
            ("/x%252f..%252fadmin", "/admin"),
            ("/x/..%255cadmin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/admin%2500.png", "/admin"),
        ] {
            assert!(readings(raw).contains(&led.to_owned()), "{raw}: {:?}", readings(raw));
        }
    }

    proptest! {
        #[test]
        fn readings_are_normal_and_few(raw in "(/|//|%2[fF5eE]|%5c|;|\\.\\.|\\.|[a-b]|00){0,12}") {
            let raw = format!("/{raw}");
            let readings = NormalPath::other_readings(&raw);
            prop_assert!(readings.len() < 16);
            for reading in readings {
                prop_assert!(reading.as_str().starts_with('/'));
                prop_assert!(!reading.as_str().split('/').any(|segment| matches!(segment, "." | "..")));
            }
        }
    }
}
