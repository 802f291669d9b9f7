//! The hash of one password, in the forms that htpasswd and mkpasswd write: text flows in, a hash whose every part is valid
//! flows out. A hash that would cost more than a fraction of a second is refused: clients choose how often it is asked.

use std::fmt;

/// A hash and all that is needed to ask it.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// `$2a$`, `$2b$`, `$2y$`: bcrypt, as it is written.
    Bcrypt(Box<str>),
    /// MD5 repeated a thousand times.
    Md5 {
        /// `$apr1$` of Apache or `$1$` of crypt(3), which goes into the hash.
        magic: &'static str,
        /// Up to 8 characters.
        salt: Box<str>,
        /// 22 characters in the alphabet of crypt(3).
        digest: Box<str>,
    },
    /// `{SHA}`: the SHA-1 digest of the password, in Base64. Without salt; offered because htpasswd offers it.
    Sha1(Box<str>),
    /// `$5$`: SHA-256 of crypt(3).
    Sha256Crypt(ShaCrypt),
    /// `$6$`: SHA-512 of crypt(3).
    Sha512Crypt(ShaCrypt),
}

/// The parts of a SHA hash of crypt(3).
#[derive(Clone, PartialEq, Eq)]
pub struct ShaCrypt {
    /// How often it is repeated, 1,000 to [`ROUNDS`].
    pub rounds: u32,
    /// Up to 16 characters.
    pub salt: Box<str>,
    /// 43 or 86 characters in the alphabet of crypt(3).
    pub digest: Box<str>,
}

/// A hash that cannot be asked. The message repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Another kind, or no hash at all.
    #[error("this is no bcrypt, apr1, SHA or sha-crypt hash")]
    UnknownKind,
    /// A known kind with parts that are missing or too long.
    #[error("the hash is not whole")]
    Malformed,
    /// A known kind that takes too long.
    #[error("the hash costs too much to verify (bcrypt above {BCRYPT_COST}, sha-crypt above {ROUNDS} rounds)")]
    TooCostly,
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// [`HashError`] for what cannot be asked.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(digest) = text.strip_prefix("{SHA}") {
            let valid = digest.len() == 28 && digest.ends_with('=') && digest[..27].bytes().all(is_base64);
            return if valid { Ok(Self::Sha1(digest.into())) } else { Err(HashError::Malformed) };
        }
        let (kind, rest) =
            text.strip_prefix('$').and_then(|rest| rest.split_once('$')).ok_or(HashError::UnknownKind)?;
        match kind {
            "2a" | "2b" | "2y" => bcrypt(text, rest),
            "apr1" => md5("$apr1$", rest),
            "1" => md5("$1$", rest),
            "5" => sha_crypt(rest, 43).map(Self::Sha256Crypt),
            "6" => sha_crypt(rest, 86).map(Self::Sha512Crypt),
            _ => Err(HashError::UnknownKind),
        }
    }

    /// The hash as it may be written.
    pub fn to_text(&self) -> String {
        let sha_crypt =
            |kind, ShaCrypt { rounds, salt, digest }: &ShaCrypt| format!("${kind}$rounds={rounds}${salt}${digest}");
        match self {
            Self::Bcrypt(text) => text.to_string(),
            Self::Md5 { magic, salt, digest } => format!("{magic}{salt}${digest}"),
            Self::Sha1(digest) => format!("{{SHA}}{digest}"),
            Self::Sha256Crypt(parts) => sha_crypt(5, parts),
            Self::Sha512Crypt(parts) => sha_crypt(6, parts),
        }
    }
}

impl fmt::Debug for PasswordHash {
    /// Only of which kind it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "bcrypt",
            Self::Md5 { .. } => "md5",
            Self::Sha1(_) => "sha1",
            Self::Sha256Crypt(_) => "sha256-crypt",
            Self::Sha512Crypt(_) => "sha512-crypt",
        })
    }
}

/// `05$` and 22 characters of salt and 31 of digest.
fn bcrypt(text: &str, rest: &str) -> Result<PasswordHash, HashError> {
    let (cost, digest) = rest.split_once('$').ok_or(HashError::Malformed)?;
    let cost: u32 = number(cost).filter(|_| cost.len() == 2).ok_or(HashError::Malformed)?;
    if digest.len() != 53 || !digest.bytes().all(is_crypt) || cost < 4 {
        return Err(HashError::Malformed);
    }
    if cost > BCRYPT_COST {
        return Err(HashError::TooCostly);
    }
    Ok(PasswordHash::Bcrypt(text.into()))
}

