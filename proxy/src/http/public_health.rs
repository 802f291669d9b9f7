//! The health of the proxy for who sees only its public port, such as a load balancer in front of it: a request for one path of
//! plain HTTP flows in, whatever its host, and whether new clients are welcome flows out. Pure; `decision` asks.

use super::answer::Answer;
use super::request::RequestTarget;
use http::request::Parts;
use http::{Method, StatusCode};
use nearside_routing::Scheme;

/// The answer, where this is such a request. Over TLS there is none: the OpenShift router answers on its HTTP port alone.
pub(super) fn answer(
    path: Option<&str>,
    scheme: Scheme,
    header: &Parts,
    target: &RequestTarget<'_>,
    leaving: bool,
) -> Option<Answer> {
    let asked = path.is_some_and(|path| path.as_bytes() == target.path) && scheme == Scheme::Http;
    let read_only = header.method == Method::GET || header.method == Method::HEAD;
    if !asked || !read_only {
        return None;
    }
    Some(match leaving {
        false => Answer::health(StatusCode::OK, "ok\n"),
        true => Answer::health(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    })
}

/// Why a request was answered, for what leaves such requests out.
pub(super) const PROBE: &str = "health";

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::HOST;

    #[test]
    fn only_the_path_itself_on_plain_http_is_a_probe() {
        let ask = |path, scheme, method: &str, target: &'static str, leaving| {
            let request = Request::builder().method(method).uri(target).header(HOST, "any.example.com");
            let parts = request.body(()).unwrap().into_parts().0;
            let target = RequestTarget::parse(&parts, target.as_bytes()).unwrap();
            answer(path, scheme, &parts, &target, leaving).map(|answer| answer.status)
        };
        let path = Some("/healthy");
        for (path, scheme, method, target, leaving, expected) in [
            (path, Scheme::Http, "GET", "/healthy", false, Some(200)),
            (path, Scheme::Http, "HEAD", "/healthy", false, Some(200)),
            (path, Scheme::Http, "GET", "/healthy?now", false, Some(200)),
            (path, Scheme::Http, "GET", "/healthy", true, Some(503)),
            (path, Scheme::Https, "GET", "/healthy", false, None),
            (path, Scheme::Http, "POST", "/healthy", false, None),
            (path, Scheme::Http, "GET", "/healthy/", false, None),
            (path, Scheme::Http, "GET", "/Healthy", false, None),
            (path, Scheme::Http, "GET", "/", false, None),
            (None, Scheme::Http, "GET", "/healthy", false, None),
        ] {
            assert_eq!(ask(path, scheme, method, target, leaving), expected, "{method} {target}");
        }
    }
}
