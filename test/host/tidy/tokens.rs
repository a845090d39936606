//! A tokenizer for the tidy rules: divides source text into words and signs.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// An identifier, a keyword or a number.
    Word(&'t str),
    /// `::`, `->` or `=>`, otherwise one character.
    Sign(&'t str),
}

impl<'t> Token<'t> {
    pub(super) fn word(self) -> Option<&'t str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Sign(_) => None,
        }
    }

    pub(super) fn is(self, text: &str) -> bool {
        matches!(self, Token::Word(own) | Token::Sign(own) if own == text)
    }
}

/// The tokens of code whose comments and strings are already removed.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let (mut found, mut rest) = (Vec::new(), code);
    while let Some(first) = rest.chars().next() {
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_of_word(first) {
            rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") || rest.starts_with("->") || rest.starts_with("=>") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        if is_of_word(first) {
            found.push(Token::Word(text));
        } else if !first.is_whitespace() {
            found.push(Token::Sign(text));
        }
        rest = after;
    }
    found
}

/// The index of the bracket that closes the one at `open`.
pub(super) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{", "<"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}", ">"].iter().any(|sign| token.is(sign)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at;
            }
        }
    }
    tokens.len()
}
