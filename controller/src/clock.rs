//! The wall clock, as the API writes it. Only shells call it; the pure parts take times as arguments.

use k8s_openapi::jiff::Timestamp;

/// Now, in RFC 3339 with whole seconds (`metav1.Time`).
pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now, in RFC 3339 with microseconds (`metav1.MicroTime`).
pub(crate) fn now_micro() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Now, as the API's types hold it.
pub(crate) fn timestamp() -> Timestamp {
    Timestamp::now()
}
