//! The translation itself: the environment flows in, values for the flags of one program flow out, with a note for each
//! variable that has no effect. Pure.

use super::combined::COMBINATIONS;
use super::settings::{Meaning, SETTINGS};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// The variables of an environment that are set to something.
#[derive(Clone, Debug)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Of these variables.
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let blank = [' ', '\t', '\r', '\n'];
        let variables = variables.into_iter().map(|(name, value)| (name, value.trim_matches(blank).to_owned()));
        Self(variables.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Of this process. What is not text is no variable of a router.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::new(std::env::vars_os().filter_map(text))
    }

    /// What a variable is set to.
    pub(super) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }
}

/// Values that variables give to flags, which are used together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The variables that were read.
    pub(crate) variables: Vec<&'static str>,
    /// Flags without dashes, and their values.
    pub(crate) flags: Vec<(&'static str, Vec<String>)>,
}

impl Taken {
    /// Whether a mistake, a line that begins with its flag, is one of these flags.
    fn is_named_by(&self, mistake: &str) -> bool {
        self.flags.iter().any(|(flag, _)| mistake.starts_with(&format!("--{flag}:")))
    }

    fn guards(&self) -> bool {
        SETTINGS.iter().any(|setting| setting.guards && self.variables.contains(&setting.variable))
    }
}

/// What an environment means to one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Translation {
    /// What counts.
    pub(crate) taken: Vec<Taken>,
    /// Variables without effect, each with the reason.
    pub(crate) ignored: Vec<(&'static str, String)>,
    /// Variables whose value cannot be used: the default counts.
    pub(crate) unusable: Vec<(&'static str, String)>,
    /// Variables that look like the router's and are not.
    pub(crate) unknown: Vec<String>,
}

/// What combinations add to.
pub(super) type Found = Translation;

impl Translation {
    /// What the environment means to the program of this name.
    pub(crate) fn new(environment: &Environment, program: &str) -> Self {
        let mut found = Self::default();
        for setting in SETTINGS {
            let Some(value) = environment.get(setting.variable) else { continue };
            match setting.meaning {
                Meaning::Flag(flag, of, grammar) if of.is(program) => match grammar(value) {
                    Ok(values) if values.is_empty() => {
                        found.ignored.push((setting.variable, format!("{value:?} leaves --{flag} as it is")));
                    }
                    Ok(values) => found.take(&[setting.variable], vec![(flag, values)]),
                    Err(message) => found.unusable(setting.variable, value, &message),
                },
                // Combinations say what they do with theirs.
                Meaning::Together(_, of) if of.is(program) => {}
                Meaning::Flag(_, of, _) | Meaning::Together(_, of) => {
                    found.ignored.push((setting.variable, format!("it is for {}", of.name())));
                }
                Meaning::Ignored(reason) => found.ignored.push((setting.variable, reason.to_owned())),
            }
        }
        if program == COMBINING {
            COMBINATIONS.iter().for_each(|combination| combination(environment, &mut found));
        }
        found.unread(environment);
        let known: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.variable).collect();
        let unknown = environment.0.iter().filter(|(name, _)| name.starts_with("ROUTER_") && !known.contains(&***name));
        found.unknown =
            unknown.filter(|(name, value)| !is_of_a_service(name, value)).map(|(name, _)| name.clone()).collect();
        found
    }

    /// Takes back what led to mistakes, each a line that begins with its flag; or everything, where no flag of ours is named.
    /// Variables that guard something stay. Says whether there was something to take back.
    pub(crate) fn refuse(&mut self, mistakes: &[String]) -> bool {
        let before = std::mem::take(&mut self.taken);
        let count = before.len();
        // Where several give a flag, the last one counted.
        let mistake = |at: usize| {
            let others = &before[at + 1..];
            let mut own = mistakes.iter().filter(|line| before[at].is_named_by(line));
            own.find(|line| !others.iter().any(|other| other.is_named_by(line)))
        };
        let found: Vec<Option<&String>> = (0..count).map(mistake).collect();
        let named = found.iter().any(Option::is_some);
        for (taken, mistake) in before.iter().cloned().zip(found) {
            let message = match mistake {
                _ if taken.guards() => None,
                Some(line) => Some(&**line),
                None if named => None,
                None => Some("does not fit the other flags"),
            };
            let Some(message) = message else {
                self.taken.push(taken);
                continue;
            };
            let told = taken.variables.iter().map(|variable| (*variable, format!("{message}; the default holds")));
            self.unusable.extend(told);
        }
        self.taken.len() < count
    }

    /// A mistake with the variables that its value comes from, if it does.
    pub(crate) fn explain(&self, mistake: &str) -> String {
        match self.taken.iter().find(|taken| taken.is_named_by(mistake)) {
            Some(taken) => format!("{mistake} ({})", taken.variables.join(", ")),
            None => mistake.to_owned(),
        }
    }

    /// Tells the operator what became of the variables; nothing where there are none.
    pub(crate) fn log(&self) {
        for (variable, reason) in &self.ignored {
            tracing::info!(variable, reason, "a variable of the OpenShift router has no effect");
        }
        for (variable, reason) in &self.unusable {
            tracing::warn!(variable, reason, "a variable of the OpenShift router cannot be used");
        }
        for variable in &self.unknown {
            tracing::warn!(variable, "this is no variable of the OpenShift router and has no effect");
        }
        let taken: BTreeSet<&str> = self.taken.iter().flat_map(|taken| &taken.variables).copied().collect();
        let without_effect = self.ignored.len() + self.unusable.len() + self.unknown.len();
        if !taken.is_empty() || without_effect > 0 {
            let taken = Vec::from_iter(taken).join(" ");
            tracing::info!(taken, without_effect, "read the environment of an OpenShift router");
        }
    }

    /// Adds values that count together; only variables that are set are named.
    pub(super) fn take(&mut self, variables: &[&'static str], flags: Vec<(&'static str, Vec<String>)>) {
        self.taken.push(Taken { variables: variables.to_vec(), flags });
    }

    pub(super) fn unusable(&mut self, variable: &'static str, value: &str, message: &str) {
        let shown: String = value.chars().take(SHOWN).collect();
        self.unusable.push((variable, format!("{shown:?} {message}; the default holds")));
    }

    /// Combinations read some variables only where others are absent.
    fn unread(&mut self, environment: &Environment) {
        for taken in &mut self.taken {
            taken.variables.retain(|variable| environment.get(variable).is_some());
        }
        let told: BTreeSet<&str> = self
            .taken
            .iter()
            .flat_map(|taken| &taken.variables)
            .chain(self.ignored.iter().chain(&self.unusable).map(|(variable, _)| variable))
            .copied()
            .collect();
        let silent = SETTINGS.iter().map(|setting| setting.variable).filter(|variable| !told.contains(variable));
        let silent: Vec<_> = silent.filter(|variable| environment.get(variable).is_some()).collect();
        self.ignored.extend(silent.into_iter().map(|variable| (variable, "another variable says the same".to_owned())));
    }
}

/// Whether a variable is one that Kubernetes sets in every pod for a Service called `router…`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let address = name.ends_with("_PORT") && (value.contains("://") || name.ends_with("_SERVICE_PORT"));
    let port =
        name.contains("_SERVICE_PORT_") || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"));
    address || port || name.ends_with("_SERVICE_HOST")
}

/// The program that all combinations are for.
const COMBINING: &str = "nearside-proxy";
/// Characters of a value that a message repeats.
const SHOWN: usize = 64;

#[cfg(test)]
mod tests;
