//! The objects of files: texts flow in; every object that can be read, with the place where it stands, and what an API server
//! refuses flow out.

use super::files::Text;
use super::finding::{Finding, Remark, Severity};
use super::lines::Lines;
use super::{api, schema};
use nearside_routing::{Kind, Object, ObjectKey};
use nearside_watch::manifest_parts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// An object of a file.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) key: ObjectKey,
    pub(super) object: Object,
    /// Fields that the API server refuses.
    pub(super) refused: Vec<String>,
    place: Place,
}

/// Where an object stands.
#[derive(Clone, Debug)]
struct Place {
    file: Rc<str>,
    lines: Rc<Lines>,
    /// The path of the object in its document; empty unless it is an item of a list.
    within: String,
}

impl Checked {
    pub(super) fn finding(&self, remark: Remark) -> Finding {
        self.place.finding(self.key.to_string(), remark)
    }
}

impl Place {
    fn finding(&self, object: String, remark: Remark) -> Finding {
        let Remark { severity, field, message, reason } = remark;
        let separator = if self.within.is_empty() || field.is_empty() { "" } else { "." };
        let line = self.lines.line(&format!("{}{separator}{field}", self.within));
        Finding { file: self.file.to_string(), line, severity, object, field, message, reason }
    }
}

/// Reads all texts. An object that stands twice counts once, and is told.
pub(super) fn manifests(texts: &[Text], findings: &mut Vec<Finding>) -> Vec<Checked> {
    let mut reader = Reader { findings, checked: BTreeMap::new() };
    for text in texts {
        let file: Rc<str> = text.name.as_str().into();
        for part in manifest_parts(&text.text, text.json) {
            match part.value {
                Ok(value) => {
                    let lines = Rc::new(Lines::of(part.text, part.line));
                    reader.take(value, &Place { file: Rc::clone(&file), lines, within: String::new() });
                }
                Err((line, message)) => reader.findings.push(Finding {
                    file: file.to_string(),
                    line,
                    severity: Severity::Error,
                    object: String::new(),
                    field: String::new(),
                    message,
                    reason: "NotReadable".into(),
                }),
            }
        }
    }
    reader.checked.into_values().collect()
}

struct Reader<'r> {
    findings: &'r mut Vec<Finding>,
    checked: BTreeMap<ObjectKey, Checked>,
}

impl Reader<'_> {
    fn take(&mut self, mut value: Value, place: &Place) {
        if value.is_null() {
            return;
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        for (field, found) in [("apiVersion", &api_version), ("kind", &kind)] {
            if found.is_empty() {
                let remark = Remark::error(field, "MissingField", "a text is required: is this a Kubernetes object?");
                return self.findings.push(place.finding(String::new(), remark));
            }
        }
        if let (Some(of), Some(Value::Array(items))) =
            (kind.strip_suffix("List"), value.get_mut("items").map(Value::take))
        {
            for (number, mut item) in items.into_iter().enumerate() {
                if let (Some(item), false) = (item.as_object_mut(), of.is_empty()) {
                    item.entry("apiVersion").or_insert_with(|| api_version.clone().into());
                    item.entry("kind").or_insert_with(|| of.into());
                }
                let within = format!(
                    "{}items[{number}]",
                    if place.within.is_empty() { String::new() } else { format!("{}.", place.within) }
                );
                self.take(item, &Place { within, ..place.clone() });
            }
            return;
        }
        match Kind::from_manifest(&api_version, &kind) {
            Some(known) => self.object(known, value, place),
            None => {
                // Other kinds are somebody else's; but not the old versions of ours.
                if let Some(known) = Kind::ALL.into_iter().find(|known| is_old_version(*known, &api_version, &kind)) {
                    let message = format!("{api_version:?} is not served for {kind}; {} is", known.api_version());
                    let remark = Remark::error("apiVersion", "UnknownVersion", message);
                    self.findings.push(place.finding(kind, remark));
                }
            }
        }
    }

    fn object(&mut self, kind: Kind, mut value: Value, place: &Place) {
        if kind.namespaced()
            && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
        {
            let namespace = metadata.entry("namespace").or_insert(Value::Null);
            if namespace.is_null() || namespace.as_str() == Some("") {
                *namespace = DEFAULT_NAMESPACE.into();
            }
        }
        let name = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let key = ObjectKey::new(kind, name("/metadata/namespace"), name("/metadata/name"));
        let remarks = [schema::remarks(kind, &value), api::remarks(kind, &value)].concat();
        let refused: Vec<String> =
            remarks.iter().map(|remark| remark.field.clone()).filter(|f| !f.is_empty()).collect();
        let told = !remarks.is_empty();
        self.findings.extend(remarks.into_iter().map(|remark| place.finding(key.to_string(), remark)));
        let object = match Object::decode(kind, value) {
            Ok(object) => object,
            Err(error) if told => return tracing::debug!(%error, "told already"),
            Err(error) => {
                let remark = Remark::error(error.field, "WrongType", error.message);
                return self.findings.push(place.finding(key.to_string(), remark));
            }
        };
        let checked = Checked { key: key.clone(), object, refused, place: place.clone() };
        if self.checked.contains_key(&key) && !key.name.is_empty() {
            let remark = Remark::new(
                Severity::Warning,
                "metadata.name",
                "Duplicate",
                "stands in these files twice; the first one counts",
            );
            self.findings.push(place.finding(key.to_string(), remark));
        } else {
            self.checked.insert(key, checked);
        }
    }
}

/// Whether a manifest means a kind of ours in a version that no API server serves any more, or never did.
fn is_old_version(known: Kind, api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let formerly = match known {
        Kind::Ingress => group == "extensions",
        Kind::Route => api_version == "v1",
        _ => false,
    };
    known.name() == kind && (formerly || group == known.group() && !group.is_empty())
}

/// Where `kubectl apply` puts an object that names no namespace.
const DEFAULT_NAMESPACE: &str = "default";
