//! Wires the program: flags in, a command run, an exit code out. Decides nothing itself.

mod command;

use command::RunError;
use nearside_admin::{LogFormat, LogThread, init_logging, parse_arguments, unusable_flags};
use nearside_dns_sync::config::{Cli, Command, ConfirmConfig, PlanConfig, PublishConfig, ServeConfig, StatusConfig};
use std::future::Future;
use std::process::ExitCode;
use tracing::error;

fn main() -> ExitCode {
    let cli: Cli = match parse_arguments(PROGRAM) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        Command::Serve(args) => match ServeConfig::try_from(args) {
            Ok(config) => logging(config.program.log_format, |log| run(command::serve(config, log))),
            Err(error) => unusable_flags(PROGRAM, &[error]),
        },
        Command::Publish(args) => match PublishConfig::try_from(args) {
            Ok(config) if config.check => command::say(&format!("{}\n", config.publication.summary())),
            Ok(config) => logging(config.program.log_format, |log| run(command::publish(config, log))),
            Err(error) => unusable_flags(PROGRAM, error.mistakes()),
        },
        Command::Status(args) => match StatusConfig::try_from(args) {
            Ok(config) => command::status(&config).unwrap_or_else(|error| {
                unusable_flags(PROGRAM, &[error]);
                ExitCode::FAILURE
            }),
            Err(error) => unusable_flags(PROGRAM, error.mistakes()),
        },
        Command::Plan(args) => match PlanConfig::try_from(args) {
            Ok(config) => {
                init_logging(LogFormat::Text);
                on_threads(command::plan(config))
            }
            Err(error) => unusable_flags(PROGRAM, error.mistakes()),
        },
        Command::Confirm(args) => match ConfirmConfig::try_from(args) {
            Ok(config) => command::confirm(&config),
            Err(error) => unusable_flags(PROGRAM, error.mistakes()),
        },
    }
}

/// Runs a command that never waits for the reader of its log.
fn logging(format: LogFormat, command: impl FnOnce(&LogThread) -> ExitCode) -> ExitCode {
    init_logging(format);
    match LogThread::start() {
        Ok(log) => command(&log),
        Err(error) => {
            error!(%error, "the log cannot be started");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that ends when it is asked to.
fn run(command: impl Future<Output = Result<(), RunError>>) -> ExitCode {
    on_threads(async {
        match command.await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                error!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// Runs a command on the threads of the program.
fn on_threads(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the threads of the program cannot be started");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command)
}

const PROGRAM: &str = "nearside-dns-sync";
