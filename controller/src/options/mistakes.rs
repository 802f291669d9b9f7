//! Mistakes on the command line: the text of a flag flows in, its value flows out, or a line that names the flag and says
//! what is wrong. Collected, so that all are told at once.

use nearside_routing::hostname::Hostname;
use nearside_routing::placement::AddressTypes;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// Every mistake so far.
#[derive(Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn add(&mut self, flag: &str, message: impl Display) {
        self.0.push(format!("{flag}: {message}"));
    }

    pub(crate) fn none(self) -> Result<(), Vec<String>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, flag: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.add(flag, format!("{text:?}: {error}"))).ok()
    }

    /// A whole number of seconds, at least one.
    pub(crate) fn seconds(&mut self, flag: &str, text: &str) -> Duration {
        let seconds: u32 = self.parse(flag, text).unwrap_or(1);
        if seconds == 0 {
            self.add(flag, "0: at least 1 second");
        }
        Duration::from_secs(seconds.into())
    }

    pub(crate) fn choose<T: Copy>(&mut self, flag: &str, text: &str, choices: &[(&str, T); 2]) -> T {
        let [(first, default), (second, _)] = choices;
        choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).unwrap_or_else(|| {
            self.add(flag, format!("{text:?} is not one of {first}, {second}"));
            *default
        })
    }

    pub(crate) fn check_label(&mut self, flag: &str, text: &str) {
        match Hostname::parse(text) {
            Ok(name) if name.split_first_label().1.is_none() && name.as_str() == text => {}
            _ => self.add(flag, format!("{text:?} is not the name of a namespace")),
        }
    }

    pub(crate) fn labels(&mut self, text: &str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for pair in text.split(',').map(str::trim) {
            match pair.split_once('=') {
                Some((name, value)) if !name.is_empty() && !name.contains(['!', ' ']) && !value.starts_with('=') => {
                    labels.insert(name.to_owned(), value.to_owned());
                }
                _ => self.add("--router-selector", format!("{pair:?} is not of the form NAME=VALUE")),
            }
        }
        labels
    }

    pub(crate) fn address_types(&mut self, text: &str) -> AddressTypes {
        let types: Vec<String> = text.split(',').map(|kind| kind.trim().to_owned()).collect();
        for kind in types.iter().filter(|kind| !ADDRESS_TYPES.contains(&kind.as_str())) {
            self.add("--node-address-type", format!("{kind:?} is not one of {}", ADDRESS_TYPES.join(", ")));
        }
        AddressTypes(types)
    }
}

/// Types of `Node.status.addresses[]` that hold addresses; the others hold names.
const ADDRESS_TYPES: [&str; 2] = ["ExternalIP", "InternalIP"];
