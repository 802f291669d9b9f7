//! The flags that guard the admin port, the same for every program: raw text flows in, what the port demands of its readers
//! flows out, or every mistake at once. Secrets may stand in files or in the environment; they are never shown.

use crate::access::{Credentials, Secret};
use crate::tls::TlsFiles;
use clap::Args;
use rustls::ProtocolVersion;
use std::path::{Path, PathBuf};

/// The flags.
#[derive(Clone, Debug, Default, Args)]
pub struct AdminArguments {
    /// Serve the admin port over TLS as well, with the certificate in this PEM file, which is followed.
    #[arg(long, env = "NEARSIDE_ADMIN_TLS_CERT", value_name = "FILE")]
    admin_tls_cert: Option<String>,
    /// Its key. [default: in the file of the certificate]
    #[arg(long, env = "NEARSIDE_ADMIN_TLS_KEY", value_name = "FILE")]
    admin_tls_key: Option<String>,
    /// The oldest version of TLS on the admin port: `1.2` or `1.3`.
    #[arg(long, env = "NEARSIDE_ADMIN_TLS_MIN_VERSION", value_name = "VERSION")]
    admin_tls_min_version: Option<String>,
    /// Who may read the pages of the admin port, beside its health, which anybody may.
    #[arg(long, env = "NEARSIDE_ADMIN_USERNAME", value_name = "NAME")]
    admin_username: Option<String>,
    /// The password; other users of the machine can read a command line, so better in a file or in the variable.
    #[arg(long, env = "NEARSIDE_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// The same in a file, which is read again for each request; counts more.
    #[arg(long, env = "NEARSIDE_ADMIN_USERNAME_FILE", value_name = "FILE")]
    admin_username_file: Option<String>,
    /// The password in a file, which is read again for each request; counts more.
    #[arg(long, env = "NEARSIDE_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    admin_password_file: Option<String>,
    /// Let in whoever shows a token with which the cluster lets them `get` `routers/metrics` of `route.openshift.io`, or
    /// the path `/metrics`. The program must be allowed to create TokenReviews and SubjectAccessReviews.
    #[arg(long, env = "NEARSIDE_ADMIN_TOKENS")]
    admin_tokens: bool,
    /// Let whoever reaches the admin port read its pages, also from other machines, where neither name nor tokens are asked
    /// for. Without it only processes of the same machine may.
    #[arg(long, env = "NEARSIDE_ADMIN_OPEN")]
    admin_open: bool,
}

/// What the admin port demands of its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminSecurity {
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) credentials: Option<Credentials>,
    /// Whether tokens of the cluster let in.
    pub tokens: bool,
    /// Whether other machines need no credentials, where there are none.
    pub(crate) open: bool,
}

impl AdminSecurity {
    /// The files that it is read from, again and again.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter().flat_map(|files| [&*files.certificate, &*files.key]);
        let secrets = self.credentials.iter().flat_map(|both| [&both.name, &both.password]);
        tls.chain(secrets.filter_map(|secret| match secret {
            Secret::File(path) => Some(&**path),
            Secret::Text(_) => None,
        }))
    }
}

/// One unusable flag of the admin port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {message}")]
pub struct AdminMistake {
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What is wrong.
    pub message: String,
}

