//! Verdicts: what admission decided about one Route or Ingress, in words that fit a status condition and an Event.

use crate::object::{ObjectKey, WildcardPolicy};
use crate::shared_map::SharedMap;
use std::fmt;

/// The verdict on each Route and each Ingress of our class.
pub type Verdicts = SharedMap<ObjectKey, Verdict>;

/// What Nearside does with one Route or Ingress. The same objects give the same verdict on every proxy and in the
/// controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The Route or Ingress.
    pub object: ObjectKey,
    /// The effective host of a Route; the first host of an Ingress; empty where there is none.
    pub host: String,
    /// What a Route says of wildcards; `None` for an Ingress, or where it says neither word.
    pub wildcard_policy: Option<WildcardPolicy>,
    /// Whether the object is served.
    pub outcome: Outcome,
    /// Parts that are not served, or not as written, though the object is.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// What is wrong with the object: why nothing of it is served, if so, and then its parts.
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        let rejected = match &self.outcome {
            Outcome::Rejected(problem) => Some(problem),
            Outcome::Admitted => None,
        };
        rejected.into_iter().chain(&self.problems)
    }
}

/// Whether an object is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one rule of the object is served.
    Admitted,
    /// Nothing of the object is served.
    Rejected(Problem),
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path of the field, such as `spec.tls.certificate` or `metadata.annotations["nearside.dev/on-miss"]`.
    pub field: String,
    /// The reason, a single word for machines.
    pub reason: Reason,
    /// What is wrong and what to check, for people.
    pub message: String,
}

impl Problem {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self { field: field.into(), reason, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.reason, self.field, self.message)
    }
}

/// As much of a bad value as a message repeats: objects may be a mebibyte large.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(SHOWN).collect()
}

/// Why something is not served; the first seven are the OpenShift router's own reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A field has a value that this router does not serve.
    RouteNotAdmitted,
    /// An older claim holds the host, or the host and path.
    HostAlreadyClaimed,
    /// A Route without a host.
    NoHostValue,
    /// A host that breaks DNS-1123.
    InvalidHost,
    /// TLS material that cannot be used.
    ExtendedValidationFailed,
    /// A Secret that a Route names for its certificate cannot be used.
    ExternalCertificateGetFailed,
    /// A Secret that a Route names holds no usable certificate.
    ExternalCertificateValidationFailed,
    /// A path that no request may have.
    InvalidPath,
    /// A backend that is not a Service of the same namespace.
    InvalidBackend,
    /// An annotation whose value is not understood; the default holds.
    InvalidAnnotation,
    /// A header action that is not understood or not allowed; the others are done.
    InvalidHeaderAction,
    /// A Secret that an Ingress names cannot be used; the default certificate is served.
    CertificateNotUsable,
    /// A Secret that an object names for passwords cannot be used, or not wholly; who it does not let in is not served.
    CredentialsNotUsable,
    /// A Secret that an annotation names cannot be used, or another object of the host asks for something else; requests
    /// are refused.
    SecretNotUsable,
}

impl Reason {
    /// The reason as it stands in conditions and Events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RouteNotAdmitted => "RouteNotAdmitted",
            Self::HostAlreadyClaimed => "HostAlreadyClaimed",
            Self::NoHostValue => "NoHostValue",
            Self::InvalidHost => "InvalidHost",
            Self::ExtendedValidationFailed => "ExtendedValidationFailed",
            Self::ExternalCertificateGetFailed => "ExternalCertificateGetFailed",
            Self::ExternalCertificateValidationFailed => "ExternalCertificateValidationFailed",
            Self::InvalidPath => "InvalidPath",
            Self::InvalidBackend => "InvalidBackend",
            Self::InvalidAnnotation => "InvalidAnnotation",
            Self::InvalidHeaderAction => "InvalidHeaderAction",
            Self::CertificateNotUsable => "CertificateNotUsable",
            Self::CredentialsNotUsable => "CredentialsNotUsable",
            Self::SecretNotUsable => "SecretNotUsable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Characters of a bad value.
const SHOWN: usize = 64;
