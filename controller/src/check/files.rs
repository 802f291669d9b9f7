//! The files of `check`: names as they were typed flow in, their texts flow out, or why one cannot be read. As kubectl does: a
//! directory stands for the YAML and JSON files in it, with `-R` also for those below, and `-` for standard input.

use crate::limits::{CHECKED_BYTES, CHECKED_FILES};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// One text.
#[derive(Debug)]
pub(super) struct Text {
    /// As findings name it.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) json: bool,
}

/// Reads them.
///
/// # Errors
/// The first name that cannot be read, and why.
pub(super) fn read(names: &[String], recursive: bool) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    for name in names {
        if name == "-" {
            let text = text(&mut io::stdin().lock()).map_err(|error| format!("standard input: {error}"))?;
            // JSON is YAML, but for values that follow each other without a mark.
            let json = text.trim_start().starts_with('{') && !text.contains("\n---");
            texts.push(Text { name: "-".into(), text, json });
            continue;
        }
        let mut files = Vec::new();
        let path = Path::new(name);
        let failed = |error: io::Error| format!("{name}: {error}");
        match fs::metadata(path).map_err(failed)?.is_dir() {
            true => directory(path, recursive, 0, &mut files).map_err(failed)?,
            false => files.push(path.to_owned()),
        }
        if files.is_empty() {
            return Err(format!("{name}: holds no file that ends in .yaml, .yml or .json"));
        }
        for path in files {
            let name = path.display().to_string();
            let read = fs::File::open(&path).and_then(|mut file| text(&mut file));
            let text = read.map_err(|error| format!("{name}: {error}"))?;
            let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            texts.push(Text { name, text, json });
        }
    }
    Ok(texts)
}

fn directory(path: &Path, recursive: bool, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_directory = fs::metadata(&path)?.is_dir();
        if is_directory && recursive && depth < DEEPEST {
            directory(&path, recursive, depth + 1, files)?;
        } else if !is_directory && is_manifest(&path) {
            if files.len() >= CHECKED_FILES {
                return Err(io::Error::other(format!("more than {CHECKED_FILES} files")));
            }
            files.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let known =
        |extension: &std::ffi::OsStr| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    path.extension().is_some_and(known)
}

fn text(from: &mut impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(CHECKED_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CHECKED_BYTES {
        return Err(io::Error::other(format!("larger than {} MiB", CHECKED_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
}

/// Directories below each other; links may lead in circles.
const DEEPEST: usize = 16;