impl AdminArguments {
    /// Checks everything. `in_cluster` says that there is a cluster to ask about tokens.
    ///
    /// # Errors
    /// Every mistake.
    pub fn into_security(self, in_cluster: bool) -> Result<AdminSecurity, Vec<AdminMistake>> {
        let mut mistakes = Vec::new();
        let mut add = |flag, message: String| mistakes.push(AdminMistake { flag, message });
        let given = |value: Option<String>| value.filter(|value| !value.trim().is_empty());
        let (certificate, key) = (given(self.admin_tls_cert), given(self.admin_tls_key));
        let oldest = match given(self.admin_tls_min_version).as_deref().map(str::trim) {
            None | Some("1.2" | "TLSv1.2" | "VersionTLS12") => ProtocolVersion::TLSv1_2,
            Some("1.3" | "TLSv1.3" | "VersionTLS13") => ProtocolVersion::TLSv1_3,
            Some(other) => {
                add("admin-tls-min-version", format!("{other:?} is not one of 1.2, 1.3"));
                ProtocolVersion::TLSv1_3
            }
        };
        let tls = match (certificate, key) {
            (Some(certificate), key) => {
                let certificate = PathBuf::from(certificate);
                let key = key.map_or_else(|| certificate.clone(), PathBuf::from);
                let files = TlsFiles { certificate, key, oldest };
                if let Err(error) = files.read() {
                    add(error.flag, error.message);
                }
                Some(files)
            }
            (None, Some(_)) => {
                add("admin-tls-key", "needs --admin-tls-cert beside it".into());
                None
            }
            (None, None) => None,
        };
        let mut secret = |file: Option<String>, text: Option<String>, flag| match (given(file), given(text)) {
            (Some(path), _) => {
                let secret = Secret::File(path.into());
                if let Err(error) = secret.read() {
                    add(flag, error.to_string());
                }
                Some(secret)
            }
            (None, text) => text.map(|text| Secret::Text(text.into())),
        };
        let name = secret(self.admin_username_file, self.admin_username, "admin-username-file");
        let password = secret(self.admin_password_file, self.admin_password, "admin-password-file");
        let credentials = match (name, password) {
            (Some(name), Some(password)) => Some(Credentials { name, password }),
            (None, None) => None,
            (Some(_), None) => {
                add("admin-username", "needs a password beside it (--admin-password-file)".into());
                None
            }
            (None, Some(_)) => {
                add("admin-password", "needs a name beside it (--admin-username)".into());
                None
            }
        };
        if self.admin_tokens && !in_cluster {
            add("admin-tokens", "needs a cluster that knows the tokens, and --manifests is none".into());
        }
        if mistakes.is_empty() {
            Ok(AdminSecurity { tls, credentials, tokens: self.admin_tokens, open: self.admin_open })
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        admin: AdminArguments,
    }

    fn security(flags: &[&str], in_cluster: bool) -> Result<AdminSecurity, Vec<&'static str>> {
        let arguments = Program::try_parse_from(std::iter::once(&"program").chain(flags)).unwrap().admin;
        arguments.into_security(in_cluster).map_err(|mistakes| mistakes.iter().map(|mistake| mistake.flag).collect())
    }

    #[test]
    fn nothing_is_demanded_unless_asked_for() {
        let open = security(&[], false).unwrap();
        assert!(open.tls.is_none() && open.credentials.is_none() && !open.tokens);
        let empty = security(&["--admin-username=", "--admin-tls-cert="], false).unwrap();
        assert!(empty.tls.is_none() && empty.credentials.is_none());
    }

    #[test]
    fn half_of_a_guard_is_a_mistake_and_leaves_nothing_open() {
        for (flags, expected) in [
            (&["--admin-username=a"][..], "admin-username"),
            (&["--admin-password=a"], "admin-password"),
            (&["--admin-username=a", "--admin-password-file=/nowhere"], "admin-password-file"),
            (&["--admin-tls-key=/nowhere"], "admin-tls-key"),
            (&["--admin-tls-cert=/nowhere"], "admin-tls-cert"),
            (&["--admin-tls-min-version=1.1"], "admin-tls-min-version"),
            (&["--admin-tokens"], "admin-tokens"),
        ] {
            assert_eq!(security(flags, false).unwrap_err(), [expected], "{flags:?}");
        }
        assert!(security(&["--admin-tokens"], true).unwrap().tokens);
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = security(&["--admin-username=reader", "--admin-password=hunter2"], false).unwrap();
        assert!(!format!("{shown:?}").contains("hunter2"));
    }
}
