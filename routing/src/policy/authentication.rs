//! Who may ask, by what they know: annotations flow in, an [`Authentication`] that every request must pass flows out. What
//! is asked for and not understood refuses every request: to serve such an object openly would hand out what its owner
//! believes to be guarded.

mod basic;
mod external;

pub use basic::{Basic, SecretForm};
pub use external::{Cache, External};

use crate::annotation::Annotations;

/// What a request must show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Whether the object asks for something that is not offered or not understood; then no request is served.
    pub refused: bool,
    /// A name and a password.
    pub basic: Option<Basic>,
    /// The word of a service.
    pub external: Option<External>,
    /// Whether the lists of addresses must be passed as well.
    pub satisfy: Satisfy,
}

/// How authentication and the lists of addresses go together (`satisfy` of nginx).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Satisfy {
    /// A request must pass both.
    #[default]
    All,
    /// A request must pass one, whichever; who is on no list that lets in has to authenticate in one way.
    Any,
}

impl Authentication {
    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let mut refused = false;
        for name in NOT_OFFERED {
            if let Some((name, _)) = first_written(annotations, &[name]) {
                refuse(annotations, name, "asks for a guard that is not offered");
                refused = true;
            }
        }
        let basic = Basic::read(annotations).unwrap_or_else(|_| {
            refused = true;
            None
        });
        let external = External::read(annotations).unwrap_or_else(|_| {
            refused = true;
            None
        });
        let satisfy = match first_written(annotations, &SATISFY) {
            None | Some((_, Some("all"))) => Satisfy::All,
            Some((_, Some("any"))) => Satisfy::Any,
            Some((name, _)) => {
                annotations.problem(name, "is not one of all, any; all must be passed");
                Satisfy::All
            }
        };
        Self { refused, basic, external, satisfy }
    }

    /// Whether a request must show anything.
    pub fn is_demanded(&self) -> bool {
        self.refused || self.basic.is_some() || self.external.is_some()
    }
}

/// Something that was asked for and not understood, and was told.
#[derive(Debug)]
struct Refused;

/// The first of these annotations that holds anything but blanks; without its value where that is too long to be read.
fn first_written<'m>(
    annotations: &mut Annotations<'m>,
    names: &[&'static str],
) -> Option<(&'static str, Option<&'m str>)> {
    let mut found = None;
    for name in names {
        if annotations.is_written(name) {
            let text = annotations.text(name);
            if text.is_none_or(|text| !text.trim().is_empty()) {
                found = found.or(Some((*name, text)));
            }
        }
    }
    found
}

fn refuse(annotations: &mut Annotations<'_>, name: &'static str, message: &str) -> Refused {
    annotations.problem(name, format!("{message}: requests are refused with 503"));
    Refused
}

/// Annotations that ingress-nginx answers no request without heeding.
const NOT_OFFERED: [&str; 2] =
    ["nginx.ingress.kubernetes.io/auth-snippet", "nginx.ingress.kubernetes.io/auth-proxy-set-headers"];
const SATISFY: [&str; 2] = ["nearside.dev/satisfy", "nginx.ingress.kubernetes.io/satisfy"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{problems, read};

    #[test]
    fn each_way_to_ask_for_what_is_not_offered_counts_and_is_told() {
        assert!(!read(&[], Authentication::read).is_demanded());
        let long = "x".repeat(70_000);
        for name in NOT_OFFERED {
            for value in ["basic", &long] {
                assert!(read(&[(name, value)], Authentication::read).refused, "{name}");
                let problems = problems(&[(name, value)], Authentication::read);
                assert!(problems.iter().any(|problem| problem.contains("503")), "{name}");
            }
            assert!(!read(&[(name, " ")], Authentication::read).is_demanded(), "{name}");
        }
    }

    #[test]
    fn what_is_not_one_of_two_words_means_all() {
        for (value, expected, told) in
            [("all", Satisfy::All, 0), ("any", Satisfy::Any, 0), ("Any", Satisfy::All, 1), ("", Satisfy::All, 0)]
        {
            let written = [("nginx.ingress.kubernetes.io/satisfy", value)];
            assert_eq!(read(&written, Authentication::read).satisfy, expected, "{value:?}");
            assert_eq!(problems(&written, Authentication::read).len(), told, "{value:?}");
        }
    }
}
