//! Good specs with one mistake each, made by rule: a word misspelt, a value of another type, a brace or quote lost, a
//! name moved, something missing or doubled. Each must give an error whose place is that of the mistake, with the fix
//! where one word is the fix. None may panic, hang, or pass.
//!
//! The specs are the cases of `tests/language` that give no error, and the examples. What is inside Kubernetes objects
//! and inside `use`, `let`, `when` and `for` is left as it is: other words are right there, too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_diag::Diagnostics;
use kic_spec::nodes::CLUSTER;
use kic_spec::schema::{Children, Count, NodeSchema, Occurs, Type};
use kic_syntax::{Entry, Node, Value};

use crate::language;
use crate::support::root;

/// A spec without mistakes.
struct Program {
    name: String,
    text: String,
    files: BTreeMap<PathBuf, String>,
}

/// A spec with one.
struct Wrong {
    /// What kind of mistake it is.
    kind: &'static str,
    text: String,
    /// Where it is, in bytes of the text. An error must have a label that touches it.
    place: Range<usize>,
    /// What the help must name.
    fix: Option<String>,
}

fn programs() -> Vec<Program> {
    let mut programs = language::good_cases();
    let examples = std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<PathBuf> = examples.filter(|folder| folder.join("cluster.kdl").exists()).collect();
    for folder in &examples {
        // The examples are bases of each other, and some have modules.
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for other in &examples {
            texts_of_language(other, &Path::new("..").join(other.file_name().unwrap()), &mut files);
        }
        texts_of_language(folder, Path::new(""), &mut files);
        programs.push((folder.file_name().unwrap().display().to_string(), files));
    }
    programs.sort_by(|left, right| left.0.cmp(&right.0));
    let program = |(name, files): (String, BTreeMap<PathBuf, String>)| {
        let text = files[Path::new("cluster.kdl")].clone();
        Program { name, text, files }
    };
    programs.into_iter().map(program).collect()
}

