//! The command line of `check`: what was typed flows in, valid options flow out, or every mistake.

use crate::options::{Mistakes, Reading, ReadingArguments, Surroundings};
use crate::output::Format;
use clap::Parser;
use std::time::Duration;

/// Says what is wrong with manifests before they are applied: YAML and fields that an API server refuses, Routes and Ingresses
/// that would not be served, or not as written, and why, annotations that are not understood, Services, ports and Secrets that
/// are not there, certificates that have expired or are for other hosts.
///
/// One line each: FILE:LINE: SEVERITY: OBJECT: FIELD: MESSAGE [REASON]. Ends with 0 where there is no error, with 1 where there
/// is one, and with 2 for flags and files that cannot be used.
#[derive(Clone, Debug, Parser)]
#[command(name = "nearside-controller check", version, about)]
pub(crate) struct CheckArguments {
    /// A file, a directory of YAML and JSON files, or - for standard input; may be given several times
    #[arg(long, short = 'f', value_name = "FILE|DIR|-", required = true)]
    filename: Vec<String>,
    /// Read the directories below a directory, too
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Look for what is named, and for whoever holds a host, in the cluster as well
    #[arg(long)]
    cluster: bool,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// How long reading the cluster may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    timeout: String,
    /// How the answer is written
    #[arg(long, short = 'o', value_name = "text|json|yaml", default_value = "text")]
    output: String,
    #[command(flatten)]
    reading: ReadingArguments,
}

/// What is to be checked, and how.
#[derive(Clone, Debug)]
pub(crate) struct CheckOptions {
    pub(crate) files: Vec<String>,
    pub(crate) recursive: bool,
    pub(crate) cluster: bool,
    pub(crate) strict: bool,
    pub(crate) patience: Duration,
    pub(crate) format: Format,
    pub(crate) reading: Reading,
}

impl CheckOptions {
    /// What was typed, checked.
    ///
    /// # Errors
    /// Every mistake, one line each.
    pub(crate) fn new(arguments: CheckArguments, surroundings: Surroundings) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let patience = mistakes.seconds("--timeout", &arguments.timeout);
        let format = mistakes.parse("--output", &arguments.output).unwrap_or_default();
        let reading = arguments.reading.into_settings(surroundings, &mut mistakes);
        mistakes.none()?;
        Ok(Self {
            files: arguments.filename,
            recursive: arguments.recursive,
            cluster: arguments.cluster,
            strict: arguments.strict,
            patience,
            format,
            reading,
        })
    }
}
