//! Flags for the pages of answers that no pod made: words flow in, pages flow out.

use super::{Mistakes, given};
use crate::error_pages::ErrorPages;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct ErrorPageArguments {
    /// The page of answers of the proxy's own with this status: HTML, or a whole response as in HAProxy's `errorfile`. Read
    /// again when it changes. With a page for 404, requests that no route matches get 404. May be repeated.
    #[arg(long, env = "NEARSIDE_ERROR_PAGE", value_name = "STATUS=FILE", value_delimiter = ',')]
    error_page: Vec<String>,
}

impl ErrorPageArguments {
    /// Checks everything.
    pub(super) fn check(&self, mistakes: &mut Mistakes) -> ErrorPages {
        let mut files = BTreeMap::new();
        for text in given(&self.error_page) {
            let parts = text.split_once('=').map(|(status, file)| (status.trim().parse::<u16>(), file.trim()));
            match parts {
                Some((Ok(status @ 400..=599), file)) if !file.is_empty() => {
                    files.insert(status, PathBuf::from(file));
                }
                _ => mistakes.add("error-page", format!("{text:?} is not a status from 400 to 599, = and a file")),
            }
        }
        ErrorPages::read(files).unwrap_or_else(|errors| {
            errors.iter().for_each(|error| mistakes.add("error-page", error.to_string()));
            ErrorPages::default()
        })
    }
}
