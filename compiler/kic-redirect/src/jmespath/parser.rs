use super::lexer::{Token, tokens};
use super::{Comparison, Expression};
use crate::fault::Fault;

/// The most expressions inside each other.
const DEEPEST: usize = 64;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    let expression = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

/// How tightly a sign binds what stands left of it; below 10 it ends a projection.
fn power(token: &Token) -> u8 {
    match token {
        Token::Sign("|") => 1,
        Token::Sign("||") => 2,
        Token::Sign("&&") => 3,
        Token::Sign("==" | "!=" | "<" | "<=" | ">" | ">=") => 5,
        Token::Sign("[]") => 9,
        Token::Sign("*") => 20,
        Token::Sign("[?") => 21,
        Token::Sign(".") => 40,
        Token::Sign("!") => 45,
        Token::Sign("{") => 50,
        Token::Sign("[") => 55,
        Token::Sign("(") => 60,
        _ => 0,
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Fault {
        let what = match self.peek() {
            Token::End => "its end".to_owned(),
            Token::Name(name) | Token::Quoted(name) => format!("`{name}`"),
            Token::Number(number) => format!("the number `{number}`"),
            Token::Literal(value) => format!("`{value}`"),
            Token::Sign(sign) => format!("`{sign}`"),
        };
        Fault::fails(format!("the expression `{}` is not well formed: {what} may not stand there", self.text))
    }

    fn expression(&mut self, binding: u8) -> Result<Expression, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::unknown("the expression is nested too deep"));
        }
        let mut left = self.first()?;
        while power(self.peek()) > binding {
            left = self.rest(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn boxed(&mut self, binding: u8) -> Result<Box<Expression>, Fault> {
        self.expression(binding).map(Box::new)
    }

    fn first(&mut self) -> Result<Expression, Fault> {
        match self.next() {
            Token::Literal(value) => Ok(Expression::Literal(value)),
            Token::Name(name) if self.is("(") => self.call(name),
            Token::Name(name) => Ok(Expression::Field(name)),
            Token::Quoted(name) if !self.is("(") => Ok(Expression::Field(name)),
            Token::Sign("@") => Ok(Expression::Current),
            Token::Sign("!") => Ok(Expression::Not(self.boxed(45)?)),
            Token::Sign("&") => Ok(Expression::Reference(self.boxed(0)?)),
            Token::Sign("(") => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("*") => self.project_values(Expression::Current),
            Token::Sign("[]") => {
                let flat = Box::new(Expression::Flatten(Box::new(Expression::Current)));
                Ok(Expression::Project(flat, Box::new(self.right_side(9)?)))
            }
            Token::Sign("[?") => self.filter(Expression::Current),
            Token::Sign("{") => self.hash(),
            Token::Sign("[") => match self.peek() {
                Token::Number(_) | Token::Sign(":") => self.bracket(Expression::Current),
                Token::Sign("*") if self.tokens.get(self.at + 1) == Some(&Token::Sign("]")) => {
                    self.bracket(Expression::Current)
                }
                _ => self.list(),
            },
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn rest(&mut self, left: Expression) -> Result<Expression, Fault> {
        let Token::Sign(sign) = self.next() else { return Err(self.unexpected()) };
        let left_side = |left| Box::new(left);
        Ok(match sign {
            "." if self.take("*") => self.project_values(left)?,
            "." => Expression::Then(left_side(left), Box::new(self.after_dot(40)?)),
            "|" => Expression::Pipe(left_side(left), self.boxed(1)?),
            "||" => Expression::Or(left_side(left), self.boxed(2)?),
            "&&" => Expression::And(left_side(left), self.boxed(3)?),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => {
                let comparison = match sign {
                    "==" => Comparison::Equal,
                    "!=" => Comparison::NotEqual,
                    "<" => Comparison::Less,
                    "<=" => Comparison::LessOrEqual,
                    ">" => Comparison::Greater,
                    _ => Comparison::GreaterOrEqual,
                };
                Expression::Compare(comparison, left_side(left), self.boxed(5)?)
            }
            "[]" => {
                let flat = Expression::Flatten(left_side(left));
                Expression::Project(Box::new(flat), Box::new(self.right_side(9)?))
            }
            "[?" => self.filter(left)?,
            "[" => self.bracket(left)?,
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    /// What stands behind a dot: a field, a call, a list or a hash.
    fn after_dot(&mut self, binding: u8) -> Result<Expression, Fault> {
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Sign("*") => self.expression(binding),
            Token::Sign("[") => {
                self.at += 1;
                self.list()
            }
            Token::Sign("{") => {
                self.at += 1;
                self.hash()
            }
            _ => Err(self.unexpected()),
        }
    }

    /// What a projection does with each item.
    fn right_side(&mut self, binding: u8) -> Result<Expression, Fault> {
        if power(self.peek()) < 10 {
            return Ok(Expression::Current);
        }
        if self.is("[") || self.is("[?") {
            return self.expression_on_current(binding);
        }
        if self.take(".") { self.after_dot(binding) } else { Err(self.unexpected()) }
    }

    /// An index or filter on each item, and what follows it.
    fn expression_on_current(&mut self, binding: u8) -> Result<Expression, Fault> {
        let mut left = self.rest(Expression::Current)?;
        while power(self.peek()) > binding {
            left = self.rest(left)?;
        }
        Ok(left)
    }

    fn project_values(&mut self, left: Expression) -> Result<Expression, Fault> {
        Ok(Expression::ProjectValues(Box::new(left), Box::new(self.right_side(20)?)))
    }

    fn filter(&mut self, left: Expression) -> Result<Expression, Fault> {
        let condition = self.expression(0)?;
        self.expect("]")?;
        let each = if self.is("[]") { Expression::Current } else { self.right_side(21)? };
        Ok(Expression::Filter(Box::new(left), Box::new(condition), Box::new(each)))
    }

    /// What stands in brackets behind a value: an index, a slice or `*`.
    fn bracket(&mut self, left: Expression) -> Result<Expression, Fault> {
        if self.take("*") {
            self.expect("]")?;
            return Ok(Expression::Project(Box::new(left), Box::new(self.right_side(20)?)));
        }
        let mut parts = [None; 3];
        let mut part = 0;
        loop {
            match self.next() {
                Token::Number(number) if parts[part].is_none() => parts[part] = Some(number),
                Token::Sign(":") if part < 2 => part += 1,
                Token::Sign("]") if part > 0 || parts[0].is_some() => break,
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
            }
        }
        if part == 0 {
            let index = Expression::Index(parts[0].unwrap_or(0));
            return Ok(Expression::Then(Box::new(left), Box::new(index)));
        }
        let slice = Expression::Then(Box::new(left), Box::new(Expression::Slice(parts)));
        Ok(Expression::Project(Box::new(slice), Box::new(self.right_side(20)?)))
    }

    fn list(&mut self) -> Result<Expression, Fault> {
        let mut items = Vec::new();
        loop {
            items.push(self.expression(0)?);
            if !self.take(",") {
                self.expect("]")?;
                return Ok(Expression::List(items));
            }
        }
    }

    fn hash(&mut self) -> Result<Expression, Fault> {
        let mut fields = Vec::new();
        loop {
            let name = match self.next() {
                Token::Name(name) | Token::Quoted(name) => name,
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected());
                }
            };
            self.expect(":")?;
            fields.push((name, self.expression(0)?));
            if !self.take(",") {
                self.expect("}")?;
                return Ok(Expression::Hash(fields));
            }
        }
    }

    fn call(&mut self, name: String) -> Result<Expression, Fault> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(Expression::Call(name, arguments));
        }
        loop {
            arguments.push(self.expression(0)?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(Expression::Call(name, arguments));
            }
        }
    }
}
