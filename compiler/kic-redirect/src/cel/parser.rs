use super::lexer::{Token, tokens};
use super::{Node, Value};
use crate::fault::Fault;

/// The most expressions inside each other.
const DEEPEST: usize = 64;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let node = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

/// The operators of each level, the loosest first.
const LEVELS: &[&[&str]] = &[&["==", "!=", "<", "<=", ">", ">="], &["+", "-"], &["*", "/", "%"]];

impl Parser {
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
            Token::Name(name) => format!("`{name}`"),
            Token::Int(number) => format!("`{number}`"),
            Token::Double(number) => format!("`{number}`"),
            Token::String(text) => format!("`\"{text}\"`"),
            Token::Sign(sign) => format!("`{sign}`"),
        };
        Fault::fails(format!("the expression is not well formed: {what} may not stand there"))
    }

    fn expression(&mut self) -> Result<Node, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::unknown("the expression is nested too deep"));
        }
        let condition = self.or()?;
        let node = if self.take("?") {
            let then = self.or()?;
            self.expect(":")?;
            Node::If(Box::new(condition), Box::new(then), Box::new(self.expression()?))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    fn or(&mut self) -> Result<Node, Fault> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, Fault> {
        let mut left = self.binary(0)?;
        while self.take("&&") {
            left = Node::And(Box::new(left), Box::new(self.binary(0)?));
        }
        Ok(left)
    }

    fn binary(&mut self, level: usize) -> Result<Node, Fault> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            let operator = match self.peek() {
                Token::Sign(sign) if operators.contains(sign) => sign,
                Token::Name(name) if level == 0 && name == "in" => "in",
                _ => return Ok(left),
            };
            self.at += 1;
            left = Node::Binary(operator, Box::new(left), Box::new(self.binary(level + 1)?));
        }
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let mut signs = Vec::new();
        while let Token::Sign(sign @ ("!" | "-")) = self.peek() {
            signs.push(*sign);
            self.at += 1;
            if signs.len() > DEEPEST {
                return Err(Fault::unknown("the expression is nested too deep"));
            }
        }
        let mut node = self.member()?;
        for sign in signs.into_iter().rev() {
            node = match (sign, node) {
                ("-", Node::Literal(Value::Int(number))) => Node::Literal(Value::Int(-number)),
                ("-", Node::Literal(Value::Double(number))) => Node::Literal(Value::Double(-number)),
                ("-", node) => Node::Negate(Box::new(node)),
                (_, node) => Node::Not(Box::new(node)),
            };
        }
        Ok(node)
    }

    fn member(&mut self) -> Result<Node, Fault> {
        let mut node = self.primary()?;
        loop {
            if self.take(".") {
                let name = self.name()?;
                node = if self.take("(") {
                    let arguments = self.arguments()?;
                    Node::Call { target: Some(Box::new(node)), name, arguments }
                } else {
                    Node::Select { target: Box::new(node), field: name, optional: false }
                };
            } else if self.take(".?") {
                let field = self.name()?;
                node = Node::Select { target: Box::new(node), field, optional: true };
            } else if self.is("[") || self.is("[?") {
                let optional = self.is("[?");
                self.at += 1;
                let index = Box::new(self.expression()?);
                self.expect("]")?;
                node = Node::Index { target: Box::new(node), index, optional };
            } else if self.is("{")
                && let Some(name) = path(&node)
            {
                self.at += 1;
                node = Node::Message { name, fields: self.fields()? };
            } else {
                return Ok(node);
            }
        }
    }

    fn name(&mut self) -> Result<String, Fault> {
        match self.next() {
            Token::Name(name) => Ok(name),
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        // A leading dot means the outermost scope.
        self.take(".");
        match self.next() {
            Token::Int(number) => Ok(Node::Literal(Value::Int(number))),
            Token::Double(number) => Ok(Node::Literal(Value::Double(number))),
            Token::String(text) => Ok(Node::Literal(Value::String(text))),
            Token::Name(name) => Ok(match name.as_str() {
                "true" => Node::Literal(Value::Bool(true)),
                "false" => Node::Literal(Value::Bool(false)),
                "null" => Node::Literal(Value::Null),
                _ if self.take("(") => Node::Call { target: None, arguments: self.arguments()?, name },
                _ => Node::Name(name),
            }),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            // `[?a]`, a list of one optional item.
            Token::Sign("[?") => {
                let first = self.expression()?;
                self.rest_of_list(vec![(first, true)])
            }
            Token::Sign("{") => self.map(),
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn list(&mut self) -> Result<Node, Fault> {
        if self.take("]") {
            return Ok(Node::List(Vec::new()));
        }
        let optional = self.take("?");
        let first = self.expression()?;
        self.rest_of_list(vec![(first, optional)])
    }

    fn rest_of_list(&mut self, mut items: Vec<(Node, bool)>) -> Result<Node, Fault> {
        while self.take(",") {
            if self.is("]") {
                break;
            }
            let optional = self.take("?");
            items.push((self.expression()?, optional));
        }
        self.expect("]")?;
        Ok(Node::List(items))
    }

    fn map(&mut self) -> Result<Node, Fault> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Node::Map(entries))
    }

    fn fields(&mut self) -> Result<Vec<(String, Node, bool)>, Fault> {
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let name = self.name()?;
            self.expect(":")?;
            fields.push((name, self.expression()?, optional));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(fields)
    }
}

/// The name that a chain of fields spells, such as `Object.spec`.
fn path(node: &Node) -> Option<String> {
    match node {
        Node::Name(name) => Some(name.clone()),
        Node::Select { target, field, optional: false } => Some(format!("{}.{field}", path(target)?)),
        _ => None,
    }
}
