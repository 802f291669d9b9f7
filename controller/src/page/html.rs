//! HTML that cannot be broken by what objects say: markup comes from the source of the program alone, every text that is
//! not is escaped. Text flows in, HTML flows out.

use crate::output::printable;

/// A page, or a part of one, on its way.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup as it stands in the program.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of whatever origin, also within an attribute in double quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for letter in printable(text).chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter => self.0.push(letter),
            }
        }
        self
    }

    /// A number.
    pub(super) fn number(&mut self, number: usize) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// What another part holds.
    pub(super) fn append(&mut self, part: Self) -> &mut Self {
        self.0.push_str(&part.0);
        self
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A text as the value in a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The text that a value in a query stands for; what is no escape stays as it is.
pub(super) fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let escape = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, escape.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = more;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let mut html = Html::default();
        html.markup("<p title=\"").text("\"><script>'&\u{202e}").markup("\">");
        assert_eq!(html.finish(), "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\u{fffd}\">");
    }

    proptest! {
        #[test]
        fn a_value_comes_back_and_any_query_can_be_read(text in "\\PC{0,20}", any in "[%+0-9a-fA-F]{0,12}") {
            prop_assert_eq!(decoded(&encoded(&text)), text);
            decoded(&any);
        }
    }
}
