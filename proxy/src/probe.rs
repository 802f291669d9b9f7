//! `--probe`: the arguments of the process flow in, the exit code of a question to a proxy that runs flows out. Called by `main`
//! before anything else, so that a probe needs nothing of what serving needs.

use crate::options::Arguments;
use nearside_admin::{parse_arguments, unusable_flags};
use std::process::ExitCode;

/// The exit code of the probe that the command line asks for; `None` where it asks for none.
pub(crate) fn asked(program: &str) -> Option<ExitCode> {
    let named = |argument: std::ffi::OsString| argument.to_str().is_some_and(|text| text.starts_with("--probe"));
    if !std::env::args_os().skip(1).any(named) {
        return None;
    }
    let arguments: Arguments = match parse_arguments(program) {
        Ok(arguments) => arguments,
        Err(code) => return Some(code),
    };
    let (probe, socket) = match arguments.probe()? {
        Ok(asked) => asked,
        Err(mistake) => return Some(unusable_flags(program, &[mistake])),
    };
    Some(match probe.ask(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::FAILURE
        }
    })
}

/// The kubelet shows what a probe says.
#[expect(clippy::print_stderr, reason = "a probe has no log")]
fn say(failure: &str) {
    eprintln!("{failure}");
}
