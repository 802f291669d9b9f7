//! Which objects of a kind a program wants: the programs build these, both sources read them.

use crate::Kind;

/// The objects of one kind, narrowed by the selectors that the Kubernetes list API takes. Several selections of one kind
/// are united.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The kind.
    pub kind: Kind,
    /// `fieldSelector`, such as `spec.nodeName=node-1`.
    pub fields: Option<String>,
    /// `labelSelector`, such as `app=router`.
    pub labels: Option<String>,
    /// The one namespace to read; every namespace if `None`.
    pub namespace: Option<String>,
}

impl Selection {
    /// Every object of a kind.
    pub fn all(kind: Kind) -> Self {
        Self { kind, fields: None, labels: None, namespace: None }
    }

    /// Narrowed by a field selector.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Narrowed by a label selector.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Narrowed to one namespace; cluster-scoped kinds ignore it.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}
