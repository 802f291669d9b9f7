//! Authentication that an object asks for and that is not offered: annotations flow in, whether requests must be refused
//! flows out. To serve such an object openly would hand out what its owner believes to be guarded.

use crate::annotation::Annotations;

/// Whether the object asks for authentication.
pub(crate) fn is_demanded(annotations: &mut Annotations<'_>) -> bool {
    let mut demanded = false;
    for name in DEMANDS {
        if annotations.text(name).is_some_and(|text| !text.is_empty()) {
            annotations.problem(name, "asks for authentication, which is not offered: requests are refused with 503");
            demanded = true;
        }
    }
    demanded
}

/// Annotations that ingress-nginx answers no request without heeding.
const DEMANDS: [&str; 3] = [
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn each_way_to_ask_counts_and_is_told() {
        assert!(!read(&[], is_demanded));
        assert!(!read(&[("nginx.ingress.kubernetes.io/auth-realm", "who")], is_demanded));
        for name in DEMANDS {
            assert!(read(&[(name, "basic")], is_demanded), "{name}");
            assert!(problems(&[(name, "basic")], is_demanded)[0].contains("503"), "{name}");
        }
    }
}
