//! Annotations of one object: text flows in, typed settings flow out. A setting may have several spellings, its own and those
//! of other routers. A value that is not understood becomes a problem and the default holds; so does an annotation under a
//! router's prefix that nothing here reads, because silence would look like success. Called by [`crate::policy`].

pub(crate) mod grammar;

use crate::object::ObjectMeta;
use crate::verdict::{Problem, Reason, shown};
use std::collections::BTreeSet;

/// The annotations of one object, and what came up while they were read.
#[derive(Debug)]
pub(crate) struct Annotations<'m> {
    metadata: &'m ObjectMeta,
    read: BTreeSet<&'static str>,
    problems: Vec<Problem>,
}

/// One way to write a setting: the annotation's name, and the grammar of its value with a message for what breaks it.
#[derive(Debug)]
pub(crate) struct Spelling<T> {
    /// The whole name, such as `haproxy.router.openshift.io/timeout`.
    pub(crate) name: &'static str,
    /// The grammar.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

impl<'m> Annotations<'m> {
    /// Of this object.
    pub(crate) fn new(metadata: &'m ObjectMeta) -> Self {
        Self { metadata, read: BTreeSet::new(), problems: Vec::new() }
    }

    /// The value of the first spelling that is written and understood.
    pub(crate) fn first<T>(&mut self, spellings: &[Spelling<T>]) -> Option<T> {
        let mut found = None;
        for spelling in spellings {
            let Some(text) = self.text(spelling.name) else { continue };
            match (spelling.parse)(text) {
                Ok(value) => found = found.or(Some(value)),
                Err(message) => self.problem(spelling.name, format!("{:?} {message}; the default holds", shown(text))),
            }
        }
        found
    }

    /// The value as it is written, if it is short enough to be read.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<&'m str> {
        self.read.insert(name);
        let text = self.metadata.annotation(name)?;
        if text.len() <= VALUE_BYTES {
            return Some(text);
        }
        self.problem(name, format!("{} bytes are more than {VALUE_BYTES}; the default holds", text.len()));
        None
    }

    /// The object's namespace.
    pub(crate) fn namespace(&self) -> &'m str {
        &self.metadata.namespace
    }

    /// Whether the annotation is there, whatever its value.
    pub(crate) fn is_written(&self, name: &str) -> bool {
        self.metadata.annotation(name).is_some()
    }

    /// Says that an annotation, though understood, is not or not wholly followed.
    pub(crate) fn problem(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(field(name), Reason::InvalidAnnotation, message));
    }

    /// Says of each annotation that was read, but for these, that it has no effect. They are named without their prefix.
    pub(crate) fn void_all_but(&mut self, kept: &[&str], message: &str) {
        let written = self.metadata.annotations.keys().filter_map(|name| self.read.get(name.as_str()).copied());
        let void: Vec<&str> =
            written.filter(|name| name.rsplit('/').next().is_none_or(|name| !kept.contains(&name))).collect();
        void.into_iter().for_each(|name| self.problem(name, message));
    }

    /// Everything that came up, with the annotations that nothing read.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let Self { metadata, read, mut problems } = self;
        let names = metadata.annotations.keys().map(String::as_str);
        let unread = names.filter(|name| !read.contains(name) && !ELSEWHERE.contains(name));
        for name in unread.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
            let message = "is not offered here; it has no effect (docs/compatibility.md)";
            problems.push(Problem::new(field(&shown(name)), Reason::InvalidAnnotation, message));
        }
        problems
    }
}

impl Annotations<'_> {
    /// The names of all annotations that were looked for.
    pub(crate) fn into_names(self) -> Vec<&'static str> {
        self.read.into_iter().collect()
    }
}

/// The path of an annotation.
pub(crate) fn field(name: &str) -> String {
    format!("metadata.annotations[\"{name}\"]")
}

/// Prefixes of annotations that people write for a router.
const PREFIXES: [&str; 4] =
    ["nearside.dev/", "haproxy.router.openshift.io/", "router.openshift.io/", "nginx.ingress.kubernetes.io/"];
/// Annotations under these prefixes that others write or read.
const ELSEWHERE: [&str; 1] = ["router.openshift.io/pool-size"];
/// Bytes of a value; the API server allows 256 KiB for all annotations of an object together.
const VALUE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(annotations: &[(&str, &str)]) -> ObjectMeta {
        let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ObjectMeta { annotations, ..ObjectMeta::default() }
    }

    const COUNT: [Spelling<u32>; 2] = [
        Spelling { name: "nearside.dev/count", parse: grammar::count },
        Spelling { name: "haproxy.router.openshift.io/count", parse: grammar::count },
    ];

    fn read(annotations: &[(&str, &str)]) -> (Option<u32>, Vec<String>) {
        let metadata = metadata(annotations);
        let mut annotations = Annotations::new(&metadata);
        let value = annotations.first(&COUNT);
        (value, annotations.into_problems().iter().map(|problem| problem.field.clone()).collect())
    }

    #[test]
    fn the_first_spelling_that_is_understood_counts_and_the_bad_one_is_told() {
        assert_eq!(read(&[("haproxy.router.openshift.io/count", "7"), ("nearside.dev/count", "5")]), (Some(5), vec![]));
        let bad = "metadata.annotations[\"nearside.dev/count\"]".to_owned();
        assert_eq!(
            read(&[("haproxy.router.openshift.io/count", "7"), ("nearside.dev/count", "many")]),
            (Some(7), vec![bad])
        );
    }

    #[test]
    fn an_annotation_that_nobody_reads_is_told_and_those_of_others_are_not() {
        let unknown = "metadata.annotations[\"nginx.ingress.kubernetes.io/server-snippet\"]".to_owned();
        let written = [("nginx.ingress.kubernetes.io/server-snippet", "x"), ("example.com/owner", "me")];
        assert_eq!(read(&written), (None, vec![unknown]));
    }

    #[test]
    fn a_value_that_is_too_long_is_not_read() {
        let (value, problems) = read(&[("nearside.dev/count", &"1".repeat(VALUE_BYTES + 1))]);
        assert_eq!((value, problems.len()), (None, 1));
    }
}
