//! The status page of the admin port, for people: the latest snapshot, what should stand in the API and the state of the
//! process flow in, HTML flows out. Rendered here, whole; a small script replaces what has changed. Followers show it as well.

mod filter;
mod layout;
mod query;
mod view;

use crate::desired::Desired;
use crate::reconcile::Term;
use filter::Filter;
use layout::Process;
use nearside_admin::{AdminServer, Page};
use nearside_watch::Snapshots;
use std::sync::Arc;
use tokio::sync::watch;

/// What the page reads.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// What the source holds.
    pub(crate) snapshots: Snapshots,
    /// What should stand in the API.
    pub(crate) desired: watch::Receiver<Option<Arc<Desired>>>,
    /// Whether this process writes.
    pub(crate) term: watch::Receiver<Term>,
    /// The name of this router.
    pub(crate) router: String,
}

/// Adds the page and what it loads.
pub(crate) fn pages(admin: AdminServer, shown: Shown) -> AdminServer {
    let file = |content_type, body: &'static str| move || Page { content_type, ..Page::html(body) };
    admin
        .asked_page("/", move |query| Page::html(shown.page(query)))
        .page("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .page("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .page("/page.svg", file("image/svg+xml", include_str!("page/page.svg")))
}

impl Shown {
    fn page(&self, query: &str) -> String {
        let filter = Filter::parse(query);
        let desired = self.desired.borrow().clone();
        let view = match (self.snapshots.latest(), desired) {
            (Some(snapshot), Some(desired)) => Some(view::view(&snapshot, &desired, &filter)),
            _ => None,
        };
        let process = Process {
            leads: self.term.borrow().is_some(),
            sources: self.snapshots.state().kinds(),
            router: self.router.clone(),
        };
        match filter.live_part {
            true => layout::live(view.as_ref(), &process, &filter).finish(),
            false => layout::page(view.as_ref(), &process, &filter),
        }
    }
}
