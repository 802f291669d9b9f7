//! Whether the requests of an object are told to the operator one by one: annotations flow in, what is left out flows out.

use crate::annotation::grammar::boolean;
use crate::annotation::{Annotations, Spelling};

/// What is told of each request, where the operator has it told at all; the default tells everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observability {
    /// Requests have no line in the access log.
    pub no_access_log: bool,
    /// Requests have no spans, and trace context passes as it is.
    pub no_traces: bool,
}

impl Observability {
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let access_log = annotations.first(&[
            Spelling { name: "nearside.dev/enable-access-log", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/enable-access-log", parse: boolean },
        ]);
        let traces = annotations.first(&[
            Spelling { name: "nearside.dev/enable-opentelemetry", parse: boolean },
            Spelling { name: "nginx.ingress.kubernetes.io/enable-opentelemetry", parse: boolean },
        ]);
        Self { no_access_log: access_log == Some(false), no_traces: traces == Some(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn each_is_told_unless_the_object_says_no() {
        let told = |written: &[(&str, &str)]| {
            let read = read(written, Observability::read);
            (!read.no_access_log, !read.no_traces)
        };
        for (written, expected) in [
            (&[][..], (true, true)),
            (&[("nginx.ingress.kubernetes.io/enable-access-log", "false")], (false, true)),
            (&[("nginx.ingress.kubernetes.io/enable-opentelemetry", "false")], (true, false)),
            (
                &[("nearside.dev/enable-access-log", "true"), ("nginx.ingress.kubernetes.io/enable-access-log", "0")],
                (true, true),
            ),
            (&[("nearside.dev/enable-access-log", "no"), ("nearside.dev/enable-opentelemetry", "F")], (true, false)),
        ] {
            assert_eq!(told(written), expected, "{written:?}");
        }
        assert_eq!(problems(&[("nearside.dev/enable-access-log", "no")], Observability::read).len(), 1);
    }
}
