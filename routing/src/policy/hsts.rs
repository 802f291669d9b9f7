//! `Strict-Transport-Security` (RFC 6797): an annotation in the grammar of the OpenShift router flows in, the field's value
//! flows out as it was written.

use crate::annotation::{Annotations, Spelling};
use http::HeaderValue;

/// The value, if the object has one.
pub(crate) fn read(annotations: &mut Annotations<'_>) -> Option<HeaderValue> {
    annotations.first(&[
        Spelling { name: "nearside.dev/hsts", parse },
        Spelling { name: "haproxy.router.openshift.io/hsts_header", parse },
    ])
}

/// `max-age=SECONDS` among any number of `includeSubDomains` and `preload`, with semicolons between them.
fn parse(text: &str) -> Result<HeaderValue, String> {
    let wrong = || "is not max-age=SECONDS with ;includeSubDomains and ;preload as wanted".to_owned();
    if text.len() > MAX_BYTES {
        return Err(wrong());
    }
    let mut ages = 0;
    for directive in text.split(';').map(|directive| directive.trim_matches([' ', '\t'])) {
        if let Some((name, value)) = directive.split_once('=') {
            let value = value.trim_start_matches([' ', '\t']);
            let digits = value.strip_prefix('"').map_or(Some(value), |quoted| quoted.strip_suffix('"'));
            let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if !name.trim_end_matches([' ', '\t']).eq_ignore_ascii_case("max-age") || !digits.is_some_and(is_number) {
                return Err(wrong());
            }
            ages += 1;
        } else if !["includeSubDomains", "preload"].iter().any(|known| directive.eq_ignore_ascii_case(known)) {
            return Err(wrong());
        }
    }
    match HeaderValue::from_str(text) {
        Ok(value) if ages == 1 => Ok(value),
        _ => Err(wrong()),
    }
}

/// Longer ones are no useful ones.
const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_the_openshift_router() {
        for text in [
            "max-age=31536000",
            "max-age=0",
            "max-age=\"600\"",
            "max-age = 600 ; includeSubDomains ; preload",
            "preload;includeSubDomains;max-age=600",
            "MAX-AGE=600;INCLUDESUBDOMAINS",
            "max-age=600;preload;preload",
        ] {
            assert_eq!(parse(text).map(|value| value.to_str().unwrap().to_owned()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "includeSubDomains",
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=\"600",
            "max-age=600\"",
            "max-age=600;",
            "max-age=600;max-age=700",
            "max-age=600;report-uri=x",
            "max-age=600\r\nSet-Cookie: a",
            "max-age=600;\npreload",
            "max-age=600, preload",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
