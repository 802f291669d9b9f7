//! One manifest file as text flows in; its objects as JSON and its faults, each with document number and line, flow out.
//! Knows YAML, JSON and `kind: List`, but neither files nor selections.

use crate::Kind;
use serde_json::Value;

/// One object of a file, not decoded yet.
#[derive(Debug, PartialEq)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Where in its file something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The document in the file, from 1.
    pub(super) document: usize,
    /// The line in the file, from 1: of the fault where it is known, else of the document's first line.
    pub(super) line: usize,
}

/// One document of a manifest file, as it stands there: for who looks at files themselves, and not at what they hold now.
#[derive(Debug)]
pub struct ManifestPart<'t> {
    /// The first line, from 1.
    pub line: usize,
    /// The text, from that line on.
    pub text: &'t str,
    /// What it says, or the line of the fault and the fault.
    pub value: Result<Value, (usize, String)>,
}

/// The documents of a file that hold anything; `json` says that its name ends in `.json`.
pub fn manifest_parts(text: &str, json: bool) -> Vec<ManifestPart<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if json {
        return json_parts(text);
    }
    let part = |(line, text)| {
        let place = Place { document: 1, line };
        let value = serde_saphyr::from_str_with_options::<Value>(text, options());
        let fault = |error| {
            let Fault { place, message } = yaml_fault(error, text, place);
            (place.line, message)
        };
        ManifestPart { line, text, value: value.map_err(fault) }
    };
    split(text).into_iter().map(part).collect()
}

fn json_parts(text: &str) -> Vec<ManifestPart<'_>> {
    let mut parts = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let before = values.byte_offset();
        let start = before + text[before..].len() - text[before..].trim_start().len();
        let line = 1 + text[..start].matches('\n').count();
        let value = match values.next() {
            None => return parts,
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err((error.line().max(1), error.to_string())),
        };
        let end = if value.is_ok() { values.byte_offset() } else { text.len() };
        let broken = value.is_err();
        parts.push(ManifestPart { line, text: &text[start..end], value });
        if broken {
            return parts;
        }
    }
}

/// Something in a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {}, line {}: {message}", place.document, place.line)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// What stands in a file.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) documents: Vec<Document>,
    pub(super) faults: Vec<Fault>,
}

/// Reads a file; `json` says that its name ends in `.json`.
pub(super) fn parse(text: &str, json: bool) -> Documents {
    let mut all = Documents::default();
    // A byte order mark is no content.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if json {
        parse_json(text, &mut all);
    } else {
        for (number, (line, part)) in split(text).into_iter().enumerate() {
            let place = Place { document: number + 1, line };
            match serde_saphyr::from_str_with_options::<Value>(part, options()) {
                Ok(value) => all.take(value, place),
                Err(error) => all.faults.push(yaml_fault(error, part, place)),
            }
        }
    }
    all
}

impl Documents {
    fn take(&mut self, value: Value, place: Place) {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
        if value.is_null() {
            return;
        }
        if !value.is_object() {
            self.faults.push(Fault::new(place, "an object with apiVersion, kind and metadata is expected"));
            return;
        }
        let absent = if api_version.is_empty() { "apiVersion" } else { "kind" };
        if api_version.is_empty() || kind.is_empty() {
            self.faults.push(Fault::new(place, format!("{absent}: a text is required")));
            return;
        }
        if let (Some(of), Some(Value::Array(_))) = (kind.strip_suffix("List"), value.get("items")) {
            self.take_items(value, &api_version, of, place);
            return;
        }
        match Kind::from_manifest(&api_version, &kind) {
            Some(kind) => self.documents.push(Document { kind, value, place }),
            None => tracing::debug!(api_version, kind, "a manifest of a kind that is not read"),
        }
    }

    /// The items of a list; those of a typed list, such as `PodList`, may leave their own kind out.
    fn take_items(&mut self, mut list: Value, api_version: &str, of: &str, place: Place) {
        let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else { return };
        for mut item in items {
            if let (Some(item), false) = (item.as_object_mut(), of.is_empty()) {
                item.entry("apiVersion").or_insert_with(|| api_version.into());
                item.entry("kind").or_insert_with(|| of.into());
            }
            self.take(item, place);
        }
    }
}

/// Several JSON values may follow each other, as `kubectl` takes them.
fn parse_json(text: &str, all: &mut Documents) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut document = 1;
    loop {
        let before = values.byte_offset();
        let blank = text[before..].len() - text[before..].trim_start().len();
        let line = 1 + text[..before + blank].matches('\n').count();
        match values.next() {
            None => return,
            Some(Ok(value)) => all.take(value, Place { document, line }),
            Some(Err(error)) => {
                all.faults.push(Fault::new(Place { document, line: error.line().max(1) }, error.to_string()));
                return;
            }
        }
        document += 1;
    }
}

