//! What of a text may be shown: what an object or a server says flows in, the same without what steers a terminal or the direction of
//! writing flows out. Used by commands, and by pages through `html`.

/// A text as it may stand on a terminal: characters of objects that steer one, or the direction of writing, must not reach it.
pub fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_an_object_says_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r\u{202e}"), "a\u{fffd}[2Jb\nc\u{fffd}\u{fffd}");
    }
}