fn md5(magic: &'static str, rest: &str) -> Result<PasswordHash, HashError> {
    let (salt, digest) = rest.split_once('$').ok_or(HashError::Malformed)?;
    if salt.is_empty() || salt.len() > 8 || digest.len() != 22 || !(salt.bytes().chain(digest.bytes())).all(is_crypt) {
        return Err(HashError::Malformed);
    }
    Ok(PasswordHash::Md5 { magic, salt: salt.into(), digest: digest.into() })
}

fn sha_crypt(rest: &str, length: usize) -> Result<ShaCrypt, HashError> {
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or(HashError::Malformed)?;
            // Fewer than a thousand count as a thousand, in crypt(3) and so in what it wrote.
            (number(rounds).ok_or(HashError::Malformed)?.max(1000), rest)
        }
        None => (5000, rest),
    };
    let (salt, digest) = rest.split_once('$').ok_or(HashError::Malformed)?;
    if salt.is_empty()
        || salt.len() > 16
        || digest.len() != length
        || !(salt.bytes().chain(digest.bytes())).all(is_crypt)
    {
        return Err(HashError::Malformed);
    }
    if rounds > ROUNDS {
        return Err(HashError::TooCostly);
    }
    Ok(ShaCrypt { rounds, salt: salt.into(), digest: digest.into() })
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The alphabet of crypt(3).
fn is_crypt(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/'
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The largest cost of bcrypt: about a second.
const BCRYPT_COST: u32 = 14;
/// The most rounds of sha-crypt: less than a second for a password of usual length.
const ROUNDS: u32 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_whole_or_not_at_all() {
        let bcrypt = |cost: &str| format!("$2y${cost}${}", "a".repeat(53));
        let (d22, d43, d86) = ("a".repeat(22), "a".repeat(43), "a".repeat(86));
        use HashError::{Malformed, TooCostly, UnknownKind};
        for (text, expected) in [
            (bcrypt("05"), Ok("bcrypt")),
            (bcrypt("14").replace("2y", "2a"), Ok("bcrypt")),
            (bcrypt("15"), Err(TooCostly)),
            (bcrypt("31"), Err(TooCostly)),
            (bcrypt("03"), Err(Malformed)),
            (bcrypt("5"), Err(Malformed)),
            (bcrypt("+5"), Err(Malformed)),
            (bcrypt("05") + "a", Err(Malformed)),
            (bcrypt("05").replace("2y", "2z"), Err(UnknownKind)),
            (format!("$apr1$salt${d22}"), Ok("md5")),
            (format!("$1$salt${d22}"), Ok("md5")),
            (format!("$apr1$$${d22}"), Err(Malformed)),
            (format!("$apr1$123456789${d22}"), Err(Malformed)),
            (format!("$apr1$salt${d22}a"), Err(Malformed)),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(), Ok("sha1")),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g".into(), Err(Malformed)),
            (format!("{{SHA}}{}\u{e9}=", "a".repeat(25)), Err(Malformed)),
            ("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(), Err(UnknownKind)),
            (format!("$5$salt${d43}"), Ok("sha256-crypt")),
            (format!("$6$rounds=10000$salt${d86}"), Ok("sha512-crypt")),
            (format!("$6$rounds=500001$salt${d86}"), Err(TooCostly)),
            (format!("$6$rounds=99999999999999999999$salt${d86}"), Err(Malformed)),
            (format!("$6$salt${d43}"), Err(Malformed)),
            ("$6$".into(), Err(Malformed)),
            ("$7$a$b".into(), Err(UnknownKind)),
            ("rqXexS6ZhobKA".into(), Err(UnknownKind)),
            (String::new(), Err(UnknownKind)),
        ] {
            let parsed = PasswordHash::parse(&text).map(|hash| format!("{hash:?}"));
            assert_eq!(parsed, expected.map(ToOwned::to_owned), "{text}");
        }
    }
}
