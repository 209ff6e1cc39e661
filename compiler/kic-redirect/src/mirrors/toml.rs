//! As much of TOML as `hosts.toml` files hold: tables, strings, booleans, numbers and arrays.

use std::ops::Range;

/// A value, and where it stands in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    Bool(bool),
    Array(Vec<Value>),
    /// A number, date or other bare word.
    Other,
}

/// `key = value` in a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub table: Vec<String>,
    pub key: String,
    pub value: Value,
    pub at: Range<usize>,
}

/// Something that is not well formed, or not in the subset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Error {
    pub message: &'static str,
    pub at: usize,
}

/// The name of a table, and where it stands.
pub(super) type Table = (Vec<String>, Range<usize>);

/// Every table, and every entry, in the order of the text.
pub(super) fn read(text: &str) -> Result<(Vec<Table>, Vec<Entry>), Error> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let (mut tables, mut entries) = (Vec::new(), Vec::new());
    let mut table: Vec<String> = Vec::new();
    loop {
        reader.skip(true);
        let start = reader.at;
        match reader.peek() {
            None => return Ok((tables, entries)),
            Some('[') => {
                reader.at += 1;
                if reader.peek() == Some('[') {
                    return Err(reader.error("lists of tables have no meaning in this file"));
                }
                table = reader.key()?;
                reader.expect(']', "a table's name ends with `]`")?;
                tables.push((table.clone(), start..reader.at));
            }
            Some(_) => {
                let mut path = reader.key()?;
                reader.expect('=', "`=` is missing behind the key")?;
                reader.skip(false);
                let value = reader.value()?;
                let key = path.pop().unwrap_or_default();
                let table = table.iter().cloned().chain(path).collect();
                entries.push(Entry { table, key, value, at: start..reader.at });
            }
        }
        reader.skip(false);
        if !matches!(reader.peek(), None | Some('\n' | '\r')) {
            return Err(reader.error("a line holds one entry"));
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, message: &'static str) -> Error {
        Error { message, at: self.at }
    }

    /// Spaces and comments, and where `lines` says so, ends of lines.
    fn skip(&mut self, lines: bool) {
        while let Some(letter) = self.peek() {
            match letter {
                ' ' | '\t' => self.at += 1,
                '\n' | '\r' if lines => self.at += 1,
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    fn expect(&mut self, letter: char, message: &'static str) -> Result<(), Error> {
        self.skip(false);
        if self.peek() != Some(letter) {
            return Err(self.error(message));
        }
        self.at += 1;
        Ok(())
    }

    /// `a."b".c`
    fn key(&mut self) -> Result<Vec<String>, Error> {
        let mut path = Vec::new();
        loop {
            self.skip(false);
            let part = match self.peek() {
                Some('"' | '\'') => self.string()?,
                _ => {
                    let end = self.rest().find(|letter: char| {
                        !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-'
                    });
                    let part = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
                    self.at += part.len();
                    part
                }
            };
            if part.is_empty() {
                return Err(self.error("a key is missing"));
            }
            path.push(part);
            self.skip(false);
            if self.peek() != Some('.') {
                return Ok(path);
            }
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        match self.peek() {
            Some('"' | '\'') => self.string().map(Value::String),
            Some('[') => {
                self.depth += 1;
                if self.depth > 16 {
                    return Err(self.error("the lists are nested too deep"));
                }
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip(true);
                    if self.peek() == Some(']') {
                        self.at += 1;
                        self.depth -= 1;
                        return Ok(Value::Array(items));
                    }
                    items.push(self.value()?);
                    self.skip(true);
                    match self.peek() {
                        Some(',') => self.at += 1,
                        Some(']') => {}
                        _ => return Err(self.error("the list is not closed")),
                    }
                }
            }
            Some('{') => Err(self.error("write a table of its own instead of one in a line")),
            _ => {
                let end = self.rest().find([',', ']', '\n', '\r', '#', ' ', '\t']);
                let word = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
                if word.is_empty() {
                    return Err(self.error("a value is missing"));
                }
                self.at += word.len();
                Ok(match word.as_str() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    _ => Value::Other,
                })
            }
        }
    }

    fn string(&mut self) -> Result<String, Error> {
        let Some(quote) = self.peek() else { return Err(self.error("a string is missing")) };
        if self.rest().starts_with("\"\"\"") || self.rest().starts_with("'''") {
            return Err(self.error("strings of several lines have no meaning in this file"));
        }
        self.at += 1;
        let mut string = String::new();
        loop {
            let Some(letter) = self.peek().filter(|letter| *letter != '\n') else {
                return Err(self.error("the string is not closed"));
            };
            self.at += letter.len_utf8();
            match letter {
                _ if letter == quote => return Ok(string),
                '\\' if quote == '"' => {
                    let escaped = self.peek();
                    self.at += escaped.map_or(0, char::len_utf8);
                    string.push(match escaped {
                        Some('"') => '"',
                        Some('\\') => '\\',
                        Some('n') => '\n',
                        Some('t') => '\t',
                        _ => {
                            return Err(
                                self.error("the string holds an escape that has no meaning in this file")
                            );
                        }
                    });
                }
                _ => string.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_entries_are_read_in_order() {
        let text = "# top\nserver = \"https://a\"\n\n[host.\"http://b:1/v2\"]\n  capabilities = [\n \"pull\", # one\n 'resolve' ]\n  override_path = true\n  dial_timeout = 3\n  a.b = \"x\\\"y\"";
        let (tables, entries) = read(text).unwrap();
        assert_eq!(tables.iter().map(|(name, _)| name.join("|")).collect::<Vec<_>>(), ["host|http://b:1/v2"]);
        let shown: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {} {:?}", entry.table.join("|"), entry.key, entry.value))
            .collect();
        assert_eq!(
            shown,
            [
                " server String(\"https://a\")",
                "host|http://b:1/v2 capabilities Array([String(\"pull\"), String(\"resolve\")])",
                "host|http://b:1/v2 override_path Bool(true)",
                "host|http://b:1/v2 dial_timeout Other",
                "host|http://b:1/v2|a b String(\"x\\\"y\")",
            ]
        );
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        for text in [
            "a",
            "a =",
            "= 1",
            "[a",
            "[[a]]",
            "a = \"b",
            "a = [1",
            "a = {}",
            "a = 1 b = 2",
            "a = \"\\q\"",
            "a..b = 1",
            "a = \"\"\"x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("a = {}", "[".repeat(1000))).is_err());
    }
}
