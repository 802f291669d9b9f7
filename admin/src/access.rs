//! Who may read the pages of the admin port: the `Authorization` of a request flows in, a verdict flows out. A name with a
//! password (RFC 7617), or a token (RFC 6750) that the cluster is asked about; where neither is set up, whoever is on the same machine, and
//! everybody only where the operator says so. What cannot be decided lets nobody in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// What becomes of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// May read.
    Allowed,
    /// Showed nothing that is known.
    Unknown,
    /// Is known and may not read.
    Forbidden,
    /// Comes from another machine, where nothing says who may read from there.
    Elsewhere,
    /// Cannot be decided now.
    Undecided,
}

/// Asks the cluster about a token.
#[derive(Clone)]
pub(crate) struct TokenReview(Arc<Ask>);

type Ask = dyn Fn(String) -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync;

impl TokenReview {
    /// Asks by `ask`: whether the user of a token may read, or `None` for an unknown token. An error means that the question
    /// cannot be decided now, and is logged.
    pub(crate) fn new<F, A, E>(ask: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Option<bool>, E>> + Send + 'static,
        E: fmt::Display,
    {
        Self(Arc::new(move |token| {
            let asked = ask(token);
            Box::pin(async move {
                match asked.await {
                    Ok(Some(true)) => Verdict::Allowed,
                    Ok(Some(false)) => Verdict::Forbidden,
                    Ok(None) => Verdict::Unknown,
                    Err(error) => {
                        tracing::warn!(%error, "a token shown at the admin port cannot be checked; it lets nobody in");
                        Verdict::Undecided
                    }
                }
            })
        }))
    }
}

/// A name and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) name: Secret,
    pub(crate) password: Secret,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Text(Box<str>),
    File(PathBuf),
}

impl Secret {
    /// The text as it is now. A line feed at the end of a file is not part of it.
    pub(crate) fn read(&self) -> io::Result<String> {
        match self {
            Self::Text(text) => Ok(text.to_string()),
            Self::File(path) => {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                let text = std::fs::read_to_string(path).map_err(named)?;
                let text = text.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    return Err(named(io::Error::new(io::ErrorKind::InvalidData, "is empty")));
                }
                Ok(text.to_owned())
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The rules of one admin port.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tokens: Option<TokenReview>,
    /// Whether those of other machines need no credentials either, where there are none.
    open: bool,
    known: Mutex<HashMap<String, (Instant, Verdict)>>,
}

impl Access {
    pub(crate) fn new(credentials: Option<Credentials>, tokens: Option<TokenReview>, open: bool) -> Self {
        Self { credentials, tokens, open, known: Mutex::default() }
    }

    /// Whether anybody may read, from wherever.
    pub(crate) fn is_open(&self) -> bool {
        self.open && !self.asks()
    }

    /// Whether credentials are asked for.
    fn asks(&self) -> bool {
        self.credentials.is_some() || self.tokens.is_some()
    }

    /// Decides on a reader who shows this `Authorization`. `here` says that it is on the same machine.
    pub(crate) async fn decide(&self, shown: Option<&HeaderValue>, here: bool) -> Verdict {
        if !self.asks() {
            return if here || self.open { Verdict::Allowed } else { Verdict::Elsewhere };
        }
        let shown = shown.and_then(|shown| shown.to_str().ok()).unwrap_or_default();
        let (scheme, value) = shown.split_once(' ').unwrap_or_default();
        let value = value.trim();
        match (&self.credentials, &self.tokens) {
            (Some(credentials), _) if scheme.eq_ignore_ascii_case("Basic") => basic(credentials.clone(), value).await,
            (_, Some(review)) if scheme.eq_ignore_ascii_case("Bearer") && is_token(value) => {
                self.token(review, value).await
            }
            _ => Verdict::Unknown,
        }
    }

    /// What a reader is told to show.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let basic = self.credentials.as_ref().map(|_| r#"Basic realm="nearside", charset="UTF-8""#);
        let bearer = self.tokens.as_ref().map(|_| r#"Bearer realm="nearside""#);
        [basic, bearer].into_iter().flatten().map(HeaderValue::from_static)
    }

    /// A verdict is kept for a while, so that a scraper does not cost the API server two requests each time.
    async fn token(&self, review: &TokenReview, token: &str) -> Verdict {
        let now = Instant::now();
        let fresh = |since: &Instant| now.duration_since(*since) < TOKEN_KNOWN;
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, verdict)) = known.get(token).filter(|(since, _)| fresh(since)) {
                return *verdict;
            }
        }
        let verdict = review.0(token.to_owned()).await;
        if verdict != Verdict::Undecided {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, (since, _)| fresh(since));
            if known.len() < TOKENS_KNOWN {
                known.insert(token.to_owned(), (now, verdict));
            }
        }
        verdict
    }
}

