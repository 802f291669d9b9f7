//! `nearside-dns-sync status`: the page `/publication` of a running publisher flows in, a table or JSON flows out, and whether
//! all of it is visible. Called by `main`; `page` fetches, `table` shows.

mod page;
mod table;

pub use page::{Access, NoPlace, PageError, Place};
pub use table::table;

use crate::overview::{Overview, Stage};

/// The same for names with this text in them alone; all names where there is none.
pub fn only(mut overview: Overview, host: Option<&str>) -> Overview {
    if let Some(host) = host {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        overview.names.retain(|name| name.name == host);
    }
    overview
}

/// Whether everything that should be there is seen on every name server. Names that were asked for and are not there do not count
/// as such.
pub fn is_visible(overview: &Overview, host: Option<&str>) -> bool {
    let names = &overview.names;
    overview.synced && (host.is_none() || !names.is_empty()) && names.iter().all(|name| name.stage >= Stage::Visible)
}
