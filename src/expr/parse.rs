//! From text to sqlparser's syntax tree, in a dialect close to Flink's, with limits and with places in the text.

use sqlparser::ast::{Expr as Ast, Spanned};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span as SourceSpan, Token, TokenWithSpan, Tokenizer};

use super::ExprError;
use super::typed::Span;

/// An expression longer than this is refused, bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// An expression of more words and signs than this is refused: its syntax tree is walked and dropped by recursion.
const TOKENS_MAX: usize = 4096;
/// How deep parentheses, calls and cases may nest.
const DEPTH_MAX: usize = 48;

/// Flink's SQL, as far as expressions go: names in backticks, `FILTER` on aggregates, no double quotes.
#[derive(Debug)]
struct Flink;

impl Dialect for Flink {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn is_reserved_for_identifier(&self, _: Keyword) -> bool {
        // Columns are called `end` and `trim` too; what such a word begins is tried first.
        false
    }
}

/// The text with the starts of its lines, to turn line and column into bytes.
pub(super) struct Source<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
        let Some(&start) = self.lines.get(line) else { return self.text.len() };
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// The byte range of a stretch of source; the whole text where sqlparser does not know it.
    pub(super) fn span(&self, span: SourceSpan) -> Span {
        if span.start.line == 0 {
            return (0, self.text.len());
        }
        let start = self.offset(span.start);
        (start, self.offset(span.end).max(start))
    }

    /// Where an expression stands.
    pub(super) fn span_of(&self, ast: &Ast) -> Span {
        self.span(ast.span())
    }

    /// The byte range of the first type behind `from`: what follows the next ` AS ` up to the closing parenthesis.
    pub(super) fn type_span(&self, from: usize) -> Span {
        let rest = self.text.get(from..).unwrap_or_default();
        let upper = rest.to_ascii_uppercase();
        let found = upper.match_indices("AS").map(|(at, _)| at).find(|&at| {
            let before = upper[..at].chars().next_back();
            let after = upper[at + 2..].chars().next();
            before.is_some_and(|c| c.is_whitespace() || c == ')') && after.is_some_and(char::is_whitespace)
        });
        let Some(at) = found else { return (from.min(self.text.len()), self.text.len()) };
        let named = &rest[at + 2..];
        let start = from + at + 2 + (named.len() - named.trim_start().len());
        let mut open = 0;
        for (offset, c) in self.text[start..].char_indices() {
            match c {
                '(' | '<' => open += 1,
                ')' if open == 0 => {
                    return (start, start + self.text[start..start + offset].trim_end().len());
                }
                ')' | '>' => open -= 1,
                _ => {}
            }
        }
        (start, self.text.len())
    }

    #[expect(clippy::unused_self, reason = "an error is one of this text")]
    fn error(&self, span: Span, what: impl Into<String>, help: Option<&str>) -> ExprError {
        ExprError { span, what: what.into(), help: help.map(str::to_owned) }
    }

    /// sqlparser ends its messages with the place.
    fn located(&self, message: &str) -> ExprError {
        let (what, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
        let mut numbers = place.split(", Column: ").map(|number| number.trim().parse::<u64>());
        let start = match (numbers.next(), numbers.next()) {
            (Some(Ok(line)), Some(Ok(column))) => self.offset(Location { line, column }),
            _ => self.text.len(),
        };
        let end = self.word_end(start);
        let what = what.replace("EOF", "the end").replace("Expected:", "expected");
        self.error((start, end), what, None)
    }

    /// The end of the word or sign at a place.
    fn word_end(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let length = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
        start + length
    }
}

/// The syntax tree of a text.
pub(super) fn parse(source: &Source<'_>) -> Result<Ast, ExprError> {
    let text = source.text;
    if text.len() > TEXT_BYTES_MAX {
        let help = "compute parts of it in a step before";
        return Err(source.error((0, text.len()), "the expression is longer than 64 KiB", Some(help)));
    }
    let tokens = Tokenizer::new(&Flink, text)
        .tokenize_with_location()
        .map_err(|error| source.located(&error.to_string()))?;
    check_tokens(source, &tokens)?;
    let mut parser = Parser::new(&Flink).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|error| explain(source, &error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let span = source.span(next.span);
        let what = format!("`{}` does not belong here", &text[span.0..span.1]);
        return Err(source.error(span, what, unexpected_help(&next.token)));
    }
    Ok(parsed)
}

fn unexpected_help(token: &Token) -> Option<&'static str> {
    match token {
        Token::Comma => Some("this is one expression: a comma stands between arguments only"),
        Token::Word(word) if word.keyword == Keyword::OVER => {
            Some("running aggregates are the step `over`, aggregates in windows the step `aggregate`")
        }
        Token::Word(word) if word.keyword == Keyword::AS => {
            Some("the name of a value is its key in the file: `name: expression`")
        }
        Token::SemiColon => Some("an expression ends without a semicolon"),
        _ => None,
    }
}

fn explain(source: &Source<'_>, error: &ParserError) -> ExprError {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => source.located(message),
        ParserError::RecursionLimitExceeded => source.error(
            (0, source.text.len()),
            "the expression is nested too deeply",
            Some("compute parts of it in a step before"),
        ),
    }
}

/// Refuses what the parser would take to mean something else, or take too long over.
fn check_tokens(source: &Source<'_>, tokens: &[TokenWithSpan]) -> Result<(), ExprError> {
    let mut count = 0;
    for token in tokens {
        let refuse = |what: &str, help: &str| Err(source.error(source.span(token.span), what, Some(help)));
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::DoubleQuotedString(_) => {
                return refuse(
                    "double quotes mean nothing here",
                    "text is in single quotes ('text'), names are in backticks (`name`)",
                );
            }
            Token::DoubleEq => return refuse("there is no `==`", "compare with a single `=`"),
            Token::Number(_, true) => {
                return refuse("a number has no suffix", "CAST it to the type it should have");
            }
            Token::DoubleColon => return refuse("there is no `::`", "write CAST(value AS TYPE)"),
            Token::HexStringLiteral(_) => {
                return refuse("there are no hexadecimal literals", "write the number in decimal");
            }
            _ => {}
        }
        count += 1;
        if count > TOKENS_MAX {
            return refuse(
                "the expression has more than 4096 words and signs",
                "compute parts of it in a step before, or look the values up in a table",
            );
        }
    }
    if count == 0 || matches!(tokens.last(), Some(last) if count == 1 && last.token == Token::EOF) {
        return Err(source.error((0, source.text.len()), "the expression is empty", None));
    }
    Ok(())
}
