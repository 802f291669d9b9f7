//! Who may authenticate by a password: the entries of a Secret flow in, users with the hashes of their passwords flow out.
//! Whether a password fits a hash is work for the proxy; here is only decided what can be asked at all.

mod password_hash;

pub use password_hash::{HashError, PasswordHash, ShaCrypt};

use crate::object::Secret;
use crate::policy::authentication::SecretForm;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Users and the hashes of their passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    // The standard hasher is seeded per process: clients choose the names they look up.
    users: HashMap<Box<str>, PasswordHash>,
    /// What was wrong with some of them, for the object's status: no name and no hash is repeated there.
    complaint: Option<String>,
}

/// A Secret that holds passwords, read once in each form.
#[derive(Debug, PartialEq, Eq)]
pub struct PasswordSecret {
    file: Arc<Credentials>,
    map: Arc<Credentials>,
}

impl PasswordSecret {
    /// Reads a Secret that holds no certificate.
    pub fn new(secret: &Secret) -> Self {
        let file = secret.passwords.get(FILE_ENTRY).map(|text| Credentials::of_file(text)).unwrap_or_else(|| {
            Credentials { complaint: Some(format!("it has no entry {FILE_ENTRY}")), ..Credentials::default() }
        });
        Self { file: Arc::new(file), map: Arc::new(Credentials::of_map(secret)) }
    }

    /// What it holds in this form.
    pub fn credentials(&self, form: SecretForm) -> &Arc<Credentials> {
        match form {
            SecretForm::File => &self.file,
            SecretForm::Map => &self.map,
        }
    }
}

impl Credentials {
    /// Reads lines as htpasswd writes them: `user:hash`, and after another colon what nobody reads. Of several lines for one
    /// user the first counts.
    fn of_file(text: &str) -> Self {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_end_matches('\r')));
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let entries = lines.map(|(number, line)| {
            let (user, rest) = line.split_once(':').unwrap_or((line, ""));
            (format!("line {number}"), user, rest.split(':').next().unwrap_or_default())
        });
        Self::of_entries(entries)
    }

    /// Reads a user from each entry, in the order of their names.
    fn of_map(secret: &Secret) -> Self {
        let entries = secret.passwords.iter().enumerate();
        Self::of_entries(
            entries.map(|(place, (user, hash))| (format!("entry {}", place + 1), &**user, hash.trim_end())),
        )
    }

    fn of_entries<'e>(entries: impl Iterator<Item = (String, &'e str, &'e str)>) -> Self {
        let mut users = HashMap::new();
        let mut first_wrong = None;
        let mut wrong = 0_usize;
        for (place, user, hash) in entries {
            let parsed = if user.is_empty() || user.len() > USER_BYTES {
                Err(format!("a user name has 1 to {USER_BYTES} bytes"))
            } else if users.len() == USERS {
                Err(format!("only {USERS} users are taken"))
            } else {
                PasswordHash::parse(hash).map_err(|error| error.to_string())
            };
            match parsed {
                Ok(hash) => drop(users.entry(user.into()).or_insert(hash)),
                Err(message) => {
                    wrong += 1;
                    first_wrong.get_or_insert_with(|| format!("{place}: {message}"));
                }
            }
        }
        let complaint = match first_wrong {
            None if users.is_empty() => Some("it holds no user".to_owned()),
            None => None,
            Some(first) if wrong == 1 => Some(format!("{first}; this user is not let in")),
            Some(first) => Some(format!("{first}, and {} more; these users are not let in", wrong - 1)),
        };
        Self { users, complaint }
    }

    /// The hash of a user's password.
    pub fn hash(&self, user: &str) -> Option<&PasswordHash> {
        self.users.get(user)
    }

    /// Some user's hash: what asking about an unknown user costs as much as.
    pub fn any_hash(&self) -> Option<&PasswordHash> {
        self.users.values().next()
    }

    /// Whether nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What is wrong, for people who may see the object but not the Secret.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

impl fmt::Debug for Credentials {
    /// Leaves users and hashes out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

/// The entry that holds htpasswd lines.
pub(crate) const FILE_ENTRY: &str = "auth";
/// Users of one Secret.
const USERS: usize = 10_000;
/// Bytes of a user's name.
const USER_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA: &str = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";

    fn secret(entries: &[(&str, &str)]) -> PasswordSecret {
        let passwords = entries.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        PasswordSecret::new(&Secret { passwords, ..Secret::default() })
    }

    #[test]
    fn a_file_has_a_user_a_line_and_the_first_line_of_a_user_counts() {
        let text = format!("# users\n\nann:{SHA}:remark\r\nbob:$apr1$r31abcde$HqJZimcKQFAMYayBlzkrA/\nann:$apr1$x$y\n");
        let secret = secret(&[("auth", &text)]);
        let file = secret.credentials(SecretForm::File);
        assert_eq!(file.hash("ann"), Some(&PasswordHash::parse(SHA).unwrap()));
        assert!(file.hash("bob").is_some() && file.hash("eve").is_none());
        assert_eq!(file.complaint(), Some("line 5: the hash is not whole; this user is not let in"));
    }

    #[test]
    fn a_map_has_a_user_an_entry() {
        let secret = secret(&[("ann", &format!("{SHA}\n")), ("bob", "")]);
        let map = secret.credentials(SecretForm::Map);
        assert!(map.hash("ann").is_some() && map.hash("bob").is_none() && map.complaint().is_some());
        assert_eq!(secret.credentials(SecretForm::File).complaint(), Some("it has no entry auth"));
    }

    #[test]
    fn nobody_is_let_in_by_what_is_not_understood_and_nothing_of_it_is_repeated() {
        for text in ["", "ann", "ann:", ":{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "ann:secret", "ann:{PLAIN}secret", "\0\0"]
        {
            let secret = secret(&[("auth", text)]);
            let file = secret.credentials(SecretForm::File);
            let complaint = file.complaint().unwrap();
            assert!(file.is_empty() && !complaint.contains("secret") && !complaint.contains("ann"), "{complaint}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_users_or_a_complaint(text in "(\\PC|[$:\n\r#{}/0-9]|\\$2y\\$|\\$apr1\\$|\\$6\\$rounds=|\0){0,40}") {
            let secret = secret(&[("auth", &text)]);
            let file = secret.credentials(SecretForm::File);
            prop_assert!(!file.is_empty() || file.complaint().is_some());
        }
    }
}
