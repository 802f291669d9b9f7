//! Command lines: the arguments of the process and its environment flow in, checked settings flow out; or the process
//! learns its exit code, after each mistake was said in one line.

use crate::openshift::{Environment, Taken, Translation};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Settings, with what became of the environment of an OpenShift router; to be told once there is a log.
#[derive(Debug)]
pub struct Configured<C> {
    /// What the program is to do.
    pub config: C,
    translation: Translation,
}

impl<C> Configured<C> {
    /// Tells the operator which variables of an OpenShift router count and which have no effect.
    pub fn log_environment(&self) {
        self.translation.log();
    }
}

/// Parses the arguments and the environment. `Err` holds the exit code with which the process is to end: 0 after help and
/// version, 2 after a flag that cannot be used.
///
/// # Errors
/// As above; what there is to say has been said.
pub fn parse_arguments<A: Parser>(program: &str) -> Result<A, ExitCode> {
    parse(A::command(), std::env::args_os(), &[]).map_err(|error| say(program, &error))
}

/// The same with `check`, which turns arguments into settings or gives every mistake, each a line that begins with its flag
/// and a colon. Where the command line and the variables of our own say nothing, variables of an OpenShift router count
/// (docs/openshift-environment.md). What a flag refuses of them leaves its default and does not keep the program from
/// starting, unless the variable guards something.
///
/// # Errors
/// As for [`parse_arguments`].
pub fn configure<A: Parser, C, M: Display>(
    program: &str,
    check: impl Fn(A) -> Result<C, Vec<M>>,
) -> Result<Configured<C>, ExitCode> {
    configure_from(program, std::env::args_os().collect(), check)
}

/// The same with these arguments, the first of which names the program: for a command of a program, which has flags of its
/// own.
///
/// # Errors
/// As for [`parse_arguments`].
pub fn configure_from<A: Parser, C, M: Display>(
    program: &str,
    arguments: Vec<OsString>,
    check: impl Fn(A) -> Result<C, Vec<M>>,
) -> Result<Configured<C>, ExitCode> {
    let mut translation = Translation::new(&Environment::of_process(), program);
    loop {
        let command = A::command().after_help(AFTER_HELP);
        let mistakes: Vec<String> = match parse(command, arguments.clone(), &translation.taken).map(&check) {
            Ok(Ok(config)) => return Ok(Configured { config, translation }),
            Ok(Err(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
            Err(error) if error.use_stderr() => vec![mistake(&error)],
            Err(help) => return Err(say(program, &help)),
        };
        if !translation.refuse(&mistakes) {
            let mistakes: Vec<String> = mistakes.iter().map(|mistake| translation.explain(mistake)).collect();
            return Err(unusable_flags(program, &mistakes));
        }
    }
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

/// Parses with these values as the defaults of their flags.
fn parse<A: Parser>(
    mut command: Command,
    arguments: impl IntoIterator<Item = OsString>,
    taken: &[Taken],
) -> Result<A, clap::Error> {
    for (flag, values) in taken.iter().flat_map(|taken| &taken.flags) {
        let id = command.get_arguments().find(|argument| argument.get_long() == Some(flag)).map(|a| a.get_id().clone());
        let Some(id) = id else { continue };
        // A default lives as long as the process; there are a few dozen at most. The help must not show them: one may be
        // a private key.
        let values: Vec<&'static str> = values.iter().map(|value| &*value.clone().leak()).collect();
        command = command.mut_arg(id, |argument| {
            let shown = argument.get_action().takes_values();
            argument.default_values(values).hide_default_value(shown)
        });
    }
    let mut matches = command.try_get_matches_from(arguments)?;
    A::from_arg_matches_mut(&mut matches)
}

/// Says what clap has to say, and gives the exit code.
fn say(program: &str, error: &clap::Error) -> ExitCode {
    match error.kind() {
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
    }
}

/// An error of clap as a line that begins with its flag.
fn mistake(error: &clap::Error) -> String {
    let message = first_paragraph(&error.to_string());
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => {
            let flag = argument.split([' ', '=']).next().unwrap_or_default();
            if flag.starts_with("--") { format!("{flag}: {message}") } else { message }
        }
        _ => message,
    }
}

/// The part of clap's message before usage and hints, in one line.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

const UNUSABLE_FLAGS: u8 = 2;
const AFTER_HELP: &str = "The environment of an OpenShift router (ROUTER_* and the like) counts where neither a flag nor its own \
                          variable says anything; see docs/openshift-environment.md.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[arg(long)]
        strict: bool,
        #[arg(long, value_delimiter = ',')]
        name: Vec<String>,
        #[arg(long, default_value = "5")]
        count: u32,
    }

    fn parsed(typed: &[&str], flags: &[(&'static str, &[&str])]) -> Result<Arguments, clap::Error> {
        let text = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let flags = flags.iter().map(|(flag, values)| (*flag, text(values))).collect();
        let arguments = std::iter::once("program").chain(typed.iter().copied()).map(OsString::from);
        parse(Arguments::command(), arguments, &[Taken { variables: vec![], flags }])
    }

    #[test]
    fn what_another_environment_says_counts_less_than_a_flag_and_more_than_the_default() {
        let taken: [(&str, &[&str]); 3] = [("strict", &["true"]), ("name", &["a", "b"]), ("count", &["7"])];
        let arguments = parsed(&[], &taken).unwrap();
        assert!(arguments.strict && arguments.name == ["a", "b"] && arguments.count == 7, "{arguments:?}");
        let arguments = parsed(&["--name=c", "--count=8"], &taken).unwrap();
        assert!(arguments.name == ["c"] && arguments.count == 8, "{arguments:?}");
        let arguments = parsed(&[], &[("strict", &["false"]), ("of-another-program", &["x"])]).unwrap();
        assert!(!arguments.strict && arguments.name.is_empty() && arguments.count == 5, "{arguments:?}");
    }

    #[test]
    fn an_error_of_the_parser_names_its_flag_first() {
        let error = parsed(&[], &[("count", &["many"])]).unwrap_err();
        assert!(mistake(&error).starts_with("--count: "), "{}", mistake(&error));
    }

    #[test]
    fn the_help_shows_nothing_of_another_environment() {
        let error = parsed(&["--help"], &[("name", &["secret"])]).unwrap_err();
        assert!(error.kind() == ErrorKind::DisplayHelp && !error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_message_is_cut_to_one_line_before_the_usage() {
        let message = "error: the following required arguments were not provided:\n  --zone <ZONE>\n\nUsage: x\n";
        assert_eq!(first_paragraph(message), "the following required arguments were not provided: --zone <ZONE>");
    }
}
