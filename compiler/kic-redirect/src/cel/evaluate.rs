use std::collections::BTreeMap;

use super::{Names, Node, Value, functions};
use crate::fault::Fault;

/// The most steps of one policy on one pod.
const MOST_STEPS: usize = 200_000;

/// The most expressions inside each other while they are evaluated: `variables` may name each other.
const DEEPEST: usize = 128;

/// What an expression can name.
pub(crate) struct Environment<'a> {
    names: Names,
    /// `variables.NAME`, evaluated where they are used.
    variables: BTreeMap<&'a str, &'a Node>,
    /// Names of macros, innermost last.
    scope: Vec<(String, Value)>,
    steps: usize,
    depth: usize,
}

impl<'a> Environment<'a> {
    pub fn new(names: Names, variables: BTreeMap<&'a str, &'a Node>) -> Self {
        Self { names, variables, scope: Vec::new(), steps: 0, depth: 0 }
    }

    /// The value of an expression.
    pub fn evaluate(&mut self, node: &Node) -> Result<Value, Fault> {
        self.steps += 1;
        if self.steps > MOST_STEPS || self.depth > DEEPEST {
            return Err(Fault::unknown("the expression takes too long"));
        }
        self.depth += 1;
        let result = self.inner(node);
        self.depth -= 1;
        result
    }

