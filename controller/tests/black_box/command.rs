//! Commands of the program that answer one question: arguments and environment go in, what was said comes out.

use crate::process::BINARY;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) error: String,
}

/// Runs a command to its end.
pub(crate) fn answer(arguments: &[&str], environment: &[(&str, &str)]) -> Answered {
    answer_to(arguments, environment, "")
}

/// The same with this on standard input.
pub(crate) fn answer_to(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Answered {
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may have ended.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answered { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

/// The exit code and the JSON on standard output.
pub(crate) fn json(answered: &Answered) -> (Option<i32>, Value) {
    let value = serde_json::from_str(&answered.out);
    (answered.code, value.unwrap_or_else(|error| panic!("{error}: {answered:?}")))
}

/// A directory of files for a command.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// A file of these objects. JSON is YAML.
    pub(crate) fn write(&self, name: &str, objects: &[Value]) {
        let text: Vec<String> = objects.iter().map(ToString::to_string).collect();
        self.write_text(name, &text.join("\n---\n"));
    }

    pub(crate) fn write_text(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// The directory.
    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}