/// Specs, modules and lists of images in a folder and below it, as seen from `seen`.
fn texts_of_language(folder: &Path, seen: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let (path, seen) = (entry.path(), seen.join(entry.file_name()));
        if path.is_dir() {
            texts_of_language(&path, &seen, files);
        } else if path.extension().is_some_and(|end| end == "kdl") || path.ends_with("imageList") {
            files.insert(seen, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// What is said of a spec.
fn said(text: &str, files: &BTreeMap<PathBuf, String>) -> Diagnostics {
    let files = files.iter().map(|(path, text)| (path.clone(), text.clone()));
    let mut files: BTreeMap<PathBuf, String> = files.collect();
    files.insert("cluster.kdl".into(), text.to_owned());
    language::said_of(&files)
}

/// All mistakes that can be made in a program.
struct Mistakes<'a> {
    text: &'a str,
    wrong: Vec<Wrong>,
    /// The names of layers, by the node that they are the layers of.
    layers: Vec<(String, String)>,
    /// The steps that name layers: which, and where.
    steps: Vec<(String, String, Range<usize>)>,
    /// Turns at each choice, so that not every word is misspelt in the same way.
    turn: usize,
}

impl Mistakes<'_> {
    /// The text with `place` replaced.
    fn make(&mut self, kind: &'static str, place: Range<usize>, with: &str, fix: Option<String>) {
        let text = format!("{}{with}{}", &self.text[..place.start], &self.text[place.end..]);
        let place = place.start..place.start + with.len();
        self.wrong.push(Wrong { kind, text, place, fix });
    }

    /// A misspelling of a word: two letters swapped, one left out, doubled, or another one.
    fn misspelt(&mut self, word: &str) -> Option<String> {
        self.turn += 1;
        let letters: Vec<char> = word.chars().collect();
        let at = self.turn % letters.len().max(1);
        if letters.len() < 3 || !letters.iter().all(|letter| letter.is_ascii_lowercase() || *letter == '-') {
            return None;
        }
        let mut other = letters.clone();
        match self.turn % 4 {
            0 if at + 1 < letters.len() => other.swap(at, at + 1),
            1 => drop(other.remove(at)),
            2 => other.insert(at, letters[at]),
            _ => other[at] = if letters[at] == 'x' { 'q' } else { 'x' },
        }
        let other: String = other.into_iter().collect();
        (other != word && !other.starts_with('-') && !other.ends_with('-')).then_some(other)
    }

    fn node(&mut self, node: &Node, schema: &'static NodeSchema, siblings: &[&'static NodeSchema]) {
        // What is evaluated may stand where it likes.
        let is_closed =
            node.annotation.is_none() && node.entries.iter().all(|entry| entry.annotation.is_none());
        if !is_closed {
            return;
        }
        if let Some(other) = self.misspelt(schema.name)
            && !siblings.iter().any(|sibling| sibling.name == other)
        {
            self.make("a node misspelt", node.name.span.range(), &other, Some(schema.name.to_owned()));
        }
        if schema.occurs != Occurs::Many && schema.name != "cluster" {
            let start = node.span.range().start;
            let copy = format!("{}\n", &self.text[node.span.range()]);
            self.make("a node doubled", start..start, &copy, None);
            if let Some(wrong) = self.wrong.last_mut() {
                // The second one is shown.
                wrong.place = start..start + 2 * copy.len();
            }
        }
        self.arguments(node, schema);
        self.properties(node, schema);
        if node.children.is_some() && self.text[node.span.range()].ends_with('}') {
            let head = node.head().range().end;
            let open = head + self.text[head..].find('{').unwrap_or(0);
            let close = node.span.range().end - 1;
            for brace in [open, close] {
                let kind = if brace == open { "an opening brace lost" } else { "a closing brace lost" };
                self.make(kind, brace..brace + 1, "", None);
                if let Some(wrong) = self.wrong.last_mut() {
                    wrong.place = node.span.range().start..node.span.range().end;
                }
            }
        }
        if let Children::Nodes(allowed) = schema.children {
            for child in node.children() {
                if let Some(schema) = allowed.iter().find(|schema| schema.name == child.name.value) {
                    self.node(child, schema, allowed);
                }
            }
        }
    }

    fn arguments(&mut self, node: &Node, schema: &'static NodeSchema) {
        let given: Vec<&Entry> = node.arguments().collect();
        for (index, entry) in given.iter().enumerate() {
            let Some(argument) = schema.arguments.get(index).or(schema.arguments.last()) else { continue };
            self.value(entry, argument.value);
            // Where there may be any number, one more or less is no mistake.
            if argument.count == Count::One
                || argument.count == Count::Optional
                || argument.count == Count::Some && given.len() == 1
            {
                let alone =
                    argument.count == Count::Optional && !node.entries.is_empty() && node.entries.len() > 1;
                if !alone {
                    self.make("an argument missing", entry.span.range(), "", None);
                    if let Some(wrong) = self.wrong.last_mut() {
                        wrong.place = node.name.span.range();
                    }
                }
            }
        }
        if let (Some(last), Some(argument)) = (given.last(), schema.arguments.last())
            && !matches!(argument.count, Count::Some | Count::Any)
        {
            let end = last.span.range().end;
            let copy = format!(" {}", &self.text[last.span.range()]);
            self.make("an argument doubled", end..end, &copy, None);
        }
        // Names of layers.
        let Some(entry) = given.first() else { return };
        let Value::String(name) = &entry.value else { return };
        let step = if schema.name == "readiness" { "wait" } else { "apply" };
        let named = self.steps.iter().find(|(kind, layer, _)| kind == step && layer == name);
        if ["manifests", "policies", "readiness"].contains(&schema.name)
            && let Some((.., step)) = named.cloned()
        {
            let place = entry.value_span.range();
            let moved = format!("\"{name}-moved\"");
            let added = moved.len() as isize - place.len() as isize;
            let is_behind = step.start > place.start;
            self.make("a layer renamed", place, &moved, None);
            if let Some(wrong) = self.wrong.last_mut() {
                let shift = |at: usize| if is_behind { at.saturating_add_signed(added) } else { at };
                wrong.place = shift(step.start)..shift(step.end);
            }
        }
        let kinds: &[&str] = match schema.name {
            "apply" => &["manifests", "policies"],
            "wait" => &["readiness"],
            _ => return,
        };
        let is_layer = |(kind, layer): &&(String, String)| kinds.contains(&kind.as_str()) && layer == name;
        if self.layers.iter().filter(is_layer).count() == 1
            && let Some(other) = self.misspelt(name)
            && !self.layers.iter().any(|(_, layer)| *layer == other)
        {
            self.make(
                "a name of a layer misspelt",
                entry.value_span.range(),
                &format!("\"{other}\""),
                Some(name.clone()),
            );
        }
    }

    fn properties(&mut self, node: &Node, schema: &'static NodeSchema) {
        for entry in node.properties() {
            let Some(name) = &entry.name else { continue };
            let Some(property) = schema.properties.iter().find(|property| property.name == name.value) else {
                continue;
            };
            self.value(entry, property.value);
            if let Some(other) = self.misspelt(property.name)
                && !schema.properties.iter().any(|property| property.name == other)
            {
                self.make("a property misspelt", name.span.range(), &other, Some(property.name.to_owned()));
            }
            let end = entry.span.range().end;
            let copy = format!(" {}", &self.text[entry.span.range()]);
            self.make("a property doubled", end..end, &copy, None);
            if property.required {
                self.make("a property missing", entry.span.range(), "", None);
                if let Some(wrong) = self.wrong.last_mut() {
                    wrong.place = node.name.span.range();
                }
            }
        }
    }

    fn value(&mut self, entry: &Entry, wanted: Type) {
        let place = entry.value_span.range();
        let other = match wanted {
            Type::Bool => "\"yes\"",
            Type::HttpStatus => "\"fine\"",
            Type::Any => return,
            Type::RegistryOrBool => ["7", "#null", "1.5"][self.turn % 3],
            _ => ["7", "#true", "#null", "1.5"][self.turn % 4],
        };
        self.turn += 1;
        self.make("a value of another type", place.clone(), other, None);
        let nonsense = match wanted {
            Type::Name => "\"No Name\"",
            Type::Version => "\"no version\"",
            Type::ImagePath => "\"../../x\"",
            Type::Duration => "\"5 minutes\"",
            Type::Mode => "\"rwxr-xr-x\"",
            Type::Registry => "\"https://x\"",
            Type::Image | Type::Reference => "\"No:Image\"",
            Type::Platform => "\"linux/amd46\"",
            Type::Url => "\"example.com/x\"",
            Type::Checksum => "\"abc\"",
            Type::Resource => "\"a/b/c\"",
            Type::Kind => "\"Pod\"",
            Type::Choice(_) => "\"nonsense\"",
            Type::Path => "\"\"",
            _ => "",
        };
        if !nonsense.is_empty() {
            self.make("a value that is none", place.clone(), nonsense, None);
        }
        if let (Type::Choice(_), Value::String(word)) = (wanted, &entry.value)
            && let Some(other) = self.misspelt(word)
        {
            self.make("a choice misspelt", place.clone(), &format!("\"{other}\""), Some(word.clone()));
        }
        let written = &self.text[place.clone()];
        if written.len() > 2 && written.starts_with('"') && !written.starts_with("\"\"\"") {
            self.make("a quote lost", place.end - 1..place.end, "", None);
            if let Some(wrong) = self.wrong.last_mut() {
                wrong.place = place;
            }
        }
    }
}

