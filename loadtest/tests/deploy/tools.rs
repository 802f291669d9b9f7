//! The programs that the tests run: paths of tools flow out, and what a run of one prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Helm or kubectl, as fetched for this checkout.
pub(crate) fn tool(name: &str) -> Command {
    let path = root().join(".tools/bin").join(name);
    assert!(path.exists(), "{} is missing: scripts/setup test fetches it", path.display());
    let mut command = Command::new(path);
    command.current_dir(root());
    // What the user's own configuration says must not matter.
    command.env_remove("KUBECONFIG").env("HELM_NO_PLUGINS", "1");
    command
}

/// A script of this repository.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(root().join("scripts").join(name));
    command.current_dir(root());
    command
}

/// What a command that must succeed prints on standard output.
pub(crate) fn ok(command: &mut Command) -> String {
    let (success, output) = run(command);
    assert!(success, "{command:?}\n{output}");
    output
}

/// What a command that must fail says, on both outputs.
pub(crate) fn refused(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [text(&output.stdout), text(&output.stderr)].concat();
    assert!(!output.status.success(), "{command:?} should fail\n{said}");
    said
}

/// Whether a command succeeded, and what it printed; on failure also on standard error.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let said = if status.success() { text(&stdout) } else { [text(&stdout), text(&stderr)].concat() };
    (status.success(), said)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
