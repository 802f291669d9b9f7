//! Answers that are replaced: annotations flow in, which statuses of pods and the Service that answers in their place flow out.

use crate::annotation::{Annotations, Spelling};

/// Which answers are not a client's, and what it gets instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomErrors {
    /// The statuses that are replaced, sorted.
    pub statuses: Box<[u16]>,
    /// The Service of the object's namespace that is asked, at its first port; `None` means the router's own pages.
    pub service: Option<Box<str>>,
}

impl CustomErrors {
    /// Whether an answer with this status is replaced.
    pub fn replaces(&self, status: u16) -> bool {
        self.statuses.binary_search(&status).is_ok()
    }

    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let statuses = annotations.first(&[
            Spelling { name: "nearside.dev/custom-http-errors", parse: statuses },
            Spelling { name: "nginx.ingress.kubernetes.io/custom-http-errors", parse: statuses },
        ]);
        let service = annotations.first(&[
            Spelling { name: "nearside.dev/default-backend", parse: service },
            Spelling { name: "nginx.ingress.kubernetes.io/default-backend", parse: service },
        ]);
        Self { statuses: statuses.unwrap_or_default(), service }
    }
}

fn statuses(text: &str) -> Result<Box<[u16]>, String> {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (400..=599).contains(status));
    let mut statuses: Vec<u16> = text
        .split(',')
        .map(status)
        .collect::<Option<_>>()
        .ok_or("is not a list of statuses from 400 to 599, with commas between")?;
    statuses.sort_unstable();
    statuses.dedup();
    Ok(statuses.into())
}

/// The name of a Service (RFC 1035 label, as the API has it).
fn service(text: &str) -> Result<Box<str>, String> {
    let valid = text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    valid.then(|| text.into()).ok_or_else(|| "is not the name of a Service of the same namespace".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn statuses_and_a_service_of_the_same_namespace_are_named() {
        let nginx = [
            ("nginx.ingress.kubernetes.io/custom-http-errors", "503, 404,404"),
            ("nginx.ingress.kubernetes.io/default-backend", "errors"),
        ];
        let errors = read(&nginx, CustomErrors::read);
        assert_eq!((&*errors.statuses, errors.service.as_deref()), (&[404, 503][..], Some("errors")));
        assert!(errors.replaces(404) && !errors.replaces(500));
        for text in ["", "404,", "all", "302", "600", "404;503", "-404"] {
            assert!(statuses(text).is_err(), "{text:?}");
        }
        for text in ["", "other/errors", "Errors", "-a", "a-", "a.b", "a b", "ä"] {
            assert!(service(text).is_err(), "{text:?}");
        }
        assert_eq!(problems(&[("nearside.dev/custom-http-errors", "many")], CustomErrors::read).len(), 1);
    }
}
