//! In which form a client wants objects: the `Accept` header goes in, objects and lists in that form come out. `http`
//! uses it for answers, `watch` for events.

use super::kinds::ResourceKind;
use super::registry::Page;
use super::table;
use serde_json::{Map, Value, json};

/// The forms an answer can take, by `as=` in the media type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// The objects themselves.
    #[default]
    Whole,
    /// `meta.k8s.io/v1` Table, for printing.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata.
    Metadata,
}

impl Form {
    /// The first form of an `Accept` header that the server can give; `None` when there is none (406).
    pub(crate) fn accepted(accept: &str) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Self::Whole);
        }
        accept.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next()?;
            if !matches!(media_type, "application/json" | "application/*" | "*/*") {
                return None;
            }
            let parameters: Vec<_> = parts.collect();
            let wanted = parameters.iter().find_map(|parameter| parameter.strip_prefix("as="));
            let is_v1 = parameters.contains(&"v=v1") && parameters.contains(&"g=meta.k8s.io");
            match wanted {
                None => Some(Self::Whole),
                Some("Table") if is_v1 => Some(Self::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") if is_v1 => Some(Self::Metadata),
                Some(_) => None,
            }
        })
    }

    /// One object in this form.
    pub(crate) fn object(self, kind: &ResourceKind, object: Value) -> Value {
        match self {
            Self::Whole => object,
            Self::Table => {
                let metadata = json!({"resourceVersion": object.pointer("/metadata/resourceVersion")});
                table::table(kind, &[object], metadata)
            }
            Self::Metadata => metadata_only("PartialObjectMetadata", &object),
        }
    }

    /// A page of a list in this form.
    pub(crate) fn list(self, kind: &ResourceKind, page: Page) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".to_owned(), json!(page.revision.to_string()));
        if !page.continue_token.is_empty() {
            metadata.insert("continue".to_owned(), json!(page.continue_token));
        }
        if let Some(remaining) = page.remaining {
            metadata.insert("remainingItemCount".to_owned(), json!(remaining));
        }
        match self {
            Self::Table => table::table(kind, &page.items, metadata.into()),
            Self::Metadata => {
                let items: Vec<_> =
                    page.items.iter().map(|object| metadata_only("PartialObjectMetadata", object)).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
            }
            Self::Whole => {
                let mut items = page.items;
                if kind.typed {
                    // Go types leave their own type out inside a list.
                    for object in items.iter_mut().filter_map(Value::as_object_mut) {
                        object.remove("kind");
                        object.remove("apiVersion");
                    }
                }
                json!({"kind": kind.list_kind(), "apiVersion": kind.api_version(), "metadata": metadata, "items": items})
            }
        }
    }
}

fn metadata_only(kind: &str, object: &Value) -> Value {
    json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_given_is_taken() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(Form::accepted(kubectl), Some(Form::Table));
        assert_eq!(
            Form::accepted("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
            Some(Form::Metadata)
        );
        assert_eq!(Form::accepted("application/vnd.kubernetes.protobuf, */*"), Some(Form::Whole));
        assert_eq!(Form::accepted(""), Some(Form::Whole));
        assert_eq!(Form::accepted("application/vnd.kubernetes.protobuf"), None);
    }
}