/// The documents of a YAML stream with the line each begins on; documents without content are left out.
///
/// `---` at the start of a line ends a document wherever it stands, even within a block scalar (YAML 1.2.2 §9.1.2), so a
/// broken document cannot swallow the next one.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            parts.push((first_line, &text[start..offset]));
            (start, first_line) = (offset, number + 1);
        }
        offset += line.len();
    }
    parts.push((first_line, &text[start..]));
    parts.retain(|(_, part)| has_content(part));
    parts
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a part holds more than markers, directives and comments.
fn has_content(part: &str) -> bool {
    part.lines().any(|line| {
        let line = line.strip_prefix("---").or_else(|| line.strip_prefix("...")).unwrap_or(line).trim();
        !(line.is_empty() || line.starts_with('#') || line.starts_with('%'))
    })
}

/// The parser counts lines, also within its messages, from the start of what it is given; so a broken document is parsed
/// once more where it stands.
fn yaml_fault(error: serde_saphyr::Error, part: &str, place: Place) -> Fault {
    let padded = "\n".repeat(place.line - 1) + part;
    let error = serde_saphyr::from_str_with_options::<Value>(&padded, options()).err().unwrap_or(error);
    let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or_default().max(place.line);
    Fault::new(Place { line, ..place }, error.without_snippet().to_string().replace('\n', " "))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // A snippet would put Secrets into the log.
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED,
        },
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: 2 * NODES,
        },
    }
}

/// Scalars, maps and lists of one document: a `List` of ten thousand pods fits, a file of nothing but brackets does not.
const NODES: usize = 2_000_000;
/// What aliases of one document may stand for, in such parts: a few hundred bytes must not become all of [`NODES`].
const ALIASED: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Vec<(Kind, String, usize, usize)> {
        let documents = parse(text, false);
        assert_eq!(documents.faults, []);
        let name = |value: &Value| value.pointer("/metadata/name").and_then(Value::as_str).unwrap().to_owned();
        documents.documents.iter().map(|d| (d.kind, name(&d.value), d.place.document, d.place.line)).collect()
    }

    #[test]
    fn several_documents_keep_their_numbers_and_lines() {
        let text = "# comment\n---\n# only a comment\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\r\n\
                    apiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n---\nkind: ConfigMap\napiVersion: v1\n...\n";
        assert_eq!(objects(text), [(Kind::Service, "a".into(), 1, 4), (Kind::Pod, "b".into(), 2, 8)]);
    }

    #[test]
    fn parts_keep_their_lines_and_a_broken_one_costs_only_itself() {
        let seen = |text: &str, json: bool| -> Vec<(usize, Result<Value, usize>)> {
            let parts = manifest_parts(text, json).into_iter();
            parts.map(|part| (part.line, part.value.map_err(|(line, _)| line))).collect()
        };
        let one = || Ok(serde_json::json!({"a": 1}));
        assert_eq!(seen("# x\n---\na: 1\n---\na: [\n---\na: 1\n", false), [(2, one()), (4, Err(5)), (6, one())]);
        assert_eq!(seen("{\"a\": 1}\n\n{\"a\": 1} {\n\"a\"", true), [(1, one()), (3, one()), (3, Err(4))]);
    }

    #[test]
    fn lists_are_unrolled() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
                    - {apiVersion: v1, kind: ServiceList, items: [{metadata: {name: b}}]}\n";
        assert_eq!(objects(text), [(Kind::Pod, "a".into(), 1, 1), (Kind::Service, "b".into(), 1, 1)]);
    }

    #[test]
    fn a_broken_document_costs_only_itself_and_names_its_line() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: \"cut\n---\n\
                    apiVersion: v1\nkind: Pod\nmetadata: {name: c}\n---\nmetadata: {name: d}\n---\n- 1\n";
        let documents = parse(text, false);
        assert_eq!(documents.documents.len(), 2);
        let places: Vec<_> = documents.faults.iter().map(|fault| (fault.place.document, fault.place.line)).collect();
        assert_eq!((places[0].0, places[1], places[2]), (2, (4, 13), (5, 15)));
        assert!((7..=9).contains(&places[0].1), "{:?}", documents.faults[0]);
        assert!(documents.faults[1].message.contains("apiVersion"));
    }

    #[test]
    fn json_values_may_follow_each_other() {
        let pod = |name: &str| {
            format!("{{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"metadata\": {{\"name\": \"{name}\"}}}}\n")
        };
        let documents = parse(&format!("{}\n{}{{\n\"cut", pod("a"), pod("b")), true);
        let places: Vec<_> = documents.documents.iter().map(|d| (d.place.document, d.place.line)).collect();
        assert_eq!(places, [(1, 1), (2, 4)]);
        assert_eq!((documents.faults[0].place.document, documents.faults[0].place.line), (3, 7));
    }

    #[test]
    fn a_fault_never_quotes_the_file() {
        let text = "apiVersion: v1\nkind: Secret\nstringData:\n  tls.key: |\n    c2VjcmV0\n bad: [";
        let documents = parse(text, false);
        assert!(!documents.faults.is_empty());
        assert!(documents.faults.iter().all(|fault| !fault.message.contains("c2VjcmV0")));
    }
}