    fn inner(&mut self, node: &Node) -> Result<Value, Fault> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Name(name) => self.name(name),
            Node::Select { target, field, optional } => self.select(target, field, *optional),
            Node::Index { target, index, optional } => self.index(target, index, *optional),
            Node::Call { target, name, arguments } => self.call(target.as_deref(), name, arguments),
            Node::List(items) => {
                let mut list = Vec::new();
                for (item, optional) in items {
                    let value = self.evaluate(item)?;
                    list.extend(if *optional { present(value)? } else { Some(value) });
                }
                Ok(Value::List(list))
            }
            Node::Map(entries) => {
                let mut map = BTreeMap::new();
                for (key, value, optional) in entries {
                    let Value::String(key) = self.evaluate(key)? else {
                        return Err(Fault::unknown("kic evaluates maps whose keys are texts"));
                    };
                    let value = self.evaluate(value)?;
                    if let Some(value) = if *optional { present(value)? } else { Some(value) } {
                        map.insert(key, value);
                    }
                }
                Ok(Value::Map(map))
            }
            Node::Message { name, fields } => {
                if name != "JSONPatch" && name != "Object" && !name.starts_with("Object.") {
                    return Err(Fault::unknown(format!("kic does not evaluate `{name}{{…}}`")));
                }
                let mut map = BTreeMap::new();
                for (field, value, optional) in fields {
                    let value = self.evaluate(value)?;
                    if let Some(value) = if *optional { present(value)? } else { Some(value) } {
                        map.insert(field.clone(), value);
                    }
                }
                Ok(Value::Map(map))
            }
            Node::Not(inner) => Ok(Value::Bool(!self.bool(inner)?)),
            Node::Negate(inner) => match self.evaluate(inner)? {
                Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(overflow),
                Value::Double(number) => Ok(Value::Double(-number)),
                other => Err(Fault::fails(format!("{} has no negative", other.kind()))),
            },
            Node::And(left, right) => self.logic(left, right, false),
            Node::Or(left, right) => self.logic(left, right, true),
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                binary(operator, left, right)
            }
            Node::If(condition, then, otherwise) => {
                if self.bool(condition)? {
                    self.evaluate(then)
                } else {
                    self.evaluate(otherwise)
                }
            }
        }
    }

    fn name(&self, name: &str) -> Result<Value, Fault> {
        if let Some((_, value)) = self.scope.iter().rev().find(|(known, _)| known == name) {
            return Ok(value.clone());
        }
        self.names
            .get(name)
            .cloned()
            .ok_or_else(|| Fault::unknown(format!("kic does not know what `{name}` is in a policy")))
    }

    fn bool(&mut self, node: &Node) -> Result<bool, Fault> {
        match self.evaluate(node)? {
            Value::Bool(bool) => Ok(bool),
            other => Err(Fault::fails(format!("{} is no boolean", other.kind()))),
        }
    }

    /// `&&` and `||`: a side that decides makes the other's error no error.
    fn logic(&mut self, left: &Node, right: &Node, decides: bool) -> Result<Value, Fault> {
        let left = self.bool(left);
        if left == Ok(decides) {
            return Ok(Value::Bool(decides));
        }
        match (left, self.bool(right)) {
            (_, Ok(right)) if right == decides => Ok(Value::Bool(decides)),
            (Ok(_), Ok(right)) => Ok(Value::Bool(right)),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
        }
    }

    fn select(&mut self, target: &Node, field: &str, optional: bool) -> Result<Value, Fault> {
        if matches!(target, Node::Name(name) if name == "variables") {
            let Some(variable) = self.variables.get(field).copied() else {
                return Err(Fault::fails(format!("there is no variable `{field}`")));
            };
            let scope = std::mem::take(&mut self.scope);
            let value = self.evaluate(variable);
            self.scope = scope;
            return value;
        }
        let value = self.evaluate(target)?;
        field_of(value, field, optional)
    }

    fn index(&mut self, target: &Node, index: &Node, optional: bool) -> Result<Value, Fault> {
        let value = self.evaluate(target)?;
        let index = self.evaluate(index)?;
        let (value, optional_target) = match value {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => (*value, true),
            value => (value, false),
        };
        let found = match (&value, &index) {
            (Value::Map(map), Value::String(key)) => map.get(key).cloned(),
            (Value::List(items), Value::Int(at)) => {
                usize::try_from(*at).ok().and_then(|at| items.get(at)).cloned()
            }
            _ => return Err(Fault::fails(format!("{} has no item at {}", value.kind(), index.kind()))),
        };
        if optional || optional_target {
            return Ok(Value::optional(found));
        }
        found.ok_or_else(|| match index {
            Value::String(key) => Fault::fails(format!("there is no `{key}`")),
            _ => Fault::fails("an index is past the end of the list"),
        })
    }

    fn call(&mut self, target: Option<&Node>, name: &str, arguments: &[Node]) -> Result<Value, Fault> {
        match (target, name, arguments) {
            (None, "has", [Node::Select { target, field, .. }]) => {
                let value = self.evaluate(target)?;
                Ok(Value::Bool(match value {
                    Value::Map(map) => map.contains_key(field),
                    Value::Optional(Some(value)) => {
                        matches!(*value, Value::Map(map) if map.contains_key(field))
                    }
                    Value::Optional(None) => false,
                    other => return Err(Fault::fails(format!("{} has no fields", other.kind()))),
                }))
            }
            (Some(Node::Name(cel)), "bind", [Node::Name(variable), value, body]) if cel == "cel" => {
                let value = self.evaluate(value)?;
                self.with(&[(variable, value)], body)
            }
            (
                Some(target),
                "map" | "filter" | "all" | "exists" | "exists_one" | "existsOne" | "transformList",
                _,
            ) if is_macro(name, arguments) => self.comprehension(target, name, arguments),
            (Some(target), "optMap" | "optFlatMap", [Node::Name(variable), body]) => {
                match self.evaluate(target)? {
                    Value::Optional(Some(value)) => {
                        let result = self.with(&[(variable, *value)], body)?;
                        Ok(if name == "optMap" { Value::optional(Some(result)) } else { result })
                    }
                    Value::Optional(None) => Ok(Value::Optional(None)),
                    other => Err(Fault::fails(format!("{} is no optional", other.kind()))),
                }
            }
            (Some(Node::Name(space)), _, _) if functions::SPACES.contains(&space.as_str()) => {
                let values = self.values(arguments)?;
                functions::named(&format!("{space}.{name}"), &values)
            }
            (Some(target), _, _) => {
                let target = self.evaluate(target)?;
                let values = self.values(arguments)?;
                functions::method(name, &target, &values)
            }
            (None, _, _) => {
                let values = self.values(arguments)?;
                functions::named(name, &values)
            }
        }
    }

    fn values(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Fault> {
        nodes.iter().map(|node| self.evaluate(node)).collect()
    }

    fn with(&mut self, names: &[(&String, Value)], body: &Node) -> Result<Value, Fault> {
        let before = self.scope.len();
        self.scope.extend(names.iter().map(|(name, value)| ((*name).clone(), value.clone())));
        let result = self.evaluate(body);
        self.scope.truncate(before);
        result
    }

    /// Macros over lists, and over the keys of maps.
    fn comprehension(&mut self, target: &Node, name: &str, arguments: &[Node]) -> Result<Value, Fault> {
        let pairs: Vec<(Value, Value)> = match self.evaluate(target)? {
            Value::List(items) => {
                items.into_iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item)).collect()
            }
            Value::Map(map) => map.into_iter().map(|(key, value)| (Value::String(key), value)).collect(),
            other => {
                return Err(Fault::fails(format!(
                    "`{name}` goes over lists and maps, not over {}",
                    other.kind()
                )));
            }
        };
        let is_map = matches!(pairs.first(), Some((Value::String(_), _)));
        // Two variables: place and item. `map(x, condition, value)` has one, and three arguments.
        let two =
            matches!(arguments, [Node::Name(_), Node::Name(_), _, ..]) && (name != "map" && name != "filter");
        let (variables, body) = arguments.split_at(if two { 2 } else { 1 });
        let variables: Vec<&String> = variables
            .iter()
            .filter_map(|node| if let Node::Name(name) = node { Some(name) } else { None })
            .collect();
        let mut results = Vec::new();
        let (mut matching, mut failed) = (0, None);
        for (place, item) in pairs {
            let single = if is_map { place.clone() } else { item.clone() };
            let names: Vec<(&String, Value)> = match variables.as_slice() {
                [first, second] => vec![(*first, place), (*second, item)],
                [only] => vec![(*only, single.clone())],
                _ => return Err(Fault::fails(format!("`{name}` takes the name of a variable"))),
            };
            let (condition, value) = match (name, body) {
                ("map" | "transformList", [value]) => (None, Some(value)),
                ("map" | "transformList", [condition, value]) => (Some(condition), Some(value)),
                (_, [condition]) => (Some(condition), None),
                _ => return Err(Fault::fails(format!("`{name}` has too many arguments"))),
            };
            let holds = match condition.map(|condition| self.with(&names, condition)) {
                None => true,
                Some(Ok(Value::Bool(holds))) => holds,
                Some(Ok(other)) => return Err(Fault::fails(format!("{} is no boolean", other.kind()))),
                Some(Err(fault)) if name == "all" || name == "exists" => {
                    failed = failed.or(Some(fault));
                    continue;
                }
                Some(Err(fault)) => return Err(fault),
            };
            matching += usize::from(holds);
            match (name, value) {
                ("all", _) if !holds => return Ok(Value::Bool(false)),
                ("exists", _) if holds => return Ok(Value::Bool(true)),
                (_, Some(value)) if holds => results.push(self.with(&names, value)?),
                ("filter", None) if holds => results.push(single),
                _ => {}
            }
        }
        if let Some(fault) = failed {
            return Err(fault);
        }
        Ok(match name {
            "all" => Value::Bool(true),
            "exists" => Value::Bool(false),
            "exists_one" | "existsOne" => Value::Bool(matching == 1),
            _ => Value::List(results),
        })
    }
}

