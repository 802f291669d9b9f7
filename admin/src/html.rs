//! HTML that cannot be broken by what objects say: markup comes from the source of the program alone, every text that is
//! not is escaped. Text flows in, HTML flows out. Used by the pages of the programs.

use crate::printable;

/// A page, or a part of one, on its way.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup as it stands in the program.
    pub fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of whatever origin, also within an attribute in double quotes.
    pub fn text(&mut self, text: &str) -> &mut Self {
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
    pub fn number(&mut self, number: usize) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// What another part holds.
    pub fn append(&mut self, part: Self) -> &mut Self {
        self.0.push_str(&part.0);
        self
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let mut html = Html::default();
        html.markup("<p title=\"").text("\"><script>'&\u{202e}").markup("\">");
        assert_eq!(html.finish(), "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\u{fffd}\">");
    }
}
