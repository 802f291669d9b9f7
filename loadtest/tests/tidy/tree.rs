//! The files of the repository: what git tracks, or in a copy without history everything that is not built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Paths of all files relative to the root, with `/` between folders.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let tracked = listed.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let tracked: Vec<String> = String::from_utf8(tracked).unwrap().lines().map(ToOwned::to_owned).collect();
    // A file that is deleted but not yet committed is still listed.
    let mut files: Vec<String> = tracked.into_iter().filter(|path| root().join(path).is_file()).collect();
    if files.is_empty() {
        walk(&root(), "", &mut files);
    }
    assert!(files.len() > 50, "the tree was not found");
    files
}

/// The text of a file; `None` for what is not text.
pub(crate) fn text(path: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).unwrap()).ok()
}

/// The Rust sources with their text.
pub(crate) fn sources() -> Vec<(String, String)> {
    let sources = files().into_iter().filter(|path| path.ends_with(".rs"));
    sources.map(|path| (path.clone(), text(&path).unwrap())).collect()
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_file() {
            files.push(path);
        } else if !["target", ".git", ".tools"].contains(&name.as_str()) {
            walk(&entry.path(), &format!("{path}/"), files);
        }
    }
}
