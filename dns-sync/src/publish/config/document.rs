//! A YAML document as it is read entry by entry: a value with its path flows in, a typed value flows out, and every mistake is
//! noted with its path instead of ending the reading. Used by the configuration alone.

use serde_json::Value;
use std::cell::RefCell;

/// The mistakes of one document, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Mistakes(RefCell<Vec<String>>);

impl Mistakes {
    /// All of them.
    pub(super) fn into_all(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// Reads a document; the error says where it is no YAML.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        // A snippet could put a secret into the log that somebody has written into the wrong file.
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: 2 * NODES,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string().replace('\n', " "))
}

/// A value of a document and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry<'d> {
    path: String,
    /// Null where there is none.
    value: &'d Value,
    mistakes: &'d Mistakes,
}

impl<'d> Entry<'d> {
    /// The whole document.
    pub(super) fn root(value: &'d Value, mistakes: &'d Mistakes) -> Self {
        Self { path: String::new(), value, mistakes }
    }

    /// Notes that something about this entry is wrong.
    pub(super) fn mistake(&self, message: &str) {
        let line = if self.path.is_empty() { message.to_owned() } else { format!("{}: {message}", self.path) };
        self.mistakes.0.borrow_mut().push(line);
    }

    /// Notes each field that has another name than these, and a value that has no fields at all.
    pub(super) fn allow(&self, names: &[&str]) {
        let Value::Object(fields) = self.value else {
            self.mistake(&format!("must have the fields {}", names.join(", ")));
            return;
        };
        for name in fields.keys().filter(|name| !names.contains(&name.as_str())) {
            self.field(name).mistake(&format!("no such field; there are {}", names.join(", ")));
        }
    }

    /// A field, whether it is there or not.
    pub(super) fn field(&self, name: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        let value = self.value.get(name).unwrap_or(&Value::Null);
        Self { path: format!("{}{separator}{name}", self.path), value, mistakes: self.mistakes }
    }

    /// A field that may be missing.
    pub(super) fn optional(&self, name: &str) -> Option<Self> {
        Some(self.field(name)).filter(|field| !field.value.is_null())
    }

    /// A field that must be there.
    pub(super) fn required(&self, name: &str) -> Option<Self> {
        let field = self.optional(name);
        if field.is_none() && self.value.is_object() {
            self.field(name).mistake("is missing");
        }
        field
    }

    /// The entries of a list; none where it is missing.
    pub(super) fn list(&self, name: &str, least: usize, most: usize) -> Vec<Self> {
        let field = self.field(name);
        let entries = match field.value {
            Value::Null => &[][..],
            Value::Array(entries) => entries.as_slice(),
            _ => {
                field.mistake("must be a list");
                return Vec::new();
            }
        };
        if entries.len() < least && self.value.is_object() {
            field.mistake(if entries.is_empty() { "needs at least one entry" } else { "has too few entries" });
        }
        if entries.len() > most {
            field.mistake(&format!("has {} entries; there may be at most {most}", entries.len()));
        }
        let entry = |(index, value)| Self { path: format!("{}[{index}]", field.path), value, mistakes: self.mistakes };
        entries.iter().enumerate().map(entry).collect()
    }

    /// A text, read by a function that says what is wrong with it.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Value::String(text) = self.value else {
            self.mistake("must be a text; put it into quotes");
            return None;
        };
        parse(text.trim()).map_err(|message| self.mistake(&message)).ok()
    }

    /// Yes or no.
    pub(super) fn boolean(&self) -> Option<bool> {
        if !self.value.is_boolean() {
            self.mistake("must be true or false");
        }
        self.value.as_bool()
    }
}

/// Scalars, maps and lists of the document: tens of thousands of names to adopt fit.
const NODES: usize = 200_000;
