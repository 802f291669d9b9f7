//! Flags for header fields of every request and response: raw text flows in, a valid [`HeaderConfig`] flows out.

use super::{Mistakes, given};
use crate::http::unique_id::UniqueIdFormat;
use http::HeaderName;
use nearside_routing::header_value::Side;
use nearside_routing::policy::{ForwardedHeaders, HeaderAction};

/// Flags for header fields.
#[derive(Debug, clap::Args)]
pub(crate) struct HeaderArguments {
    /// Set or delete a field of every request to a pod, before what the Route says: `NAME:VALUE:Set` or `NAME:Delete`,
    /// each part URL-encoded. May be repeated.
    #[arg(long, env = "NEARSIDE_REQUEST_HEADER", value_name = "ACTION", value_delimiter = ',')]
    request_header: Vec<String>,
    /// The same for every response of a pod, after what the Route says. May be repeated.
    #[arg(long, env = "NEARSIDE_RESPONSE_HEADER", value_name = "ACTION", value_delimiter = ',')]
    response_header: Vec<String>,
    /// How pods are told who asked (`X-Forwarded-*`, `Forwarded`): `append`, `replace`, `if-none` or `never`.
    #[arg(long, env = "NEARSIDE_FORWARDED_HEADERS", value_name = "POLICY", default_value = "append")]
    forwarded_headers: String,
    /// Give each request to a pod an id in this field.
    #[arg(long, env = "NEARSIDE_UNIQUE_ID_HEADER", value_name = "NAME")]
    unique_id_header: Option<String>,
    /// What the id is made of: text, `%ci %cp %fi %fp %Ts %rt %pid` as in HAProxy, `%{+X}o` for hexadecimal, and `%[uuid()]`.
    #[arg(long, env = "NEARSIDE_UNIQUE_ID_FORMAT", value_name = "FORMAT", default_value = "%[uuid()]")]
    unique_id_format: String,
    /// Write this field's name in this case in HTTP/1 responses, and to pods that ask for it. May be repeated.
    #[arg(long, env = "NEARSIDE_H1_CASE_ADJUST", value_name = "NAME", value_delimiter = ',')]
    h1_case_adjust: Vec<String>,
}

/// What is done with the header fields of every request and response.
#[derive(Clone, Debug)]
pub(crate) struct HeaderConfig {
    /// On the way to the pod.
    pub(crate) request: Vec<HeaderAction>,
    /// On the way to the client.
    pub(crate) response: Vec<HeaderAction>,
    /// Where the object says nothing.
    pub(crate) forwarded: ForwardedHeaders,
    /// The field for the id of a request, and what it is made of.
    pub(crate) unique_id: Option<(HeaderName, UniqueIdFormat)>,
    /// Names that are written in a case of their own.
    pub(crate) cased: Vec<CasedName>,
}

/// A name, and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct CasedName {
    pub(crate) name: HeaderName,
    pub(crate) written: String,
}

impl HeaderArguments {
    /// Checks everything.
    pub(super) fn into_config(self, mistakes: &mut Mistakes) -> HeaderConfig {
        let format = self.unique_id_format.parse().map_err(|message: String| {
            mistakes.add("unique-id-format", message);
        });
        let name = self.unique_id_header.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = name.and_then(|name| field_name("unique-id-header", name, mistakes));
        let cased = |text: &str| {
            let name = field_name("h1-case-adjust", text, mistakes)?;
            Some(CasedName { name, written: text.to_owned() })
        };
        let cased = given(&self.h1_case_adjust).filter_map(cased).collect();
        HeaderConfig {
            request: actions("request-header", &self.request_header, Side::Request, mistakes),
            response: actions("response-header", &self.response_header, Side::Response, mistakes),
            forwarded: mistakes.one_of("forwarded-headers", &self.forwarded_headers, &ForwardedHeaders::WORDS),
            unique_id: name.zip(format.ok()),
            cased,
        }
    }
}

fn field_name(flag: &'static str, text: &str, mistakes: &mut Mistakes) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        mistakes.add(flag, format!("{text:?} is not the name of a header field"));
    }
    name
}

fn actions(flag: &'static str, values: &[String], side: Side, mistakes: &mut Mistakes) -> Vec<HeaderAction> {
    let mut actions = Vec::new();
    for text in given(values) {
        match action(text, side) {
            Ok(action) => actions.push(action),
            Err(message) => mistakes.add(flag, format!("{text:?}: {message}")),
        }
    }
    actions
}

fn action(text: &str, side: Side) -> Result<HeaderAction, String> {
    let wrong = || "is not NAME:VALUE:Set or NAME:Delete, each part URL-encoded".to_owned();
    let parts: Vec<String> = text.split(':').map(url_decoded).collect::<Option<_>>().ok_or_else(wrong)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let action = match parts[..] {
        [name, value, kind] if kind.eq_ignore_ascii_case("set") => HeaderAction::set(name, value, side),
        [name, kind] if kind.eq_ignore_ascii_case("delete") => HeaderAction::delete(name, side),
        _ => return Err(wrong()),
    };
    action.map_err(|error| error.to_string())
}

/// As Go's `url.QueryUnescape`, which the OpenShift router reads its lists with.
fn url_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_openshift_router_writes_them() {
        let set = action("X-Host:%25%5Breq.hdr%28host%29%2Clower%5D+%3A%3A:Set", Side::Request).unwrap();
        assert_eq!(set, HeaderAction::set("x-host", "%[req.hdr(host),lower] ::", Side::Request).unwrap());
        let delete = action("X-Powered-By:Delete", Side::Response).unwrap();
        assert_eq!(delete, HeaderAction::delete("x-powered-by", Side::Response).unwrap());
    }

    #[test]
    fn anything_else_is_a_mistake() {
        for text in ["X-A", "X-A:b", "X-A:b:Add", "X-A:b:c:Set", "X-A:%2:Set", "X-A:%zz:Set", "X-A:%0a:Set", ":b:Set"] {
            assert!(action(text, Side::Request).is_err(), "{text}");
        }
        assert!(action("Set-Cookie:a:Set", Side::Response).is_err());
        assert!(action("X-A:%25%5Breq.hdr%28a%29%5D:Set", Side::Response).is_err(), "of the request, in a response");
    }
}
