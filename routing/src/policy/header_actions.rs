//! Header fields that are set or deleted on the way to the pod and to the client: `spec.httpHeaders.actions` of a Route and
//! two annotations flow in, lists of [`HeaderAction`]s flow out. Each item stands for itself: a bad one is a problem, the
//! others are done. The proxy reads its own lists, which come from flags, through [`HeaderAction`] too.

use crate::annotation::Annotations;
use crate::header_value::{Side, ValueError, ValueTemplate};
use crate::object::{RouteHeaderAction, RouteHttpHeaders};
use crate::table::Termination;
use crate::verdict::{Problem, Reason, shown};
use http::HeaderName;
use http::uri::Authority;
use std::collections::BTreeSet;

/// What is done with the header fields of an object's requests and responses, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderActions {
    /// On the way to the pod.
    pub request: Vec<HeaderAction>,
    /// On the way to the client.
    pub response: Vec<HeaderAction>,
}

/// What is done with all fields of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderAction {
    /// They are replaced by one field.
    Set(HeaderName, ValueTemplate),
    /// They are removed.
    Delete(HeaderName),
}

/// Why an action is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says it")]
pub enum HeaderActionError {
    #[error("{0:?} is not the name of a header field of at most {NAME_BYTES} characters")]
    Name(String),
    #[error("{0} cannot be set or deleted here; nearside.dev/hsts and the cookie annotations are for that")]
    Forbidden(HeaderName),
    #[error("{0} tells where messages end or what a connection does, and is left to the proxy")]
    Framing(HeaderName),
    #[error("a request needs Host; it can be set to a host with or without port, and not deleted")]
    Host,
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl HeaderAction {
    /// Sets a field.
    ///
    /// # Errors
    /// [`HeaderActionError`] for a name that is none or may not be changed, and for a value that is not understood.
    pub fn set(name: &str, value: &str, side: Side) -> Result<Self, HeaderActionError> {
        let name = field_name(name)?;
        let value = ValueTemplate::parse(value, side)?;
        let is_host = side == Side::Request && name == http::header::HOST;
        if is_host && value.literal().is_some_and(|host| !is_host_and_port(host)) {
            return Err(HeaderActionError::Host);
        }
        Ok(Self::Set(name, value))
    }

    /// Deletes a field.
    ///
    /// # Errors
    /// [`HeaderActionError`] for a name that is none or may not be changed.
    pub fn delete(name: &str, side: Side) -> Result<Self, HeaderActionError> {
        let name = field_name(name)?;
        if side == Side::Request && name == http::header::HOST {
            return Err(HeaderActionError::Host);
        }
        Ok(Self::Delete(name))
    }
}

/// Whether text may stand in `Host`.
pub fn is_host_and_port(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    plain && text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

fn field_name(text: &str) -> Result<HeaderName, HeaderActionError> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|_| text.len() <= NAME_BYTES);
    let name = name.ok_or_else(|| HeaderActionError::Name(shown(text)))?;
    match name.as_str() {
        known if FORBIDDEN.contains(&known) => Err(HeaderActionError::Forbidden(name)),
        known if FRAMING.contains(&known) => Err(HeaderActionError::Framing(name)),
        _ => Ok(name),
    }
}

impl HeaderActions {
    /// Reads the annotations.
    pub(crate) fn read(annotations: &mut Annotations<'_>) -> Self {
        let actions = Self {
            request: lines(annotations, "nearside.dev/request-headers", Side::Request),
            response: lines(annotations, "nearside.dev/response-headers", Side::Response),
        };
        if annotations.text(CUSTOM_HEADERS).is_some() {
            let message = "names a ConfigMap, which is not read; write its fields into nearside.dev/response-headers";
            annotations.problem(CUSTOM_HEADERS, message);
        }
        actions
    }

    /// Puts what a Route states in its own field before what its annotations say.
    pub(crate) fn and_of_route(&mut self, headers: &RouteHttpHeaders, termination: &Termination) -> Vec<Problem> {
        let mut problems = Vec::new();
        let lists = [
            ("request", Side::Request, &headers.actions.request, &mut self.request),
            ("response", Side::Response, &headers.actions.response, &mut self.response),
        ];
        for (list, side, written, actions) in lists {
            let field = format!("spec.httpHeaders.actions.{list}");
            if !written.is_empty() && *termination == Termination::Passthrough {
                problems.push(problem(field, "headers cannot be changed with passthrough: the proxy holds no key"));
                continue;
            }
            if written.len() > MAX_ACTIONS {
                problems.push(problem(field.clone(), format!("only the first {MAX_ACTIONS} are done")));
            }
            let mut names = BTreeSet::new();
            let mut of_spec = Vec::new();
            for (place, item) in written.iter().take(MAX_ACTIONS).enumerate() {
                let action = of_route(item, side);
                let action = action.and_then(|action| match names.insert(&item.name) {
                    true => Ok(action),
                    false => Err("is named twice; the first holds".to_owned()),
                });
                match action {
                    Ok(action) => of_spec.push(action),
                    Err(message) => {
                        let message = format!("{:?}: {message}", shown(&item.name));
                        problems.push(problem(format!("{field}[{place}]"), message));
                    }
                }
            }
            of_spec.append(actions);
            *actions = of_spec;
        }
        problems
    }
}

