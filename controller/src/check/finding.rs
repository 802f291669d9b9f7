//! What `check` says: one thing that is wrong in a file, or worth a look.

use serde::Serialize;
use std::fmt;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The API server refuses it, or it is not served.
    Error,
    /// It is not served as written, or what it needs was not found.
    Warning,
    /// It is as written; but somebody may want to know.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One finding. Orders as in a report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) severity: Severity,
    /// Such as `Route shop/web`; empty where the object is not known.
    pub(crate) object: String,
    /// The path of the field; empty for the whole object.
    pub(crate) field: String,
    pub(crate) message: String,
    /// A single word.
    pub(crate) reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, severity, object, field, message, reason } = self;
        write!(f, "{file}:{line}: {severity}: ")?;
        for part in [object, field].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "{part}: ")?;
        }
        write!(f, "{} [{reason}]", message.replace('\n', " "))
    }
}

/// A finding about an object, before it is known where the object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) severity: Severity,
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) reason: String,
}

impl Remark {
    pub(crate) fn new(
        severity: Severity,
        field: impl Into<String>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { severity, field: field.into(), message: message.into(), reason: reason.into() }
    }

    pub(crate) fn error(field: impl Into<String>, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, field, reason, message)
    }
}
