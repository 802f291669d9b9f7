//! gRPC: which requests are gRPC, and what its clients get instead of an error page. Header fields and answers of our own flow
//! in, answers in the words of gRPC flow out. Pure; `http` calls it.

use super::answer::Answer;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version};

/// Whether it is gRPC, which only HTTP/2 carries. gRPC-Web is plain HTTP and not meant.
pub(crate) fn is_grpc(header: &Parts) -> bool {
    let kind = header.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let rest = kind.strip_prefix(b"application/grpc");
    header.version == Version::HTTP_2
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t')))
}

/// The answer as a client of gRPC reads it: 200 with the status of gRPC in the header, and no body ("Trailers-Only" in the
/// specification of gRPC over HTTP/2). Other fields stay, such as `Retry-After`. What is no error stays as it is.
pub(crate) fn answer(mut answer: Answer) -> Answer {
    if answer.status < 400 {
        return answer;
    }
    let message = format!("nearside: HTTP status {}, {}", answer.status, answer.reason);
    answer.headers.retain(|(name, _)| *name != CONTENT_TYPE);
    answer.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/grpc")));
    answer.headers.push((GRPC_STATUS, HeaderValue::from_static(code(answer.status))));
    // Digits and words of ours: nothing that would have to be percent-encoded.
    answer.headers.extend(HeaderValue::from_str(&message).ok().map(|message| (GRPC_MESSAGE, message)));
    answer.status = 200;
    answer.body = Bytes::new();
    answer
}

/// The status of gRPC that clients are to read from a status of HTTP ("HTTP to gRPC Status Code Mapping" of gRPC).
fn code(status: u16) -> &'static str {
    match status {
        // INTERNAL
        400 => "13",
        // UNAUTHENTICATED
        401 => "16",
        // PERMISSION_DENIED
        403 => "7",
        // UNIMPLEMENTED
        404 => "12",
        // UNAVAILABLE
        429 | 502 | 503 | 504 => "14",
        // UNKNOWN
        _ => "2",
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn only_the_media_types_of_grpc_over_http_2_are_grpc() {
        for (kind, version, expected) in [
            ("application/grpc", Version::HTTP_2, true),
            ("application/grpc+proto", Version::HTTP_2, true),
            ("application/grpc;charset=utf-8", Version::HTTP_2, true),
            ("application/grpc", Version::HTTP_11, false),
            ("application/grpc-web", Version::HTTP_2, false),
            ("application/grpc-web+proto", Version::HTTP_2, false),
            ("application/json", Version::HTTP_2, false),
        ] {
            let request = Request::post("/").version(version).header(CONTENT_TYPE, kind).body(()).unwrap();
            assert_eq!(is_grpc(&request.into_parts().0), expected, "{kind} {version:?}");
        }
    }

    #[test]
    fn errors_have_the_status_of_the_mapping_and_redirects_stay() {
        for (status, expected) in
            [(400, "13"), (401, "16"), (403, "7"), (404, "12"), (413, "2"), (429, "14"), (500, "2")]
                .into_iter()
                .chain([(502, "14"), (503, "14"), (504, "14")])
        {
            let said = answer(Answer::failure(status, "why"));
            let field = |name: &str| {
                let values = said.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
                values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
            };
            assert_eq!((said.status, said.body.len()), (200, 0));
            assert_eq!((field("grpc-status"), field("content-type")), (vec![expected], vec!["application/grpc"]));
            assert_eq!(field("retry-after").len(), usize::from(status == 503));
            assert!(field("grpc-message")[0].contains("why"));
        }
        let preflight = Answer::preflight(Vec::new());
        assert_eq!(answer(preflight.clone()), preflight);
    }
}
