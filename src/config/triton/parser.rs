//! Protobuf's text format to a tree, without knowing the messages.

use super::tokens::{Token, Tokens};
use super::tree::{Field, MAX_DEPTH, Message, SyntaxError, Value};

/// Texts with more fields than this are not a model's configuration.
const MAX_FIELDS: usize = 100_000;

/// The message that a text holds.
///
/// # Errors
/// The text is not protobuf's text format, or it is nested too deeply.
pub(super) fn parse(text: &str) -> Result<Message, SyntaxError> {
    let mut parser = Parser { tokens: Tokens::new(text), next: Token::End, line: 1, fields: 0 };
    parser.advance()?;
    parser.message(Token::End, 0)
}

struct Parser<'t> {
    tokens: Tokens<'t>,
    /// One token of look-ahead decides everything.
    next: Token,
    /// The line of `next`.
    line: usize,
    /// Fields so far, in all messages.
    fields: usize,
}

impl Parser<'_> {
    /// Steps over the next token and gives it.
    fn advance(&mut self) -> Result<Token, SyntaxError> {
        let following = self.tokens.next()?;
        // Tokens do not span lines, so the line behind a token is the token's.
        self.line = self.tokens.line();
        Ok(std::mem::replace(&mut self.next, following))
    }

    fn at(&self, sign: char) -> bool {
        self.next == Token::Sign(sign)
    }

    fn take(&mut self, sign: char) -> Result<bool, SyntaxError> {
        let found = self.at(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, SyntaxError> {
        let reason = format!("expected {expected}, got {}", self.next.describe());
        Err(SyntaxError { line: Some(self.line), reason })
    }

    /// Fields up to `end`, which is stepped over.
    fn message(&mut self, end: Token, depth: usize) -> Result<Message, SyntaxError> {
        if depth > MAX_DEPTH {
            let reason = format!("nested deeper than {MAX_DEPTH} messages");
            return Err(SyntaxError { line: Some(self.line), reason });
        }
        let mut message = Message::default();
        while self.next != end {
            self.field(&mut message, depth)?;
            if !self.take(';')? {
                self.take(',')?;
            }
        }
        if end != Token::End {
            self.advance()?;
        }
        Ok(message)
    }

    fn field(&mut self, message: &mut Message, depth: usize) -> Result<(), SyntaxError> {
        let line = self.line;
        let name = self.name()?;
        let colon = self.take(':')?;
        let mut values = Vec::new();
        if self.take('[')? {
            self.list(&mut values, colon, depth)?;
        } else {
            values.push(self.value(colon, depth)?);
        }
        self.fields += values.len().max(1);
        if self.fields > MAX_FIELDS {
            let reason = format!("more than {MAX_FIELDS} fields");
            return Err(SyntaxError { line: Some(line), reason });
        }
        let field = |value| Field { name: name.clone(), line: Some(line), value };
        message.fields.extend(values.into_iter().map(field));
        Ok(())
    }

    /// A field's name; an extension's or an `Any`'s stays in its brackets.
    fn name(&mut self) -> Result<String, SyntaxError> {
        if let Token::Word(word) = &self.next {
            let word = word.clone();
            self.advance()?;
            return Ok(word);
        }
        if !self.take('[')? {
            return self.unexpected("the name of a field");
        }
        let mut name = "[".to_owned();
        loop {
            match self.advance()? {
                Token::Word(word) => name.push_str(&word),
                Token::Sign(sign @ ('.' | '/' | '-')) => name.push(sign),
                Token::Sign(']') => {
                    name.push(']');
                    return Ok(name);
                }
                other => {
                    let reason = format!("expected an extension's name, got {}", other.describe());
                    return Err(SyntaxError { line: Some(self.line), reason });
                }
            }
        }
    }

    /// Values up to the closing bracket, which is stepped over.
    fn list(
        &mut self,
        values: &mut Vec<Value>,
        colon: bool,
        depth: usize,
    ) -> Result<(), SyntaxError> {
        if self.take(']')? {
            return Ok(());
        }
        loop {
            values.push(self.value(colon, depth)?);
            if self.take(']')? {
                return Ok(());
            }
            if !self.take(',')? {
                return self.unexpected("\",\" or \"]\"");
            }
        }
    }

    /// A message, or behind a colon a scalar too.
    fn value(&mut self, colon: bool, depth: usize) -> Result<Value, SyntaxError> {
        for (open, close) in [('{', '}'), ('<', '>')] {
            if self.take(open)? {
                return self.message(Token::Sign(close), depth + 1).map(Value::Message);
            }
        }
        if !colon {
            return self.unexpected("\":\" or \"{\"");
        }
        if self.take('-')? {
            return self.negative();
        }
        match &self.next {
            Token::Text(_) => self.text(),
            Token::Integer(number) => self.scalar(Value::Integer(*number)),
            Token::Float(number) => self.scalar(Value::Float(*number)),
            Token::Word(word) => {
                let value = special_float(word).map(Value::Float);
                let word = word.clone();
                self.scalar(value.unwrap_or(Value::Word(word)))
            }
            _ => self.unexpected("a value"),
        }
    }

    fn scalar(&mut self, value: Value) -> Result<Value, SyntaxError> {
        self.advance()?;
        Ok(value)
    }

    fn negative(&mut self) -> Result<Value, SyntaxError> {
        let value = match &self.next {
            Token::Integer(number) => Value::Integer(-number),
            Token::Float(number) => Value::Float(-number),
            Token::Word(word) => match special_float(word) {
                Some(number) => Value::Float(-number),
                None => return self.unexpected("a number behind \"-\""),
            },
            _ => return self.unexpected("a number behind \"-\""),
        };
        self.scalar(value)
    }

    /// Neighbouring texts are one.
    fn text(&mut self) -> Result<Value, SyntaxError> {
        let line = self.line;
        let mut bytes = Vec::new();
        while let Token::Text(part) = &self.next {
            bytes.extend_from_slice(part);
            self.advance()?;
        }
        let not_utf8 =
            |_| SyntaxError { line: Some(line), reason: "a quoted text is not UTF-8".to_owned() };
        String::from_utf8(bytes).map(Value::Text).map_err(not_utf8)
    }
}

/// The floats that are written as words, in any case.
fn special_float(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "inf" | "infinity" | "inff" | "infinityf" => Some(f64::INFINITY),
        "nan" | "nanf" => Some(f64::NAN),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line: `name=value` fields, messages in braces.
    fn show(message: &Message) -> String {
        let field = |field: &Field| match &field.value {
            Value::Integer(number) => format!("{}={number}", field.name),
            Value::Float(number) => format!("{}={number:?}", field.name),
            Value::Text(text) => format!("{}={text:?}", field.name),
            Value::Word(word) => format!("{}={word}", field.name),
            Value::Message(message) => format!("{}={{{}}}", field.name, show(message)),
        };
        message.fields.iter().map(field).collect::<Vec<_>>().join(" ")
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(parse(text).map(|message| show(&message)).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn every_form_of_a_field_is_read() {
        check("", "");
        check("a: 1 b: 'x' c: TYPE_FP32 d: true", "a=1 b=\"x\" c=TYPE_FP32 d=true");
        check("a: 1; b: 2, c: 3", "a=1 b=2 c=3");
        check("a { b: 1 } a: { b: 2 } a < b: 3 > a: <>", "a={b=1} a={b=2} a={b=3} a={}");
        check("dims: [ 1, -1, 3 ] empty: []", "dims=1 dims=-1 dims=3");
        check("input [ { name: 'x' }, < name: 'y' > ]", "input={name=\"x\"} input={name=\"y\"}");
        check("in: [ { a: 1 } ]", "in={a=1}");
        check("s: 'one ' \"two\" # joined\n 'three'", "s=\"one twothree\"");
        check("f: -1.5 g: - 2 h: -inf i: nan", "f=-1.5 g=-2 h=-inf i=NaN");
        check(
            "[ext.name]: 1 [type.googleapis.com/x.Y] { z: 2 }",
            "[ext.name]=1 [type.googleapis.com/x.Y]={z=2}",
        );
        check("version_policy: {all{}}", "version_policy={all={}}");
    }

    #[test]
    fn broken_texts_say_where_and_what_was_expected() {
        let table = [
            ("a", 1, "expected \":\" or \"{\", got the end of the file"),
            ("a:\n\n}", 3, "expected a value, got '}'"),
            ("a { b: 1", 1, "expected the name of a field, got the end of the file"),
            ("a { b: 1 >", 1, "expected the name of a field, got '>'"),
            ("a: [1, 2", 1, "expected \",\" or \"]\", got the end of the file"),
            ("a: [1 2]", 1, "expected \",\" or \"]\", got 2"),
            ("a: [1,]", 1, "expected a value, got ']'"),
            ("a [ 1 ]", 1, "expected \":\" or \"{\", got 1"),
            ("a 1", 1, "expected \":\" or \"{\", got 1"),
            ("1: a", 1, "expected the name of a field, got 1"),
            ("a: -b", 1, "expected a number behind \"-\", got b"),
            ("a: '\\xff'", 1, "a quoted text is not UTF-8"),
            ("}", 1, "expected the name of a field, got '}'"),
            ("[a b]: 1\n[", 2, "expected an extension's name, got the end of the file"),
        ];
        for (text, line, reason) in table {
            let expected = SyntaxError { line: Some(line), reason: reason.to_owned() };
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        let reason = "nested deeper than 32 messages";
        for open in ["a{", "a<", "a:[{"] {
            let error = parse(&open.repeat(100_000)).expect_err("too deep");
            assert_eq!(error.reason, reason, "{open}");
        }
    }

    #[test]
    fn fields_know_their_lines() {
        let message = parse("a: 1\nb: [\n 1,\n 2 ]\n\nc {}").expect("three fields");
        let lines: Vec<_> = message.fields.iter().filter_map(|field| field.line).collect();
        assert_eq!(lines, [1, 2, 2, 6]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            drop(parse(&text));
        }

        #[test]
        fn no_text_of_its_own_signs_panics(text in "[a1{}<>\\[\\]:;,\"'\\\\ \n#.xuU-]{0,200}") {
            drop(parse(&text));
        }
    }
}
