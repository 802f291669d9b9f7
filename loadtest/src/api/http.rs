//! One HTTP request: it goes in, is counted, meets the faults that are switched on, and is answered by discovery or by
//! the registry. `listener` calls it for every request.

use super::StreamingLists;
use super::access::{Access, Asked, User};
use super::discovery;
use super::error::ApiError;
use super::faults::{Fault, Faults, made_up};
use super::kinds::ResourceKind;
use super::listener::{Answered, Answering};
use super::object::{Key, meta_text};
use super::registry::{DeleteOptions, Deleted, Page, Patch, Registry};
use super::representation::Form;
use super::request::{ObjectPath, Query, Target};
use super::response::{self, AnswerBody};
use super::review;
use super::watch::{self, Watch};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) registry: Arc<Registry>,
    pub(crate) faults: Faults,
    pub(crate) access: Arc<Access>,
    pub(crate) bookmark_interval: Duration,
    pub(crate) streaming_lists: StreamingLists,
}

impl Answering for Service {
    fn answer(&self, request: Request<Incoming>) -> Answered<'_> {
        Box::pin(self.decide(request))
    }
}

impl Service {
    async fn decide(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        self.faults.thawed().await;
        let user = match self.access.authenticate(&self.registry, header(request.headers(), &AUTHORIZATION)) {
            Ok(user) => user,
            Err(error) => return response::error(&error),
        };
        let path = request.uri().path().to_owned();
        match Target::parse(&path) {
            Target::Objects(target) if review::is_review(&target) => self.review(&user, target, request).await,
            Target::Objects(target) => self.objects(&user, target, request).await,
            target if request.method() == Method::GET => {
                let asked = Asked::Path { verb: "get".to_owned(), path };
                match self.access.authorize(&self.registry, &user, &asked) {
                    Ok(()) => self.document(&target),
                    Err(error) => response::error(&error),
                }
            }
            _ => response::text(405, "405 method not allowed\n"),
        }
    }

    fn document(&self, target: &Target) -> Response<AnswerBody> {
        let kinds = &self.registry.kinds;
        let document = match target {
            Target::Versions { is_core: true } => Some(discovery::core_versions()),
            Target::Versions { is_core: false } => Some(discovery::groups(kinds)),
            Target::Group(group) => discovery::group(kinds, group),
            Target::Resources { group, version } => discovery::resources(kinds, group, version),
            Target::Other(path) => match path.as_str() {
                "version" => Some(discovery::version()),
                "healthz" | "readyz" | "livez" => return response::text(200, "ok"),
                "openapi/v2" => return response::empty_protobuf(),
                "openapi/v3" => Some(discovery::openapi_paths(kinds)),
                path => path.strip_prefix("openapi/v3/").and_then(|root| discovery::openapi(kinds, root)),
            },
            Target::Objects(_) => None,
        };
        document.map_or_else(|| response::text(404, "404 page not found\n"), |document| response::json(200, &document))
    }

