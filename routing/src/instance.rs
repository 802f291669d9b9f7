//! Several installations beside each other: the router name of one flows in, how its DNSEndpoint objects are named and found
//! flows out. The controller writes by it and the proxies read by it, so that no installation touches or believes the records
//! of another in the same namespace.

use crate::published::{MANAGED_LABEL, MANAGED_VALUE};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// One installation, by its router name (`--router-name`). The one that is called `default` writes what Nearside has always
/// written, without a label of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    label: Option<Arc<str>>,
}

impl Instance {
    /// The installation of this router name.
    pub fn of(router_name: &str) -> Self {
        if router_name == DEFAULT {
            return Self::default();
        }
        let label =
            if is_label_value(router_name) { router_name.to_owned() } else { format!("x-{}", hash(router_name)) };
        Self { label: Some(label.into()) }
    }

    /// The value of [`ROUTER_LABEL`] on its objects; `None` where they do not have the label.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The label selector of its DNSEndpoints.
    pub fn selector(&self) -> String {
        match self.label() {
            Some(label) => format!("{MANAGED_LABEL}={MANAGED_VALUE},{ROUTER_LABEL}={label}"),
            None => format!("{MANAGED_LABEL}={MANAGED_VALUE},!{ROUTER_LABEL}"),
        }
    }

    /// The name under which it stores what is called `name` where there is one installation.
    pub fn name(&self, name: &str) -> Arc<str> {
        match self.label() {
            Some(label) => format!("{name}-{}", hash(label)).into(),
            None => name.into(),
        }
    }
}

fn is_label_value(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The label that says which installation an object belongs to.
pub const ROUTER_LABEL: &str = "nearside.dev/router";
/// The router name of an installation that is alone.
const DEFAULT: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_installation_is_named_as_ever_and_others_apart() {
        let default = Instance::of("default");
        assert_eq!(default.label(), None);
        assert_eq!(&*default.name("nearside-1"), "nearside-1");
        assert_eq!(default.selector(), "nearside.dev/dns=managed,!nearside.dev/router");
        let public = Instance::of("public");
        assert_eq!(public.selector(), "nearside.dev/dns=managed,nearside.dev/router=public");
        assert_ne!(public.name("nearside-1"), default.name("nearside-1"));
        assert_ne!(public.name("nearside-1"), Instance::of("internal").name("nearside-1"));
    }

    #[test]
    fn a_name_that_no_label_can_hold_is_hashed() {
        for name in ["My router!", "-a", &"a".repeat(64)] {
            let label = Instance::of(name).label().unwrap().to_owned();
            assert!(is_label_value(&label), "{label}");
            assert_ne!(label, name);
        }
    }
}
