//! The scheme Basic (RFC 7617): annotations flow in, which Secret holds the passwords and how clients are asked flow out.

use super::{Refused, first_written, refuse};
use crate::annotation::Annotations;
use crate::object::is_object_name;
use http::HeaderValue;

/// A name and a password that a Secret knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The name of the Secret, in the object's namespace.
    pub secret: Box<str>,
    /// How it holds passwords.
    pub form: SecretForm,
    /// `WWW-Authenticate` of refusals.
    pub challenge: HeaderValue,
    /// The annotation that names the Secret.
    pub(crate) field: &'static str,
}

/// How a Secret holds users and the hashes of their passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// Lines as htpasswd writes them, in the entry `auth`.
    File,
    /// Each entry is a user and holds the hash.
    Map,
}

impl Basic {
    /// What the annotations ask for.
    pub(super) fn read(annotations: &mut Annotations<'_>) -> Result<Option<Self>, Refused> {
        let asked = first_written(annotations, &TYPE);
        let (secret, form) = (first_written(annotations, &SECRET), first_written(annotations, &SECRET_TYPE));
        let realm = first_written(annotations, &REALM);
        let Some((name, scheme)) = asked else {
            for (name, _) in [secret, form, realm].into_iter().flatten() {
                annotations.problem(name, "has no effect without auth-type");
            }
            return Ok(None);
        };
        match scheme {
            Some("basic") => {}
            Some("digest") => return Err(refuse(annotations, name, "digest is not offered, basic over TLS is")),
            _ => return Err(refuse(annotations, name, "is not basic")),
        }
        let form = match form {
            None | Some((_, Some("auth-file"))) => SecretForm::File,
            Some((_, Some("auth-map"))) => SecretForm::Map,
            Some((name, _)) => return Err(refuse(annotations, name, "is not one of auth-file, auth-map")),
        };
        let Some((field, written)) = secret else {
            return Err(refuse(annotations, name, "needs auth-secret"));
        };
        let secret = match written.and_then(|text| text.split_once('/').map_or(Some(("", text)), Some)) {
            Some((namespace, name)) if is_object_name(name) => {
                if !namespace.is_empty() && namespace != annotations.namespace() {
                    return Err(refuse(annotations, field, "names a Secret of another namespace"));
                }
                name.into()
            }
            _ => return Err(refuse(annotations, field, "is not the name of a Secret")),
        };
        let realm = match realm {
            None => DEFAULT_REALM,
            Some((_, Some(text))) if text.len() <= REALM_BYTES && text.bytes().all(is_printable) => text,
            Some((name, _)) => {
                annotations.problem(name, format!("is not printable ASCII of at most {REALM_BYTES} bytes; left out"));
                DEFAULT_REALM
            }
        };
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        // Printable ASCII is always a value.
        let challenge = HeaderValue::from_str(&format!("Basic realm=\"{quoted}\", charset=\"UTF-8\""))
            .unwrap_or(HeaderValue::from_static("Basic realm=\"\", charset=\"UTF-8\""));
        Ok(Some(Self { secret, form, challenge, field }))
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

const TYPE: [&str; 2] = ["nearside.dev/auth-type", "nginx.ingress.kubernetes.io/auth-type"];
const SECRET: [&str; 2] = ["nearside.dev/auth-secret", "nginx.ingress.kubernetes.io/auth-secret"];
const SECRET_TYPE: [&str; 2] = ["nearside.dev/auth-secret-type", "nginx.ingress.kubernetes.io/auth-secret-type"];
const REALM: [&str; 2] = ["nearside.dev/auth-realm", "nginx.ingress.kubernetes.io/auth-realm"];
/// As ingress-nginx has it.
const DEFAULT_REALM: &str = "Authentication Required";
const REALM_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::authentication::Authentication;
    use crate::policy::testing::{problems, read};

    fn written<'a>(values: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
        values.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), *value)).collect()
    }

    fn basic(values: &[(&str, &str)]) -> (Authentication, Vec<String>) {
        let owned = written(values);
        let borrowed: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        (read(&borrowed, Authentication::read), problems(&borrowed, Authentication::read))
    }

    #[test]
    fn a_secret_of_the_same_namespace_is_asked() {
        let (plain, problems) = basic(&[("auth-type", "basic"), ("auth-secret", "users")]);
        let plain = plain.basic.unwrap();
        assert_eq!((&*plain.secret, plain.form, problems.len()), ("users", SecretForm::File, 0));
        assert_eq!(plain.challenge, "Basic realm=\"Authentication Required\", charset=\"UTF-8\"");
        let (full, problems) = basic(&[
            ("auth-type", "basic"),
            ("auth-secret", "shop/users.v1"),
            ("auth-secret-type", "auth-map"),
            ("auth-realm", "a \"b\\"),
        ]);
        let full = full.basic.unwrap();
        assert_eq!((&*full.secret, full.form, problems.len()), ("users.v1", SecretForm::Map, 0));
        assert_eq!(full.challenge, "Basic realm=\"a \\\"b\\\\\", charset=\"UTF-8\"");
    }

    #[test]
    fn what_is_not_understood_refuses_every_request_and_is_told() {
        let long = "b".repeat(70_000);
        for values in [
            &[("auth-type", "digest"), ("auth-secret", "users")][..],
            &[("auth-type", "Basic"), ("auth-secret", "users")],
            &[("auth-type", &long), ("auth-secret", "users")],
            &[("auth-type", "basic")],
            &[("auth-type", "basic"), ("auth-secret", "other/users")],
            &[("auth-type", "basic"), ("auth-secret", "shop/")],
            &[("auth-type", "basic"), ("auth-secret", "a/b/c")],
            &[("auth-type", "basic"), ("auth-secret", "../users")],
            &[("auth-type", "basic"), ("auth-secret", &long)],
            &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-secret-type", "file")],
        ] {
            let (authentication, problems) = basic(values);
            assert!(authentication.refused && authentication.basic.is_none(), "{:.40}", format!("{values:?}"));
            assert!(problems.iter().any(|problem| problem.contains("503")), "{problems:?}");
        }
    }

    #[test]
    fn a_realm_that_no_field_can_hold_is_left_out() {
        for realm in ["a\r\nX: y", "\u{e9}", &"r".repeat(REALM_BYTES + 1)] {
            let (authentication, problems) =
                basic(&[("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", realm)]);
            assert!(authentication.basic.unwrap().challenge.to_str().unwrap().contains(DEFAULT_REALM));
            assert_eq!(problems.len(), 1);
        }
    }

    #[test]
    fn settings_without_a_type_guard_nothing_and_are_told() {
        let (authentication, problems) = basic(&[("auth-secret", "users"), ("auth-realm", "r")]);
        assert!(!authentication.is_demanded());
        assert_eq!(problems.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_text_asks_or_refuses(text in "(\\PC|[/\"\\\\.-]|basic|users|\r|\n|\0|\u{2028}){0,12}") {
            let written = [("auth-type", "basic"), ("auth-secret", &*text), ("auth-realm", &*text)];
            let (authentication, _) = basic(&written);
            proptest::prop_assert!(authentication.is_demanded());
        }
    }
}