    async fn review(&self, user: &User, path: ObjectPath, request: Request<Incoming>) -> Response<AnswerBody> {
        if request.method() != Method::POST || path.name.is_some() {
            return response::error(&ApiError::new(405, "MethodNotAllowed", "reviews are created and never kept"));
        }
        for fault in self.faults.meet(&["create"], &path.plural) {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::Answer { status, retry_after } => return response::error(&made_up(status, retry_after)),
                Fault::EmptyList | Fault::ShortList(_) | Fault::TruncatedBody => {}
            }
        }
        if let Err(error) = self.access.authorize(&self.registry, user, &Asked::objects("create", &path, "")) {
            return response::error(&error);
        }
        let media_type = header(request.headers(), &CONTENT_TYPE).to_owned();
        let answered = match json_body(request, &media_type).await {
            Ok(asked) => review::review(&self.access, &self.registry, user, &path, asked),
            Err(error) => Err(error),
        };
        answered.map_or_else(|error| response::error(&error), |review| response::json(201, &review))
    }

    async fn objects(&self, user: &User, path: ObjectPath, request: Request<Incoming>) -> Response<AnswerBody> {
        let mut query = Query::parse(request.uri().query().unwrap_or_default());
        let Some(verb) = verb(request.method(), &path, &query) else {
            let message = "the server does not allow this method on the requested resource";
            return response::error(&ApiError::new(405, "MethodNotAllowed", message));
        };
        let asked = Asked::objects(verb, &path, query.text("fieldSelector"));
        let Some(kind) = self.registry.kinds.by_resource(&path.group, &path.version, &path.plural) else {
            // Who may not ask is not told either that there is no such kind.
            if let Err(error) = self.access.authorize(&self.registry, user, &asked) {
                return response::error(&error);
            }
            if path.group.is_empty() && path.version == "v1" {
                let mut error = ApiError::new(404, "NotFound", "the server could not find the requested resource");
                error.details = json!({});
                return response::error(&error);
            }
            return response::text(404, "404 page not found\n");
        };
        if verb == "watch" && query.flag("sendInitialEvents") {
            match self.streaming_lists {
                StreamingLists::Offered => {}
                StreamingLists::Refused => return response::error(&watch::streaming_is_forbidden(&kind)),
                StreamingLists::Ignored => query.without(&["sendInitialEvents", "resourceVersionMatch"]),
            }
        }
        // A list that is streamed is both, and meets the faults of both.
        let verbs: &[&str] =
            if query.flag("sendInitialEvents") && verb == "watch" { &["list", "watch"] } else { &[verb] };
        let faults = self.faults.meet(verbs, &kind.plural);
        for fault in &faults {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(*time).await,
                Fault::Answer { status, retry_after } => return response::error(&made_up(*status, *retry_after)),
                Fault::EmptyList | Fault::ShortList(_) | Fault::TruncatedBody => {}
            }
        }
        if let Err(error) = self.access.authorize(&self.registry, user, &asked) {
            return response::error(&error);
        }
        let answer = match self.act(verb, &kind, &path, &query, &faults, request).await {
            Ok(answer) => answer,
            Err(error) => response::error(&error),
        };
        if faults.contains(&Fault::TruncatedBody) { response::truncated(answer) } else { answer }
    }

    async fn act(
        &self,
        verb: &str,
        kind: &Arc<ResourceKind>,
        path: &ObjectPath,
        query: &Query,
        faults: &[Fault],
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, ApiError> {
        let headers = request.headers().clone();
        let form = Form::accepted(header(&headers, &ACCEPT)).ok_or_else(|| {
            ApiError::new(406, "NotAcceptable", "only the following media types are accepted: application/json")
        })?;
        check_scope(kind, path, verb)?;
        if kind.plural == "serviceaccounts" && path.subresource.as_deref() == Some("token") {
            let key = Key::new(path.namespace.clone().unwrap_or_default(), path.name.clone().unwrap_or_default());
            let wanted = json_body(request, "").await?;
            return Ok(response::json(201, &self.access.issue(&self.registry, kind, &key, wanted)?));
        }
        let part = path
            .part(kind)
            .ok_or_else(|| ApiError::new(404, "NotFound", "the server could not find the requested resource"))?;
        let key = Key::new(path.namespace.clone().unwrap_or_default(), path.name.clone().unwrap_or_default());
        let media_type = header(&headers, &CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let caller = query.caller(header(&headers, &USER_AGENT), media_type == APPLY_PATCH && verb == "patch")?;
        let registry = &self.registry;
        let object = |status: u16, object: Value| Ok(response::json(status, &form.object(kind, object)));
        match verb {
            "watch" => {
                let query = query.watch(kind, path, form)?;
                let watch = Watch::begin(registry, &self.faults, kind, query, self.bookmark_interval)?.with(faults);
                let (lines, receiver) = mpsc::channel(LINES_IN_FLIGHT);
                tokio::spawn(watch.run(Arc::clone(registry), lines));
                Ok(response::stream(receiver))
            }
            "list" => {
                let page = registry.list(kind, &query.list(kind, path)?)?;
                Ok(response::json(200, &form.list(kind, shortened(page, faults))))
            }
            "get" => object(200, registry.get(kind, &key)?),
            "create" => {
                let body = json_body(request, &media_type).await?;
                object(201, registry.create(kind, &key.namespace, body, &caller)?)
            }
            "update" => {
                let body = json_body(request, &media_type).await?;
                object(200, registry.update(kind, &key, part, body, &caller)?)
            }
            "patch" => {
                let patch = patch_body(request, &media_type, kind, query).await?;
                let (patched, is_new) = registry.patch(kind, &key, part, patch, &caller)?;
                object(if is_new { 201 } else { 200 }, patched)
            }
            "delete" => {
                let options = delete_options(request, query).await?;
                match registry.delete(kind, &key, &options, &caller)? {
                    Deleted::Waiting(marked) => object(200, marked),
                    Deleted::Gone(gone) if kind.plural == "pods" => object(200, gone),
                    Deleted::Gone(gone) => Ok(response::json(200, &deleted(kind, &gone))),
                }
            }
            _ => {
                let options = delete_options(request, query).await?;
                let items = registry.delete_collection(kind, &query.list(kind, path)?, &options, &caller)?;
                let revision = registry.store.lock().revision();
                let page = Page { items, revision, continue_token: String::new(), remaining: None };
                Ok(response::json(200, &form.list(kind, page)))
            }
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The API's verb for a request; `None` where the method has no meaning.
pub(crate) fn verb(method: &Method, path: &ObjectPath, query: &Query) -> Option<&'static str> {
    let is_collection = path.name.is_none();
    match *method {
        Method::GET if query.flag("watch") => Some("watch"),
        Method::GET => Some(if is_collection { "list" } else { "get" }),
        Method::POST if is_collection || path.subresource.as_deref() == Some("token") => Some("create"),
        Method::PUT if !is_collection => Some("update"),
        Method::PATCH if !is_collection => Some("patch"),
        Method::DELETE if path.subresource.is_none() => Some(if is_collection { "deletecollection" } else { "delete" }),
        _ => None,
    }
}

/// Cluster-scoped kinds have no namespace in their path; objects of the others must have one.
fn check_scope(kind: &ResourceKind, path: &ObjectPath, verb: &str) -> Result<(), ApiError> {
    let missing = kind.namespaced && path.namespace.is_none() && !matches!(verb, "list" | "watch" | "deletecollection");
    if missing || (!kind.namespaced && path.namespace.is_some()) {
        return Err(ApiError::new(404, "NotFound", "the server could not find the requested resource"));
    }
    Ok(())
}

fn shortened(mut page: Page, faults: &[Fault]) -> Page {
    for fault in faults {
        let length = match fault {
            Fault::EmptyList => 0,
            Fault::ShortList(length) => *length,
            _ => continue,
        };
        page.items.truncate(length);
        page.continue_token.clear();
        page.remaining = None;
    }
    page
}

fn deleted(kind: &ResourceKind, gone: &Value) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": meta_text(gone, "name"), "group": kind.group, "kind": kind.plural, "uid": meta_text(gone, "uid")},
    })
}

