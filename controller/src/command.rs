//! The commands of the program: its arguments flow in, the exit code of a command that answers one question flows out, or the
//! arguments of the controller itself.

use crate::check::{self, CheckArguments, CheckOptions};
use crate::explain::{self, ExplainArguments, Question};
use crate::options::Surroundings;
use crate::output::complain;
use nearside_admin::configure_from;
use std::ffi::OsString;
use std::process::ExitCode;

/// What the process is to do.
pub(crate) enum Command {
    /// The work of a controller, with these arguments.
    Run(Vec<OsString>),
    /// The question was answered, or cannot be.
    Answered(ExitCode),
}

/// Takes the command from the arguments, and answers it if it is a question.
pub(crate) fn command(mut arguments: Vec<OsString>) -> Command {
    let word = arguments.get(1).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    match word.as_str() {
        "run" => {
            arguments.remove(1);
            Command::Run(arguments)
        }
        "explain" => {
            // Usage lines name the command.
            arguments.splice(..2, ["nearside-controller explain".into()]);
            let check = |arguments: ExplainArguments| Question::new(arguments, Surroundings::read());
            let question = configure_from(super::PROGRAM, arguments, check).map(|configured| configured.config);
            Command::Answered(question.map_or_else(|code| code, |question| answer(explain::run(question))))
        }
        "check" => {
            arguments.splice(..2, ["nearside-controller check".into()]);
            let check = |arguments: CheckArguments| CheckOptions::new(arguments, Surroundings::read());
            let options = configure_from(super::PROGRAM, arguments, check).map(|configured| configured.config);
            Command::Answered(options.map_or_else(|code| code, |options| answer(check::run(options))))
        }
        _ => Command::Run(arguments),
    }
}

/// Runs a question to its end. Nothing is logged: what there is to say is the answer.
fn answer(question: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return complain(super::PROGRAM, format!("the runtime cannot be started: {error}")),
    };
    let code = runtime.block_on(question);
    runtime.shutdown_background();
    code
}