fn of_route(item: &RouteHeaderAction, side: Side) -> Result<HeaderAction, String> {
    let action = match (item.action.kind.as_str(), &item.action.set) {
        ("Set", Some(set)) => HeaderAction::set(&item.name, &set.value, side),
        ("Set", None) => return Err("Set needs set.value".into()),
        ("Delete", _) => HeaderAction::delete(&item.name, side),
        (other, _) => return Err(format!("{:?} is not one of Set, Delete", shown(other))),
    };
    action.map_err(|error| error.to_string())
}

/// One action a line: `Name: value` sets, `-Name` deletes.
fn lines(annotations: &mut Annotations<'_>, name: &'static str, side: Side) -> Vec<HeaderAction> {
    let mut actions = Vec::new();
    let text = annotations.text(name).unwrap_or_default();
    let written: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if written.len() > MAX_ACTIONS {
        annotations.problem(name, format!("only the first {MAX_ACTIONS} lines are done"));
    }
    for line in written.into_iter().take(MAX_ACTIONS) {
        let action = match (line.strip_prefix('-'), line.split_once(':')) {
            (Some(field), _) => HeaderAction::delete(field, side).map_err(|error| error.to_string()),
            (None, Some((field, value))) => {
                HeaderAction::set(field, value.trim(), side).map_err(|error| error.to_string())
            }
            (None, None) => Err("a line is `Name: value` or `-Name`".to_owned()),
        };
        match action {
            Ok(action) => actions.push(action),
            Err(message) => annotations.problem(name, format!("{:?}: {message}", shown(line))),
        }
    }
    actions
}

fn problem(field: String, message: impl Into<String>) -> Problem {
    Problem::new(field, Reason::InvalidHeaderAction, message)
}

const CUSTOM_HEADERS: &str = "nginx.ingress.kubernetes.io/custom-headers";
/// The API's own limits.
const MAX_ACTIONS: usize = 20;
const NAME_BYTES: usize = 255;
/// Names that the Route API refuses.
const FORBIDDEN: [&str; 4] = ["strict-transport-security", "proxy", "cookie", "set-cookie"];
/// With these a Route could make the proxy and its neighbours read a connection in two ways.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectMeta;
    use serde_json::json;

    fn of_spec(request: serde_json::Value, termination: &Termination) -> (Vec<String>, Vec<String>) {
        let headers = serde_json::from_value(json!({ "actions": { "request": request } })).unwrap();
        let mut actions = HeaderActions::default();
        let problems = actions.and_of_route(&headers, termination);
        (shown_actions(&actions.request), problems.iter().map(ToString::to_string).collect())
    }

    fn shown_actions(actions: &[HeaderAction]) -> Vec<String> {
        let shown = |action: &HeaderAction| match action {
            HeaderAction::Set(name, value) => format!("{name}={value}"),
            HeaderAction::Delete(name) => format!("-{name}"),
        };
        actions.iter().map(shown).collect()
    }

    fn set(name: &str, value: &str) -> serde_json::Value {
        json!({ "name": name, "action": { "type": "Set", "set": { "value": value } } })
    }

    #[test]
    fn a_bad_item_is_told_and_the_others_are_done() {
        let delete = json!({ "name": "X-Old", "action": { "type": "Delete" } });
        let items = json!([
            set("X-Host", "%[req.hdr(host),lower]"),
            set("X-Bad", "%[src]"),
            set("Set-Cookie", "a=b"),
            set("Content-Length", "5"),
            set("X-Host", "again"),
            set("Host", "user@a"),
            { "name": "X-A", "action": { "type": "Append" } },
            { "name": "a b", "action": { "type": "Delete" } },
            { "name": "host", "action": { "type": "Delete" } },
            delete,
        ]);
        let (actions, problems) = of_spec(items, &Termination::Edge);
        assert_eq!(actions, ["x-host=%[req.hdr(host),lower]", "-x-old"]);
        let places: Vec<&str> = problems.iter().filter_map(|problem| problem.split(['[', ']']).nth(1)).collect();
        assert_eq!(places, ["1", "2", "3", "4", "5", "6", "7", "8"], "{problems:#?}");
        assert!(problems[0].contains("\"X-Bad\": at byte 0 of the value"), "{problems:?}");
    }

    #[test]
    fn passthrough_and_long_lists_are_told() {
        let (actions, problems) = of_spec(json!([set("X-A", "b")]), &Termination::Passthrough);
        assert!(actions.is_empty() && problems[0].contains("passthrough"), "{problems:?}");
        let many: Vec<_> = (0..25).map(|number| set(&format!("X-{number}"), "b")).collect();
        let (actions, problems) = of_spec(json!(many), &Termination::None);
        assert_eq!((actions.len(), problems.len()), (20, 1));
    }

    #[test]
    fn annotations_write_one_action_a_line() {
        let text = "X-Frame-Options: DENY\n-X-Powered-By\n\nnonsense\nProxy: x\n";
        let named = "nginx.ingress.kubernetes.io/custom-headers";
        let annotations = [("nearside.dev/response-headers", text), (named, "shop/headers")];
        let metadata = ObjectMeta {
            annotations: annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..ObjectMeta::default()
        };
        let mut annotations = Annotations::new(&metadata);
        let actions = HeaderActions::read(&mut annotations);
        assert_eq!(shown_actions(&actions.response), ["x-frame-options=DENY", "-x-powered-by"]);
        assert_eq!(annotations.into_problems().len(), 3);
    }
}