async fn body(request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
    match Limited::new(request.into_body(), BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {BODY_LIMIT}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the request body could not be read: {error}"))),
    }
}

async fn json_body(request: Request<Incoming>, media_type: &str) -> Result<Value, ApiError> {
    if !matches!(media_type, "" | "application/json" | "application/yaml") {
        return Err(unsupported(&["application/json", "application/yaml"]));
    }
    let bytes = body(request).await?;
    decode(&bytes, media_type == "application/yaml")
}

fn decode(bytes: &[u8], is_yaml: bool) -> Result<Value, ApiError> {
    let unreadable = |why: String| ApiError::bad_request(format!("couldn't get version/kind; json parse error: {why}"));
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(why) if !is_yaml => Err(unreadable(why.to_string())),
        Err(_) => {
            let text = std::str::from_utf8(bytes).map_err(|why| unreadable(why.to_string()))?;
            serde_saphyr::from_str(text).map_err(|why| unreadable(why.to_string()))
        }
    }
}

async fn patch_body(
    request: Request<Incoming>,
    media_type: &str,
    kind: &ResourceKind,
    query: &Query,
) -> Result<Patch, ApiError> {
    let known = match media_type {
        JSON_PATCH | MERGE_PATCH | APPLY_PATCH => true,
        STRATEGIC_PATCH => kind.typed,
        _ => false,
    };
    if !known {
        let all = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH, STRATEGIC_PATCH];
        return Err(unsupported(if kind.typed { &all } else { &all[..3] }));
    }
    let force = query.flag("force");
    if force && media_type != APPLY_PATCH {
        return Err(ApiError::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ));
    }
    let bytes = body(request).await?;
    let value = decode(&bytes, media_type == APPLY_PATCH)?;
    if media_type != JSON_PATCH && !value.is_object() {
        return Err(ApiError::bad_request("a patch must be an object"));
    }
    Ok(match media_type {
        JSON_PATCH => Patch::Json(value),
        MERGE_PATCH => Patch::Merge(value),
        STRATEGIC_PATCH => Patch::Strategic(value),
        _ => Patch::Apply { config: value, force },
    })
}

async fn delete_options(request: Request<Incoming>, query: &Query) -> Result<DeleteOptions, ApiError> {
    let bytes = body(request).await?;
    let mut options =
        if bytes.is_empty() { DeleteOptions::default() } else { DeleteOptions::parse(&decode(&bytes, false)?) };
    if !query.text("gracePeriodSeconds").is_empty() {
        options.grace_period = Some(query.number("gracePeriodSeconds")?);
    }
    Ok(options)
}

fn unsupported(accepted: &[&str]) -> ApiError {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    ApiError::new(415, "UnsupportedMediaType", message)
}

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Bytes of a request body, as the real server takes.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Lines of one watch that wait for its connection; more wait in its feed.
const LINES_IN_FLIGHT: usize = 16;