fn mistakes(text: &str) -> Vec<Wrong> {
    let (file, _) = kic_syntax::parse(&Source::new("cluster.kdl", text));
    let Some(cluster) = file.nodes.iter().find(|node| node.name.value == "cluster") else {
        return Vec::new();
    };
    let layers = cluster.children().iter().filter_map(|node| match &node.arguments().next()?.value {
        Value::String(name) => Some((node.name.value.clone(), name.clone())),
        _ => None,
    });
    let launch = cluster.children().iter().filter(|node| node.name.value == "launch");
    let steps = launch.flat_map(|launch| launch.children()).filter_map(|step| {
        let entry = step.arguments().next()?;
        match &entry.value {
            Value::String(name) => Some((step.name.value.clone(), name.clone(), entry.value_span.range())),
            _ => None,
        }
    });
    let (layers, steps) = (layers.collect(), steps.collect());
    let mut mistakes = Mistakes { text, wrong: Vec::new(), layers, steps, turn: text.len() };
    mistakes.node(cluster, &CLUSTER, &[]);
    mistakes.wrong
}

/// What is wrong with what is said of a mistake.
fn fault(wrong: &Wrong, said: &Diagnostics) -> Option<String> {
    if !said.has_errors() {
        return Some("no error is said".to_owned());
    }
    let touches = |span: &kic_base::Span| {
        let range = span.range();
        span.source().name() == "cluster.kdl"
            && range.start <= wrong.place.end
            && wrong.place.start <= range.end
    };
    let here: Vec<_> =
        said.iter().filter(|one| one.labels.iter().any(|label| touches(&label.span))).collect();
    if here.is_empty() {
        return Some("no error is there".to_owned());
    }
    let fix = wrong.fix.as_ref()?;
    let names_it =
        here.iter().any(|one| one.help.as_ref().is_some_and(|help| help.contains(&format!("`{fix}`"))));
    (!names_it).then(|| format!("nobody says `{fix}`"))
}

fn list(said: &Diagnostics) -> String {
    let line = |one: &kic_diag::Diagnostic| {
        let place = one.labels.first().map(|label| label.span.to_string()).unwrap_or_default();
        format!("    {} {place}: {}; {}", one.code.name, one.message, one.help.clone().unwrap_or_default())
    };
    said.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_mistake_is_shown_where_it_is() {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let mut texts = BTreeSet::new();
    let mut failures = Vec::new();
    for program in programs() {
        let good = said(&program.text, &program.files);
        assert!(!good.has_errors(), "{}: {}", program.name, list(&good));
        for wrong in mistakes(&program.text) {
            if !texts.insert(wrong.text.clone()) {
                continue;
            }
            *made.entry(wrong.kind).or_default() += 1;
            let said = said(&wrong.text, &program.files);
            if let Some(fault) = fault(&wrong, &said) {
                let (line, _) = Source::new("", wrong.text.clone()).line_column(wrong.place.start);
                let shown = wrong.text.lines().nth(line - 1).unwrap_or_default();
                failures.push(format!(
                    "{}: {}: {fault}\n  line {line}: {shown}\n{}",
                    program.name,
                    wrong.kind,
                    list(&said)
                ));
            }
        }
    }
    let total: usize = made.values().sum();
    eprintln!("{total} wrong programs: {made:?}");
    assert!(total >= 300 && made.len() >= 15 && made.values().all(|count| *count >= 3), "too few: {made:?}");
    assert!(failures.is_empty(), "{} of {total}\n{}", failures.len(), failures.join("\n"));
}
