//! Where in a file a field stands: the text of a document flows in, the line of a path such as `spec.rules[0].host` flows out.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// The lines of one document. Empty where it cannot be read that way; then its first line stands for all.
#[derive(Debug, Default)]
pub(super) struct Lines {
    first: usize,
    root: Option<Located>,
}

#[derive(Debug)]
enum Located {
    Map(Vec<(String, usize, Self)>),
    List(Vec<(usize, Self)>),
    Scalar,
}

impl Lines {
    /// Of a document that begins on this line.
    pub(super) fn of(text: &str, first: usize) -> Self {
        Self { first, root: serde_saphyr::from_str(text).ok() }
    }

    /// The line of the deepest part of the path that stands there.
    pub(super) fn line(&self, path: &str) -> usize {
        // A document may begin with a mark and comments.
        let begins = match &self.root {
            Some(Located::Map(fields)) => fields.first().map_or(1, |(_, line, _)| (*line).max(1)),
            _ => 1,
        };
        let (mut line, mut at) = (begins, self.root.as_ref());
        for segment in segments(path) {
            let next = match (at, &segment) {
                (Some(Located::Map(fields)), Segment::Field(name)) => {
                    fields.iter().find(|(known, ..)| known == name).map(|(_, line, below)| (*line, below))
                }
                (Some(Located::List(items)), Segment::Item(number)) => {
                    items.get(*number).map(|(line, below)| (*line, below))
                }
                _ => None,
            };
            let Some((found, below)) = next else { break };
            if found > 0 {
                line = found;
            }
            at = Some(below);
        }
        self.first + line - 1
    }
}

#[derive(Debug, PartialEq)]
enum Segment {
    Field(String),
    Item(usize),
}

/// `a.b[0]["c.d"]` in its parts.
fn segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("[\"") {
            let end = inner.find("\"]").unwrap_or(inner.len());
            segments.push(Segment::Field(inner[..end].to_owned()));
            rest = inner.get(end + 2..).unwrap_or_default();
        } else if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']').unwrap_or(inner.len());
            segments.push(match inner[..end].parse() {
                Ok(number) => Segment::Item(number),
                Err(_) => Segment::Field(inner[..end].to_owned()),
            });
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 {
                segments.push(Segment::Field(rest[..end].to_owned()));
            }
            rest = &rest[end..];
            if end == 0 && !rest.starts_with('[') {
                break;
            }
        }
    }
    segments
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Locating)
    }
}

struct Locating;

/// The line of something within its document.
fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or_default()
}

impl<'de> Visitor<'de> for Locating {
    type Value = Located;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Located, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            let below: Spanned<Located> = map.next_value()?;
            let line = line_of(&name);
            fields.push((name.value, if line > 0 { line } else { line_of(&below) }, below.value));
        }
        Ok(Located::Map(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Located, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Located>>()? {
            items.push((line_of(&item), item.value));
        }
        Ok(Located::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_none<E>(self) -> Result<Located, E> {
        Ok(Located::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Located, D::Error> {
        Located::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_where_it_stands() {
        let text = "---\nmetadata:\n  annotations:\n    example.com/a: x\n    nearside.dev/on-miss: y\nspec:\n  rules:\n  \
                    - host: a\n    http: {paths: [{path: /},\n      {path: /b}]}\n  - host: b\n";
        let lines = Lines::of(text, 10);
        for (path, line) in [
            ("metadata.annotations[\"nearside.dev/on-miss\"]", 14),
            ("spec.rules[0].host", 17),
            ("spec.rules[0].http.paths[1].path", 19),
            ("spec.rules[1]", 20),
            ("spec.tls[0]", 15),
            ("", 11),
            ("nothing", 11),
        ] {
            assert_eq!(lines.line(path), line, "{path}: {lines:?}");
        }
    }

    #[test]
    fn what_is_no_document_has_its_first_line() {
        assert_eq!(Lines::of("a: [", 3).line("a"), 3);
        for path in ["[", "[\"", "a..b", "a[", "[x].y", "..."] {
            segments(path);
        }
    }
}