/// Whether a call is a macro rather than a function of that name.
fn is_macro(name: &str, arguments: &[Node]) -> bool {
    let least = if name == "transformList" { 3 } else { 2 };
    arguments.len() >= least && matches!(arguments.first(), Some(Node::Name(_)))
}

/// The value of an optional entry, where it has one.
fn present(value: Value) -> Result<Option<Value>, Fault> {
    match value {
        Value::Optional(inner) => Ok(inner.map(|value| *value)),
        other => Err(Fault::fails(format!("`?` stands before {}, which is no optional", other.kind()))),
    }
}

fn field_of(value: Value, field: &str, optional: bool) -> Result<Value, Fault> {
    match value {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => match *inner {
            Value::Map(map) => Ok(Value::optional(map.get(field).cloned())),
            _ => Ok(Value::Optional(None)),
        },
        Value::Map(map) if optional => Ok(Value::optional(map.get(field).cloned())),
        Value::Map(map) => {
            map.get(field).cloned().ok_or_else(|| Fault::fails(format!("there is no `{field}`")))
        }
        other => Err(Fault::fails(format!("{} has no field `{field}`", other.kind()))),
    }
}

fn overflow() -> Fault {
    Fault::fails("a number does not fit into 64 bits")
}

fn binary(operator: &str, left: Value, right: Value) -> Result<Value, Fault> {
    let mismatch =
        || Fault::fails(format!("`{operator}` does not go between {} and {}", left.kind(), right.kind()));
    Ok(match operator {
        "==" => Value::Bool(left.same(&right)),
        "!=" => Value::Bool(!left.same(&right)),
        "<" => Value::Bool(left.order(&right).ok_or_else(mismatch)?.is_lt()),
        "<=" => Value::Bool(left.order(&right).ok_or_else(mismatch)?.is_le()),
        ">" => Value::Bool(left.order(&right).ok_or_else(mismatch)?.is_gt()),
        ">=" => Value::Bool(left.order(&right).ok_or_else(mismatch)?.is_ge()),
        "in" => match (&left, &right) {
            (_, Value::List(items)) => Value::Bool(items.iter().any(|item| item.same(&left))),
            (Value::String(key), Value::Map(map)) => Value::Bool(map.contains_key(key)),
            _ => return Err(mismatch()),
        },
        _ => match (&left, &right) {
            (Value::String(left), Value::String(right)) if operator == "+" => {
                Value::text(format!("{left}{right}"))
            }
            (Value::List(left), Value::List(right)) if operator == "+" => {
                Value::List(left.iter().chain(right).cloned().collect())
            }
            (Value::Int(left), Value::Int(right)) => Value::Int(
                match operator {
                    "+" => left.checked_add(*right),
                    "-" => left.checked_sub(*right),
                    "*" => left.checked_mul(*right),
                    "/" => left.checked_div(*right),
                    _ => left.checked_rem(*right),
                }
                .ok_or_else(|| Fault::fails("a number does not fit into 64 bits, or is divided by zero"))?,
            ),
            (Value::Double(left), Value::Double(right)) if operator != "%" => Value::Double(match operator {
                "+" => left + right,
                "-" => left - right,
                "*" => left * right,
                _ => left / right,
            }),
            _ => return Err(mismatch()),
        },
    })
}
