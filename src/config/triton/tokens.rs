//! The words, numbers, texts and signs of protobuf's text format.

use super::tree::SyntaxError;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Integer(i128),
    Float(f64),
    /// One quoted text, escapes resolved; bytes, because neighbours are joined before they are
    /// UTF-8.
    Text(Vec<u8>),
    Sign(char),
    End,
}

impl Token {
    /// The token as a message shows it.
    pub fn describe(&self) -> String {
        match self {
            Token::Word(word) => word.clone(),
            Token::Integer(number) => number.to_string(),
            Token::Float(number) => number.to_string(),
            Token::Text(_) => "a quoted text".to_owned(),
            Token::Sign(sign) => format!("{sign:?}"),
            Token::End => "the end of the file".to_owned(),
        }
    }
}

/// Cuts a text into tokens.
pub(super) struct Tokens<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Tokens<'t> {
    pub fn new(text: &'t str) -> Tokens<'t> {
        // A byte order mark is not part of the text.
        Tokens { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
    }

    /// The line of what comes next.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next token; [`Token::End`] at the end, again and again.
    pub fn next(&mut self) -> Result<Token, SyntaxError> {
        self.skip_blanks();
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                Ok(Token::Word(word.to_owned()))
            }
            '0'..='9' => self.number(),
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            '"' | '\'' => self.text(first),
            ':' | '{' | '}' | '<' | '>' | '[' | ']' | ',' | ';' | '-' | '.' | '/' => {
                self.rest = &self.rest[1..];
                Ok(Token::Sign(first))
            }
            other => Err(self.error(format!("unexpected {other:?}"))),
        }
    }

    pub fn error(&self, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { line: Some(self.line), reason: reason.into() }
    }

    fn skip_blanks(&mut self) {
        loop {
            let blanks = self.take_while(char::is_whitespace);
            self.line += blanks.matches('\n').count();
            if !self.rest.starts_with('#') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// A number: decimal, octal, hexadecimal or a float, which may end in `f`.
    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.rest;
        let mut previous = ' ';
        let mut end = start.len();
        for (index, c) in start.char_indices() {
            // A sign belongs to the number only behind its exponent, which hexadecimal has not.
            let in_exponent = matches!(previous, 'e' | 'E') && !is_hexadecimal(start);
            let belongs = c.is_ascii_alphanumeric() || c == '.' || c == '_';
            let is_sign = matches!(c, '+' | '-');
            if !(belongs || in_exponent && is_sign) {
                end = index;
                break;
            }
            previous = c;
        }
        let (written, rest) = start.split_at(end);
        let token =
            integer(written).map(Token::Integer).or_else(|| float(written).map(Token::Float));
        let token = token.ok_or_else(|| self.error(format!("{written:?} is not a number")))?;
        self.rest = rest;
        Ok(token)
    }

    fn text(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let mut bytes = Vec::new();
        let mut characters = self.rest[1..].chars();
        loop {
            match characters.next() {
                None | Some('\n') => return Err(self.error("a quoted text does not end")),
                Some(c) if c == quote => break,
                Some('\\') => {
                    let rest = characters.as_str();
                    let length = escape(rest, &mut bytes).ok_or_else(|| {
                        let shown: String = rest.chars().take(1).collect();
                        self.error(format!("unknown escape \"\\{shown}\" in a quoted text"))
                    })?;
                    characters = rest[length..].chars();
                }
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        self.rest = characters.as_str();
        Ok(Token::Text(bytes))
    }
}

fn is_hexadecimal(written: &str) -> bool {
    written.starts_with("0x") || written.starts_with("0X")
}

fn integer(written: &str) -> Option<i128> {
    let number = if is_hexadecimal(written) {
        u64::from_str_radix(&written[2..], 16)
    } else if written.len() > 1 && written.starts_with('0') {
        u64::from_str_radix(&written[1..], 8)
    } else {
        written.parse()
    };
    number.ok().map(i128::from)
}

fn float(written: &str) -> Option<f64> {
    // `parse` takes words such as `infinity`; a number begins with a digit or a point.
    if is_hexadecimal(written) {
        return None;
    }
    written.strip_suffix(['f', 'F']).unwrap_or(written).parse().ok()
}

/// Resolves the escape behind a backslash; gives how many bytes of `rest` it took.
fn escape(rest: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let digits = |from: usize, most: usize, radix: u32| {
        let text = rest.get(from..)?;
        let end = text.find(|c: char| !c.is_digit(radix)).unwrap_or(text.len()).min(most);
        let value = u32::from_str_radix(&text[..end], radix).ok()?;
        Some((value, from + end))
    };
    let plain = match rest.chars().next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        other @ ('\\' | '\'' | '"' | '?') => other as u8,
        '0'..='7' => {
            let (value, length) = digits(0, 3, 8)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(length);
        }
        'x' | 'X' => {
            let (value, length) = digits(1, 2, 16)?;
            bytes.push(u8::try_from(value).ok()?);
            return Some(length);
        }
        wide @ ('u' | 'U') => {
            let most = if wide == 'u' { 4 } else { 8 };
            let (value, length) = digits(1, most, 16)?;
            if length != 1 + most {
                return None;
            }
            bytes.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).bytes());
            return Some(length);
        }
        _ => return None,
    };
    bytes.push(plain);
    Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, String> {
        let mut tokens = Tokens::new(text);
        let mut all = Vec::new();
        loop {
            match tokens.next() {
                Ok(Token::End) => return Ok(all),
                Ok(token) => all.push(token),
                Err(error) => return Err(format!("{}: {}", error.line.unwrap_or(0), error.reason)),
            }
        }
    }

    #[test]
    fn numbers_come_in_every_base() {
        let table = [
            ("0", Token::Integer(0)),
            ("42", Token::Integer(42)),
            ("017", Token::Integer(15)),
            ("0x1F", Token::Integer(31)),
            ("0xE", Token::Integer(14)),
            ("18446744073709551615", Token::Integer(i128::from(u64::MAX))),
            ("1.5", Token::Float(1.5)),
            (".5", Token::Float(0.5)),
            ("1e3", Token::Float(1000.0)),
            ("1E-2f", Token::Float(0.01)),
            ("10f", Token::Float(10.0)),
            ("5.", Token::Float(5.0)),
        ];
        for (text, expected) in table {
            assert_eq!(tokens(text), Ok(vec![expected]), "{text}");
        }
        for text in ["12abc", "0xg", "1.2.3", "089a", "1__2"] {
            assert!(tokens(text).is_err_and(|error| error.contains("is not a number")), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved() {
        let table: [(&str, &[u8]); 9] = [
            (r#""plain""#, b"plain"),
            (r#"'it''s'"#, b"it"),
            (r#""tab\tquote\"slash\\""#, b"tab\tquote\"slash\\"),
            (r#""\x41\101\60""#, b"AA0"),
            (r#""\u00e4\U0001F600""#, "ä😀".as_bytes()),
            (r#""\xff""#, &[0xff]),
            (r#""\a\b\f\v\?\'""#, &[7, 8, 12, 11, b'?', b'\'']),
            (r#""ä""#, "ä".as_bytes()),
            (r#""""#, b""),
        ];
        for (text, expected) in table {
            let first = tokens(text).expect("a text").into_iter().next();
            assert_eq!(first, Some(Token::Text(expected.to_vec())), "{text}");
        }
    }

    #[test]
    fn broken_texts_name_their_line() {
        let table = [
            ("a\n\"open", "2: a quoted text does not end"),
            ("\"line\nend\"", "1: a quoted text does not end"),
            (r#""\q""#, "1: unknown escape \"\\q\" in a quoted text"),
            (r#""\u12""#, "1: unknown escape \"\\u\" in a quoted text"),
            (r#""\777""#, "1: unknown escape \"\\7\" in a quoted text"),
            (r#""\"#, "1: unknown escape \"\\\" in a quoted text"),
            ("# comment\n\n  @", "3: unexpected '@'"),
            ("ü", "1: unexpected 'ü'"),
        ];
        for (text, expected) in table {
            assert_eq!(tokens(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn blanks_and_comments_are_skipped() {
        let expected = vec![Token::Word("a".to_owned()), Token::Sign(':'), Token::Integer(1)];
        assert_eq!(tokens("\u{feff}# first\r\na:\t# last {\n1 # end"), Ok(expected));
    }
}
