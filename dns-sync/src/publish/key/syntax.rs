//! Keys as BIND writes them: `key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`, with its comments. Text flows in, keys flow
//! out, or the line where something else was expected. Pure; called by `key`, and by whoever reads such a file once.

use super::KeyProblem;
use crate::limits::MAX_KEYS;
use crate::name::Name;
use crate::wire::tsig::{Key, UnknownAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// All keys of a text; one at least.
pub(super) fn clauses(text: &str) -> Result<Vec<Key>, KeyProblem> {
    let mut words = Words { words: words(text), at: 0 };
    let mut keys = Vec::new();
    while !words.is_at_end() {
        keys.push(clause(&mut words)?);
    }
    if (1..=MAX_KEYS).contains(&keys.len()) { Ok(keys) } else { Err(KeyProblem::Count(keys.len())) }
}

/// The octets of a secret in base64, blanks left aside.
pub(super) fn secret(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).ok().filter(|secret| !secret.is_empty())
}

fn clause(words: &mut Words<'_>) -> Result<Key, KeyProblem> {
    words.expect("key", "key")?;
    let line = words.line();
    let name: Name =
        words.text("the name of the key")?.parse().map_err(|problem| KeyProblem::Name { line, problem })?;
    words.expect("{", "{")?;
    let (mut algorithm, mut octets) = (None, None);
    while !words.is_next("}") {
        match words.text("algorithm, secret or }")? {
            "algorithm" => {
                let expected = "hmac-sha256, hmac-sha384 or hmac-sha512";
                let at = words.line();
                let found = words
                    .text(expected)?
                    .parse()
                    .map_err(|UnknownAlgorithm| KeyProblem::Syntax { line: at, expected })?;
                algorithm = Some(found);
            }
            "secret" => octets = Some(secret(words.text("the secret in base64")?).ok_or(KeyProblem::Secret)?),
            _ => return Err(words.before("algorithm, secret or }")),
        }
        words.expect(";", "; behind the value")?;
    }
    words.expect("}", "}")?;
    words.expect(";", "; behind the key")?;
    let algorithm = algorithm.ok_or(KeyProblem::Syntax { line, expected: "algorithm" })?;
    let octets = octets.ok_or(KeyProblem::Syntax { line, expected: "secret" })?;
    Key::new(name, algorithm, octets).ok_or(KeyProblem::Secret)
}

/// A word with its line; one in quotes is no punctuation, whatever it says.
struct Word<'t> {
    text: &'t str,
    line: usize,
    quoted: bool,
}

struct Words<'t> {
    words: Vec<Word<'t>>,
    at: usize,
}

impl<'t> Words<'t> {
    fn is_at_end(&self) -> bool {
        self.at >= self.words.len()
    }

    fn is_next(&self, text: &str) -> bool {
        self.words.get(self.at).is_some_and(|word| !word.quoted && word.text == text)
    }

    /// The line of the next word, or of the last one.
    fn line(&self) -> usize {
        self.words.get(self.at).or_else(|| self.words.last()).map_or(1, |word| word.line)
    }

    fn expect(&mut self, text: &str, expected: &'static str) -> Result<(), KeyProblem> {
        if !self.is_next(text) {
            return Err(KeyProblem::Syntax { line: self.line(), expected });
        }
        self.at += 1;
        Ok(())
    }

    /// The next word that is no punctuation.
    fn text(&mut self, expected: &'static str) -> Result<&'t str, KeyProblem> {
        let line = self.line();
        let word = self.words.get(self.at).filter(|word| word.quoted || !matches!(word.text, "{" | "}" | ";"));
        let text = word.ok_or(KeyProblem::Syntax { line, expected })?.text;
        self.at += 1;
        Ok(text)
    }

    /// The word before the next one is another than expected.
    fn before(&self, expected: &'static str) -> KeyProblem {
        let line = self.at.checked_sub(1).and_then(|at| self.words.get(at)).map_or(1, |word| word.line);
        KeyProblem::Syntax { line, expected }
    }
}

/// Cuts a text into words. An open quote or comment goes to the end.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, word) = match first {
            '#' => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), None),
            '"' => match rest[1..].find('"') {
                Some(end) => (end + 2, Some((&rest[1..=end], true))),
                None => (rest.len(), Some((&rest[1..], true))),
            },
            '{' | '}' | ';' => (1, Some((&rest[..1], false))),
            blank if blank.is_whitespace() => (blank.len_utf8(), None),
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"' | '#');
                let end = rest.find(ends).unwrap_or(rest.len());
                (end, Some((&rest[..end], false)))
            }
        };
        if let Some((text, quoted)) = word {
            words.push(Word { text, line, quoted });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    words
}