/// Compares in a time that does not tell how much of it was right.
async fn basic(credentials: Credentials, value: &str) -> Verdict {
    let Some(shown) = STANDARD.decode(value).ok().and_then(|shown| String::from_utf8(shown).ok()) else {
        return Verdict::Unknown;
    };
    let compared = tokio::task::spawn_blocking(move || {
        let (name, password) = (credentials.name.read()?, credentials.password.read()?);
        let expected = format!("{name}:{password}");
        io::Result::Ok(bool::from(expected.as_bytes().ct_eq(shown.as_bytes())))
    });
    match compared.await {
        Ok(Ok(true)) => Verdict::Allowed,
        Ok(Ok(false)) => Verdict::Unknown,
        Ok(Err(error)) => {
            tracing::error!(%error, "the credentials of the admin port cannot be read; nobody is let in");
            Verdict::Undecided
        }
        Err(_) => Verdict::Undecided,
    }
}

/// RFC 6750 §2.1, of a bounded length.
fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !text.is_empty() && text.len() <= TOKEN_LENGTH && text.bytes().all(known)
}

/// For how long a verdict on a token holds.
const TOKEN_KNOWN: Duration = Duration::from_secs(60);
/// Tokens whose verdicts are kept.
const TOKENS_KNOWN: usize = 128;
/// Bytes of a token.
const TOKEN_LENGTH: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { name: Secret::Text(name.into()), password: Secret::Text(password.into()) }
    }

    async fn decide(access: &Access, shown: &str) -> Verdict {
        access.decide(Some(&HeaderValue::from_str(shown).unwrap()), true).await
    }

    #[tokio::test]
    async fn a_name_is_known_by_its_password_alone() {
        let access = Access::new(Some(credentials("reader", "s:ecret")), None, true);
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (shown, expected) in [
            (basic("reader:s:ecret"), Verdict::Allowed),
            (basic("reader:s:ecret").replace("Basic", "bAsIc"), Verdict::Allowed),
            (basic("reader:"), Verdict::Unknown),
            (basic("reader:s:ecret2"), Verdict::Unknown),
            (basic("reader"), Verdict::Unknown),
            (basic(""), Verdict::Unknown),
            ("Basic".into(), Verdict::Unknown),
            ("Basic ***".into(), Verdict::Unknown),
            ("Bearer reader:s:ecret".into(), Verdict::Unknown),
        ] {
            assert_eq!(decide(&access, &shown).await, expected, "{shown}");
        }
        assert_eq!(access.decide(None, true).await, Verdict::Unknown, "wherever it comes from, and however open it is");
        for (open, here, expected) in [
            (false, true, Verdict::Allowed),
            (false, false, Verdict::Elsewhere),
            (true, true, Verdict::Allowed),
            (true, false, Verdict::Allowed),
        ] {
            assert_eq!(Access::new(None, None, open).decide(None, here).await, expected);
        }
    }

    #[tokio::test]
    async fn a_file_is_read_for_each_request_and_without_it_nobody_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "one\n").unwrap();
        let file = Credentials { name: Secret::Text("reader".into()), password: Secret::File(path.clone()) };
        let access = Access::new(Some(file), None, false);
        let shown = |password: &str| format!("Basic {}", STANDARD.encode(format!("reader:{password}")));
        assert_eq!(decide(&access, &shown("one")).await, Verdict::Allowed);
        std::fs::write(&path, "two").unwrap();
        assert_eq!(decide(&access, &shown("one")).await, Verdict::Unknown);
        assert_eq!(decide(&access, &shown("two")).await, Verdict::Allowed);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(decide(&access, &shown("")).await, Verdict::Undecided, "an empty password is none");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(decide(&access, &shown("two")).await, Verdict::Undecided);
    }

    #[tokio::test]
    async fn a_token_is_asked_about_once_and_only_if_it_can_be_one() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let review = TokenReview::new(move |token| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                match &*token {
                    "good" => Ok(Some(true)),
                    "away" => Err("no answer"),
                    _ => Ok(Some(false)),
                }
            }
        });
        let access = Access::new(None, Some(review), false);
        for _ in 0..3 {
            assert_eq!(decide(&access, "Bearer good").await, Verdict::Allowed);
            assert_eq!(decide(&access, "Bearer other").await, Verdict::Forbidden);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        for _ in 0..2 {
            assert_eq!(decide(&access, "Bearer away").await, Verdict::Undecided, "asked again, for it may be back");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        for shown in ["Bearer", "Bearer ", "Bearer a b", "Bearer {\"a\":1}", &format!("Bearer {}", "a".repeat(9000))] {
            assert_eq!(decide(&access, shown).await, Verdict::Unknown);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }
}
