//! As much of the Common Expression Language as the rules of a CustomResourceDefinition need here: a rule and the value of
//! `self` flow in, true or false flows out. What it does not know, it refuses to judge.

use serde_json::{Value, json};

/// Whether `self` keeps a rule.
pub(crate) fn holds(rule: &str, this: &Value) -> bool {
    let mut parser = Parser { rest: rule, this };
    let value = parser.choice();
    assert!(parser.rest.trim().is_empty(), "{rule}: {:?} is not understood", parser.rest);
    value.as_bool().unwrap_or_else(|| panic!("{rule} is no condition"))
}

/// Every part is evaluated, also where the language would not look at it: a field that is absent is null.
struct Parser<'r> {
    rest: &'r str,
    this: &'r Value,
}

impl<'r> Parser<'r> {
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

    fn needs(&mut self, token: &str) {
        assert!(self.takes(token), "{token:?} is missing before {:?}", self.rest);
    }

    fn choice(&mut self) -> Value {
        let condition = self.either();
        if !self.takes("?") {
            return condition;
        }
        let yes = self.choice();
        self.needs(":");
        let no = self.choice();
        if condition == json!(true) { yes } else { no }
    }

    fn either(&mut self) -> Value {
        let mut value = self.both();
        while self.takes("||") {
            let other = self.both();
            value = json!(value == json!(true) || other == json!(true));
        }
        value
    }

    fn both(&mut self) -> Value {
        let mut value = self.comparison();
        while self.takes("&&") {
            let other = self.comparison();
            value = json!(value == json!(true) && other == json!(true));
        }
        value
    }

    fn comparison(&mut self) -> Value {
        let value = self.part();
        if self.takes("==") {
            return json!(value == self.part());
        }
        if self.takes("!=") {
            return json!(value != self.part());
        }
        if self.takes("in ") {
            let list = self.part();
            return json!(list.as_array().unwrap().contains(&value));
        }
        value
    }

    fn part(&mut self) -> Value {
        if self.takes("!") {
            return json!(self.part() != json!(true));
        }
        if self.takes("(") {
            let value = self.choice();
            self.needs(")");
            return value;
        }
        if self.takes("has(") {
            let value = self.part();
            self.needs(")");
            return json!(!value.is_null());
        }
        if self.takes("[") {
            let mut list = vec![self.part()];
            while self.takes(",") {
                list.push(self.part());
            }
            self.needs("]");
            return Value::Array(list);
        }
        if self.takes("'") {
            let (text, rest) = self.rest.split_once('\'').unwrap();
            self.rest = rest;
            return json!(text);
        }
        self.needs("self");
        let mut value = self.this.clone();
        while self.rest.starts_with('.') {
            let end =
                self.rest[1..].find(|letter: char| !letter.is_alphanumeric()).map_or(self.rest.len(), |end| end + 1);
            let (name, rest) = (&self.rest[1..end], &self.rest[end..]);
            self.rest = rest;
            value = match name {
                "lowerAscii" => {
                    self.needs("()");
                    json!(value.as_str().unwrap().to_ascii_lowercase())
                }
                name => value.get(name).cloned().unwrap_or_default(),
            };
        }
        value
    }
}

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
        assert_eq!(holds(rule, &this), expected, "{rule}");
    }
}
