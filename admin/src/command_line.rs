//! Command lines: the arguments of the process flow in, parsed flags flow out; or the process learns its exit code, after
//! each mistake was said in one line.

use clap::Parser;
use clap::error::ErrorKind;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Parses the arguments and the environment. `Err` holds the exit code with which the process is to end: 0 after help and
/// version, 2 after a flag that cannot be used.
///
/// # Errors
/// As above; what there is to say has been said.
pub fn parse_arguments<A: Parser>(program: &str) -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever asked for help and closed the output does not read it.
            drop(error.print());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(error.print());
            unusable_flags::<&str>(program, &[])
        }
        _ => unusable_flags(program, &[first_paragraph(&error.to_string())]),
    })
}

/// Says each mistake in one line and gives the exit code for flags that cannot be used.
pub fn unusable_flags<M: Display>(program: &str, mistakes: &[M]) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for mistake in mistakes {
        // Without standard error there is nobody to tell, and the exit code says it too.
        drop(writeln!(stderr, "{program}: {mistake}"));
    }
    ExitCode::from(UNUSABLE_FLAGS)
}

/// The part of clap's message before usage and hints, in one line.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

const UNUSABLE_FLAGS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_to_one_line_before_the_usage() {
        let message = "error: the following required arguments were not provided:\n  --zone <ZONE>\n\nUsage: x\n";
        assert_eq!(first_paragraph(message), "the following required arguments were not provided: --zone <ZONE>");
    }
}
