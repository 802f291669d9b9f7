//! As much of the Common Expression Language as the rules of a CustomResourceDefinition need here: a rule and the value of
//! `self` flow in, true or false flows out. What it does not know, it refuses to judge.

use serde_json::{Value, json};

/// Whether `self`, which replaces `oldSelf`, keeps a rule. One about the object before holds where there is none.
///
/// # Errors
/// With what is not understood.
pub(crate) fn holds(rule: &str, this: &Value, old: Option<&Value>) -> Result<bool, String> {
    let Some(old) = old.or_else(|| (!rule.contains("oldSelf")).then_some(&Value::Null)) else { return Ok(true) };
    let mut parser = Parser { rest: rule, this, old };
    let value = parser.choice()?;
    if !parser.rest.trim().is_empty() {
        return Err(format!("{rule}: {:?}", parser.rest));
    }
    value.as_bool().ok_or_else(|| format!("{rule} is no condition"))
}

/// Every part is evaluated, also where the language would not look at it: a field that is absent is null.
struct Parser<'r> {
    rest: &'r str,
    this: &'r Value,
    old: &'r Value,
}

impl Parser<'_> {
    fn takes(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn needs(&mut self, token: &str) -> Result<(), String> {
        if self.takes(token) { Ok(()) } else { Err(format!("{token:?} is missing before {:?}", self.rest)) }
    }

    fn choice(&mut self) -> Result<Value, String> {
        let condition = self.either()?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let yes = self.choice()?;
        self.needs(":")?;
        let no = self.choice()?;
        Ok(if condition == json!(true) { yes } else { no })
    }

    fn either(&mut self) -> Result<Value, String> {
        let mut value = self.both()?;
        while self.takes("||") {
            let other = self.both()?;
            value = json!(value == json!(true) || other == json!(true));
        }
        Ok(value)
    }

    fn both(&mut self) -> Result<Value, String> {
        let mut value = self.comparison()?;
        while self.takes("&&") {
            let other = self.comparison()?;
            value = json!(value == json!(true) && other == json!(true));
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Value, String> {
        let value = self.part()?;
        if self.takes("==") {
            return Ok(json!(value == self.part()?));
        }
        if self.takes("!=") {
            return Ok(json!(value != self.part()?));
        }
        if self.takes("in ") {
            let list = self.part()?;
            return Ok(json!(list.as_array().is_some_and(|list| list.contains(&value))));
        }
        Ok(value)
    }

    fn part(&mut self) -> Result<Value, String> {
        if self.takes("!") {
            return Ok(json!(self.part()? != json!(true)));
        }
        if self.takes("(") {
            let value = self.choice()?;
            self.needs(")")?;
            return Ok(value);
        }
        if self.takes("has(") {
            let value = self.part()?;
            self.needs(")")?;
            return Ok(json!(!value.is_null()));
        }
        if self.takes("[") {
            let mut list = vec![self.part()?];
            while self.takes(",") {
                list.push(self.part()?);
            }
            self.needs("]")?;
            return Ok(Value::Array(list));
        }
        if self.takes("'") {
            let (text, rest) = self.rest.split_once('\'').ok_or("a text does not end")?;
            self.rest = rest;
            return Ok(json!(text));
        }
        if self.takes("oldSelf") {
            return self.below(self.old.clone());
        }
        self.needs("self")?;
        self.below(self.this.clone())
    }

    /// What the fields and functions after a value make of it.
    fn below(&mut self, mut value: Value) -> Result<Value, String> {
        while let Some(rest) = self.rest.strip_prefix('.') {
            let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
            let name = &rest[..end];
            self.rest = &rest[end..];
            value = match name {
                "lowerAscii" => {
                    self.needs("()")?;
                    json!(value.as_str().unwrap_or_default().to_ascii_lowercase())
                }
                name => value.get(name).cloned().unwrap_or_default(),
            };
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_the_language_has_them() {
        let this = json!({ "a": "x", "b": { "c": "Y" } });
        for (rule, expected) in [
            ("self.a == 'x'", true),
            ("self.a != 'x' || has(self.b)", true),
            ("!(has(self.a) && has(self.d))", true),
            ("has(self.d) ? self.a == 'x' : self.b.c.lowerAscii() in ['z', 'y']", true),
            ("!has(self.a)", false),
            ("self.a in ['z']", false),
        ] {
            assert_eq!(holds(rule, &this, None), Ok(expected), "{rule}");
        }
        let old = json!({ "a": "y" });
        assert_eq!(holds("self.a == oldSelf.a", &this, Some(&old)), Ok(false));
        assert_eq!(holds("self.a == oldSelf.a", &this, None), Ok(true), "nothing was there before");
        assert!(holds("self.all(x, x > 1)", &this, None).is_err());
    }
}
