//! Finds, in the text of a request, where an INSERT ends and its data begins.
//!
//! Pure functions over outside bytes. They follow the rules of ClickHouse's own `ParserInsertQuery`
//! for the part they read, and leave all judgement of the SQL to the engine.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// What a request asks for, as far as this side must know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// An INSERT whose data follows the text.
    Insert(Insert),
    /// Anything else, run as it is.
    Query {
        /// The name after the last FORMAT, if one is given.
        format: Option<String>,
    },
    /// Not allowed over HTTP: it would read or write the server's own files.
    Forbidden(Forbidden),
}

/// Why a statement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forbidden {
    /// `INTO OUTFILE`
    IntoOutfile,
    /// `FROM INFILE`
    FromInfile,
    /// `SYSTEM SHUTDOWN` or `SYSTEM KILL`, which would end the host process.
    Shutdown,
}

/// An INSERT statement taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Insert {
    /// The statement without FORMAT and data.
    pub(super) head: Vec<u8>,
    /// The input format; `None` when the text names none.
    pub(super) format: Option<String>,
    /// Offset of the first byte of data in the text.
    pub(super) data: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    Open,
    Close,
    Dot,
    Semicolon,
    Other,
}

impl Token<'_> {
    fn is(self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

/// Splits the text of a request.
pub(super) fn split(text: &[u8]) -> Statement {
    let mut lexer = Lexer { text, at: 0 };
    let first = lexer.next();
    if first.is_some_and(|token| token.is("INSERT")) {
        return split_insert(lexer);
    }
    if first.is_some_and(|token| token.is("SYSTEM")) {
        let second = lexer.next();
        if second.is_some_and(|token| token.is("SHUTDOWN") || token.is("KILL")) {
            return Statement::Forbidden(Forbidden::Shutdown);
        }
    }
    scan_query(Lexer { text, at: 0 })
}

/// Whether a text holds no statement: blanks and comments only.
pub(super) fn is_blank(text: &[u8]) -> bool {
    Lexer { text, at: 0 }.next().is_none()
}

/// Whether a statement begins with `keyword`.
pub(super) fn first_word_is(text: &[u8], keyword: &str) -> bool {
    Lexer { text, at: 0 }.next().is_some_and(|token| token.is(keyword))
}

fn scan_query(mut lexer: Lexer<'_>) -> Statement {
    let (mut format, mut depth, mut previous) = (None, 0_usize, Token::Other);
    let mut settings = false;
    while let Some(token) = lexer.next() {
        match token {
            Token::Open => depth = depth.saturating_add(1),
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 => {
                if previous.is("INTO") && token.is("OUTFILE") {
                    return Statement::Forbidden(Forbidden::IntoOutfile);
                }
                if previous.is("FROM") && token.is("INFILE") {
                    return Statement::Forbidden(Forbidden::FromInfile);
                }
                if previous.is("FORMAT") && format.is_none() && !token.is("SETTINGS") {
                    format = Some(String::from_utf8_lossy(word).into_owned());
                } else if token.is("SETTINGS") {
                    settings = true;
                } else if !settings {
                    // Not at the end, so `format` was a name.
                    format = None;
                }
            }
            Token::Dot | Token::Other if depth == 0 && !settings => format = None,
            _ => {}
        }
        previous = token;
    }
    Statement::Query { format }
}

/// Reads on after the word INSERT.
fn split_insert(mut lexer: Lexer<'_>) -> Statement {
    let whole = lexer.text;
    let mut target_seen = false;
    let mut previous = Token::Other;
    loop {
        let start = lexer.skip_blank();
        let Some(token) = lexer.next() else {
            return Statement::Insert(Insert { head: whole.to_vec(), format: None, data: whole.len() });
        };
        // The name of the table may be any word, `format` and `values` included.
        let is_name = !target_seen || previous == Token::Dot;
        match token {
            Token::Open => {
                if target_seen && lexer.peek().is_some_and(|next| next.is("SELECT") || next.is("WITH")) {
                    return scan_query(lexer);
                }
                lexer.skip_group();
            }
            Token::Word(_) if is_name => {
                let noise = token.is("INTO") || token.is("TABLE") || token.is("FUNCTION");
                target_seen = target_seen || !noise || lexer.ends_name();
            }
            Token::Other if is_name => target_seen = true,
            _ if token.is("SELECT") || token.is("WITH") || token.is("WATCH") => return scan_query(lexer),
            _ if token.is("VALUES") => return values(whole, start, lexer.at),
            _ if token.is("FORMAT") => return formatted(whole, start, lexer),
            _ if token.is("INFILE") && previous.is("FROM") => {
                return Statement::Forbidden(Forbidden::FromInfile);
            }
            Token::Semicolon => {
                let head = whole.get(..start).unwrap_or_default().to_vec();
                return Statement::Insert(Insert { head, format: None, data: whole.len() });
            }
            _ => {}
        }
        previous = token;
    }
}

fn values(text: &[u8], keyword: usize, data: usize) -> Statement {
    let head = text.get(..keyword).unwrap_or_default().to_vec();
    Statement::Insert(Insert { head, format: Some("Values".into()), data })
}

/// `FORMAT name [SETTINGS …]`, then blanks and one line end, then the data.
fn formatted(text: &[u8], keyword: usize, mut lexer: Lexer<'_>) -> Statement {
    let mut head = text.get(..keyword).unwrap_or_default().to_vec();
    let name = match lexer.next() {
        Some(Token::Word(name)) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    };
    // Settings may stand after the format too; the engine reads them as settings, never as data.
    let after_name = lexer.at;
    let mut ahead = Lexer { text, at: after_name };
    if ahead.next().is_some_and(|token| token.is("SETTINGS")) {
        lexer.at = ahead.end_of_settings();
        head.extend_from_slice(text.get(after_name..lexer.at).unwrap_or_default());
    }
    let mut data = lexer.at;
    while matches!(text.get(data), Some(b' ' | b'\t' | 0x0c)) {
        data = data.saturating_add(1);
    }
    if text.get(data) == Some(&b';') {
        return Statement::Insert(Insert { head, format: name, data: text.len() });
    }
    if text.get(data) == Some(&b'\r') && text.get(data.saturating_add(1)) == Some(&b'\n') {
        data = data.saturating_add(1);
    }
    if text.get(data) == Some(&b'\n') {
        data = data.saturating_add(1);
    }
    Statement::Insert(Insert { head, format: name, data })
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.text.len());
    }

    /// Moves over blanks and comments; gives the offset of what follows.
    fn skip_blank(&mut self) -> usize {
        loop {
            let rest = self.rest();
            let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count();
            if blanks > 0 {
                self.advance(blanks);
            } else if rest.starts_with(b"--") || rest.starts_with(b"#!") || rest.starts_with(b"# ") {
                self.advance(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
            } else if let Some(comment) = rest.strip_prefix(b"/*") {
                let end = comment.windows(2).position(|pair| pair == b"*/");
                self.advance(end.map_or(rest.len(), |end| end.saturating_add(4)));
            } else {
                return self.at;
            }
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let rest = self.rest();
        let first = *rest.first()?;
        let (bytes, token) = match first {
            b'(' => (1, Token::Open),
            b')' => (1, Token::Close),
            b'.' => (1, Token::Dot),
            b';' => (1, Token::Semicolon),
            b'\'' | b'"' | b'`' => (quoted(rest, first), Token::Other),
            b'$' => (heredoc(rest).unwrap_or(1), Token::Other),
            _ => {
                let bytes = rest.iter().take_while(|byte| is_word(**byte)).count();
                let word = rest.get(..bytes).unwrap_or_default();
                match bytes {
                    0 => (1, Token::Other),
                    _ if first.is_ascii_digit() => (bytes, Token::Other),
                    _ => (bytes, Token::Word(word)),
                }
            }
        };
        self.advance(bytes);
        Some(token)
    }

    fn peek(&self) -> Option<Token<'a>> {
        Lexer { text: self.text, at: self.at }.next()
    }

    /// Moves behind the parenthesis that closes the one just read.
    fn skip_group(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next() {
                Some(Token::Open) => depth = depth.saturating_add(1),
                Some(Token::Close) => depth = depth.saturating_sub(1),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Whether the word just read must be the table's name, since no name follows it.
    fn ends_name(&self) -> bool {
        matches!(self.peek(), None | Some(Token::Dot | Token::Semicolon | Token::Open | Token::Close))
    }

    /// Reads `name = value, …` and gives the offset behind the last value.
    fn end_of_settings(&mut self) -> usize {
        loop {
            let (_name, _equals, _value) = (self.next(), self.next(), self.next());
            let end = self.at;
            self.skip_blank();
            if self.rest().first() != Some(&b',') {
                return end;
            }
            self.advance(1);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

/// Length of a quoted piece with backslash escapes and doubled quotes; up to the end if unclosed.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1_usize;
    loop {
        match text.get(at) {
            None => return text.len(),
            Some(b'\\') => at = at.saturating_add(2),
            Some(byte) if *byte == quote => {
                at = at.saturating_add(1);
                if text.get(at) != Some(&quote) {
                    return at;
                }
                at = at.saturating_add(1);
            }
            Some(_) => at = at.saturating_add(1),
        }
    }
}

/// Length of `$tag$ … $tag$`; `None` when the text starts no such piece.
fn heredoc(text: &[u8]) -> Option<usize> {
    let tag = text.iter().skip(1).position(|byte| *byte == b'$')?.saturating_add(2);
    let open = text.get(..tag)?;
    if !open.iter().all(|byte| is_word(*byte)) {
        return None;
    }
    let body = text.get(tag..)?;
    let close = body.windows(tag).position(|piece| piece == open)?;
    Some(tag.saturating_add(close).saturating_add(tag))
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
