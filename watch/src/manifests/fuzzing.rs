//! The fuzz target of manifests: the text of a file flows in, as YAML and as JSON. Whatever stands in one document, the next one is
//! read.

use super::document::{Document, Documents, manifest_parts, parse};
use crate::{Kind, Object};
use serde_json::Value;

/// See [`crate::fuzzing::manifests`].
pub(crate) fn manifests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for json in [false, true] {
        let all = parse(text, json);
        places_are_in_the_file(text, &all);
        let parts = manifest_parts(text, json);
        assert!(parts.iter().all(|part| text.contains(part.text)));
        for document in &all.documents {
            if let Ok(object) = Object::decode(document.kind, document.value.clone()) {
                assert_eq!(object.kind(), document.kind);
            }
            let again = parse(&document.value.to_string(), true);
            let name = |document: &Document| document.value.pointer("/metadata/name").cloned();
            assert!(again.faults.is_empty() && again.documents.len() == 1);
            assert_eq!((again.documents[0].kind, name(&again.documents[0])), (document.kind, name(document)));
        }
    }
    let followed = parse(&format!("{text}\n---\n{GOOD}"), false);
    let last = followed.documents.last().expect("the document after what is broken");
    assert_eq!((last.kind, last.value.pointer("/metadata/name")), (Kind::Namespace, Some(&Value::from("good"))));
}

fn places_are_in_the_file(text: &str, all: &Documents) {
    let lines = text.split('\n').count();
    let documents = all.documents.iter().map(|document| document.place);
    for place in documents.chain(all.faults.iter().map(|fault| fault.place)) {
        assert!(place.document >= 1 && (1..=lines + 1).contains(&place.line), "{place:?} of {lines} lines");
    }
    for fault in &all.faults {
        assert!(!fault.message.contains('\n'), "{fault}");
    }
}

const GOOD: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";
