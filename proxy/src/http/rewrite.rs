//! The path that the pod sees: the rule, its policy and the client's path flow in, the target of the pod's request flows out.
//! Works on the normal form of the path, which is what the rule matched; the query stays as the client wrote it. Pure.

use http::HeaderValue;
use nearside_routing::NormalPath;
use nearside_routing::path::{PathRule, SplitPath};
use nearside_routing::policy::{PathTemplate, RewriteTarget};

/// The target for the pod; `None` for `OPTIONS *`, which speaks of no path.
pub(super) fn target(
    rewrite: &RewriteTarget,
    rule: &PathRule,
    path: &NormalPath<'_>,
    query: Option<&[u8]>,
) -> Option<Vec<u8>> {
    if !path.as_str().starts_with('/') {
        return None;
    }
    let rewritten = match rewrite {
        RewriteTarget::Leading(text) => leading(text, rule.split(path).rest()),
        RewriteTarget::Whole(template) => fill(template, &rule.split(path)),
    };
    let mut target = if rewritten.starts_with('/') { Vec::new() } else { b"/".to_vec() };
    // A target with a query of its own puts it first, and one that ends with a question mark drops the client's (nginx).
    let (path, own_query) = match rewritten.split_once('?') {
        Some((path, own_query)) => (path, Some(own_query)),
        None => (&*rewritten, None),
    };
    target.extend_from_slice(path.as_bytes());
    let queries = match (own_query, query) {
        (Some(""), _) => vec![],
        (own_query, query) => [own_query.map(str::as_bytes), query].into_iter().flatten().collect(),
    };
    for (place, query) in queries.into_iter().enumerate() {
        target.push(if place == 0 { b'?' } else { b'&' });
        target.extend_from_slice(query);
    }
    Some(target)
}

/// `X-Forwarded-Prefix`; `None` where it would be no value.
pub(super) fn forwarded_prefix(prefix: &PathTemplate, rule: &PathRule, path: &NormalPath<'_>) -> Option<HeaderValue> {
    HeaderValue::from_str(&fill(prefix, &rule.split(path))).ok()
}

/// `/` takes one slash of the rest with it, so that `/foo` and `/foo/` both become `/`; any other text is put in front.
fn leading(text: &str, rest: &str) -> String {
    match text {
        "/" => format!("/{}", rest.strip_prefix('/').unwrap_or(rest)),
        _ => format!("{text}{rest}"),
    }
}

fn fill(template: &PathTemplate, path: &SplitPath<'_>) -> String {
    template.fill(|number| path.group(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(rewrite: &RewriteTarget, rule: &PathRule, path: &str, query: Option<&str>) -> String {
        let path = NormalPath::parse(path).unwrap();
        String::from_utf8(target(rewrite, rule, &path, query.map(str::as_bytes)).unwrap_or_default()).unwrap()
    }

    /// The OpenShift router's own examples.
    #[test]
    fn the_leading_part_is_replaced_as_text() {
        for (rule, text, path, expected) in [
            ("/foo", "/", "/foo", "/"),
            ("/foo", "/", "/foo/", "/"),
            ("/foo", "/", "/foo/bar", "/bar"),
            ("/foo", "/", "/foo/bar/", "/bar/"),
            ("/foo", "/", "/foo//bar", "//bar"),
            ("/foo", "/bar", "/foo", "/bar"),
            ("/foo", "/bar", "/foo/", "/bar/"),
            ("/foo", "/baz", "/foo/bar", "/baz/bar"),
            ("/foo", "/bar/", "/foo/x", "/bar//x"),
            ("/foo/", "/", "/foo/bar", "/bar"),
            ("/foo/", "/baz", "/foo/bar", "/bazbar"),
            ("/a.b", "/x", "/a.b/c", "/x/c"),
            ("", "/", "/foo", "/foo"),
            ("", "/baz", "/foo", "/baz/foo"),
            ("/foo", "/baz", "/x/../%66oo/%2e%2E/foo/%41%2f", "/baz/A%2F"),
        ] {
            let rewrite = RewriteTarget::Leading(text.into());
            assert_eq!(
                rewritten(&rewrite, &PathRule::route(rule).unwrap(), path, None),
                expected,
                "{rule} {text} {path}"
            );
        }
    }

    #[test]
    fn the_whole_path_is_replaced_with_groups_and_the_query_stays() {
        let rule = PathRule::ingress_regex("/something(/|$)(.*)").unwrap();
        for (text, path, query, expected) in [
            ("/$2", "/something", None, "/"),
            ("/$2", "/something/new", Some("a=b"), "/new?a=b"),
            ("$2", "/something/new", Some(""), "/new?"),
            ("/x", "/something/new", Some("a=b?"), "/x?a=b?"),
            ("/x?part=$2", "/something/new", Some("a=b"), "/x?part=new&a=b"),
            ("/x?", "/something/new", Some("a=b"), "/x"),
            ("/$9$1", "/something/new", None, "//"),
        ] {
            let rewrite = RewriteTarget::Whole(PathTemplate::parse(text).unwrap());
            assert_eq!(rewritten(&rewrite, &rule, path, query), expected, "{text} {path}");
        }
        let rewrite = RewriteTarget::Leading("/v1".into());
        assert_eq!(rewritten(&rewrite, &PathRule::ingress_regex("/a+").unwrap(), "/aaa/b", None), "/v1/b");
    }

    #[test]
    fn a_request_of_no_path_keeps_its_target() {
        let path = NormalPath::parse("*").unwrap();
        assert_eq!(target(&RewriteTarget::Leading("/".into()), &PathRule::Any, &path, None), None);
    }

    proptest! {
        /// The router's own rule: `^PATH/?(.*)$` becomes `/\\1` for `/`, else `^PATH(.*)$` becomes `TARGET\\1`.
        #[test]
        fn a_leading_part_is_replaced_as_the_openshift_router_does(
            rule in "(/[a-z.]{1,3}){1,2}/?", rest in "(/|/[a-z/]{0,6})?", text in "/|(/[a-z]{1,3}){1,2}/?",
        ) {
            prop_assume!(NormalPath::parse(&rule).unwrap().as_str() == rule);
            let path = format!("{rule}{rest}");
            let stripped = if text == "/" { rest.strip_prefix('/').unwrap_or(&rest) } else { &rest };
            let rewrite = RewriteTarget::Leading(text.as_str().into());
            let rewritten = rewritten(&rewrite, &PathRule::route(&rule).unwrap(), &path, None);
            prop_assert_eq!(rewritten, format!("{}{}", text, stripped));
        }

        #[test]
        fn a_rewritten_target_is_a_path(path in "/[a-z%2F/.]{0,20}", text in "/[a-z$12/]{0,8}", rule in "/[a-z/]{0,4}") {
            let (Ok(path), Ok(template)) = (NormalPath::parse(&path), PathTemplate::parse(&text)) else { return Ok(()) };
            for rewrite in [RewriteTarget::Leading("/x".into()), RewriteTarget::Whole(template)] {
                let target = target(&rewrite, &PathRule::route(&rule).unwrap(), &path, None).unwrap();
                prop_assert!(target.starts_with(b"/"));
            }
        }
    }
}
