//! Blanks comments and the contents of literals in Rust, so that the rules match code alone.

/// The text with each such character replaced by a space; every newline stays where it was.
pub(super) fn blank(text: &str) -> String {
    let mut blanker = Blanker { rest: text, code: String::with_capacity(text.len()) };
    while let Some(letter) = blanker.rest.chars().next() {
        blanker.step(letter);
    }
    blanker.code
}

struct Blanker<'a> {
    rest: &'a str,
    code: String,
}

impl Blanker<'_> {
    fn step(&mut self, letter: char) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.hide(end);
        } else if self.rest.starts_with("/*") {
            let end = block_comment_end(self.rest);
            self.hide(end);
        } else if let Some(end) = self.raw_string_end() {
            self.hide(end);
        } else if letter == '"' {
            self.keep(1);
            let end = quoted_end(self.rest, '"');
            self.hide(end.saturating_sub(1));
            self.keep(1);
        } else if letter == '\'' {
            self.quote();
        } else {
            self.keep(letter.len_utf8());
        }
    }

    /// A character literal, or the start of a lifetime.
    fn quote(&mut self) {
        let mut letters = self.rest.chars().skip(1);
        let is_literal = matches!((letters.next(), letters.next()), (Some('\\'), _) | (Some(_), Some('\'')));
        self.keep(1);
        if is_literal {
            let end = quoted_end(self.rest, '\'');
            self.hide(end.saturating_sub(1));
            self.keep(1);
        }
    }

    /// Where the raw string that starts here ends, if one starts here.
    fn raw_string_end(&self) -> Option<usize> {
        let previous = self.code.chars().next_back();
        if previous.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            return None;
        }
        let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
            let after = self.rest.strip_prefix(prefix);
            after.is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
        })?;
        let after = self.rest.strip_prefix(prefix)?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        let close = format!("\"{}", "#".repeat(hashes));
        let start = prefix.len() + hashes + 1;
        let body = self.rest.get(start..)?;
        let length = body.find(&close).unwrap_or(body.len());
        Some((start + length + close.len()).min(self.rest.len()))
    }

    fn keep(&mut self, bytes: usize) {
        let (kept, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.code.push_str(kept);
        self.rest = rest;
    }

    fn hide(&mut self, bytes: usize) {
        let (hidden, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        let blanks = hidden.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' });
        self.code.extend(blanks);
        self.rest = rest;
    }
}

/// Past the closing quote of a literal whose opening quote has been passed.
fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Past the end of a block comment; they nest.
fn block_comment_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        match (letter, next) {
            ('/', Some('*')) => {
                depth += 1;
                letters.next();
            }
            ('*', Some('/')) => {
                depth = depth.saturating_sub(1);
                letters.next();
                if depth == 0 {
                    return at + 2;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let cases = [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("un\"safe", 1)"#, "f(\"        \", 1)"),
            ("f('{', '\\'', 'a: &'b)", "f(' ', '  ', 'a: &'b)"),
            ("let x = r#\"a \" b\"# + 1", "let x =            + 1"),
            ("for r in 0..1", "for r in 0..1"),
            ("br\"{\"", "     "),
            ("é\"é\"", "é\" \""),
        ];
        for (text, expected) in cases {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn an_open_literal_ends_with_the_file() {
        assert_eq!(blank("\"abc\nfn"), "\"   \n n");
    }
}
