use std::collections::BTreeMap;

use kic_base::Span;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::binding::{Binding, Scalar};
use super::module::Library;
use super::scope::{Missing, Scope};
use super::{BUILT_IN_SOURCE, MOST_NODES, interpolate, is_marked, no_scalar};
use crate::decode::{check_nodes, unknown_annotation};
use crate::nodes;
use crate::schema::{Children, Count, NodeSchema, Occurs};
use crate::world::World;

/// The most blocks inside each other, over all modules.
const DEEPEST: usize = 256;

/// The longest text that all marked strings together may become, in bytes.
const MOST_TEXT: usize = 64 << 20;

/// A node without anything to evaluate, and the use of a module that it came by.
pub(crate) struct Closed {
    pub node: Node,
    /// 0 for the spec itself, else a place in `callers`.
    pub instance: usize,
    /// Whether it has taken the name of another one, and is added to it even if both come by one instance.
    pub is_moved: bool,
}

pub(super) struct Evaluator<'a> {
    pub world: &'a dyn World,
    pub library: &'a mut Library,
    pub diagnostics: &'a mut Diagnostics,
    pub scope: Scope,
    /// The modules being evaluated, outermost first, and where each is used.
    pub stack: Vec<(String, Span)>,
    /// For each use of a module: where it is.
    pub callers: Vec<Option<Span>>,
    /// For each module, by its identity: where it is used.
    pub uses: BTreeMap<String, Vec<Span>>,
    pub uses_platform: bool,
    pub is_incomplete: bool,
    /// Whether values are left open: the text is only checked.
    is_checking: bool,
    is_stopped: bool,
    depth: usize,
    count: usize,
    text: usize,
}

impl<'a> Evaluator<'a> {
    pub fn new(
        world: &'a dyn World,
        library: &'a mut Library,
        diagnostics: &'a mut Diagnostics,
        scope: Scope,
    ) -> Self {
        Self {
            world,
            library,
            diagnostics,
            scope,
            stack: Vec::new(),
            callers: vec![None],
            uses: BTreeMap::new(),
            uses_platform: false,
            is_incomplete: false,
            is_checking: false,
            is_stopped: false,
            depth: 0,
            count: 0,
            text: 0,
        }
    }

    pub fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Whether values are left open.
    pub fn is_checking(&self) -> bool {
        self.is_checking
    }

    /// Takes note of `parts` more nodes or parts of data. `false` when there are too many: nothing more is evaluated.
    pub fn spend(&mut self, parts: usize, place: &Span) -> bool {
        self.count = self.count.saturating_add(parts);
        if self.count > MOST_NODES {
            self.stop(
                Diagnostic::new(&code::TOO_LARGE, format!("the spec becomes more than {MOST_NODES} nodes"))
                    .at(place, "at this place")
                    .help("go over shorter lists, or put the data into files"),
            );
        }
        !self.is_stopped && !self.diagnostics.are_full()
    }

    /// Evaluates nothing more, for this reason.
    pub fn stop(&mut self, reason: Diagnostic) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            self.is_incomplete = true;
            self.error(reason);
        }
    }

    /// Evaluates the nodes of a block in order; what is left of them goes to `out`. `is_direct` tells whether it is
    /// the block of a spec or module itself.
    pub fn children(
        &mut self,
        nodes: &[Node],
        instance: usize,
        parent: Option<&'static NodeSchema>,
        is_direct: bool,
        out: &mut Vec<Closed>,
    ) {
        if self.depth == DEEPEST {
            let Some(first) = nodes.first() else { return };
            self.is_incomplete = true;
            self.error(
                Diagnostic::new(
                    &code::NESTED_TOO_DEEP,
                    format!("the spec and its modules nest deeper than {DEEPEST} levels"),
                )
                .at(&first.head(), "at this place")
                .help("use modules side by side instead of inside each other"),
            );
            return;
        }
        self.depth += 1;
        let mark = self.scope.mark();
        let is_top = parent.is_some_and(|parent| std::ptr::eq(parent, &nodes::CLUSTER));
        for node in nodes {
            if !self.spend(1, &node.name.span) {
                break;
            }
            match node.name.value.as_str() {
                // They have been read before.
                "param" | "doc" | "example" if is_direct => {}
                "param" | "doc" | "example" if is_top => self.error(
                    Diagnostic::new(
                        &code::INVALID_CONTROL,
                        format!("`{}` stands directly in a spec or module", node.name.value),
                    )
                    .at(&node.head(), "it is inside another node")
                    .help("move it out of the `when` or `for`"),
                ),
                "use" if is_top => self.use_module(node, out),
                "let" => self.let_value(node),
                "when" => self.when(node, instance, parent, out),
                "for" => self.each(node, instance, parent, out),
                "fail" => self.fail(node),
                name => {
                    let schema = schema_of(parent, name);
                    out.extend(self.close(node, instance, schema).map(|node| Closed {
                        node,
                        instance,
                        is_moved: false,
                    }));
                }
            }
        }
        self.scope.back_to(mark);
        self.depth -= 1;
    }

    /// Checks nodes whose values are left open, and forgets them.
    pub fn check(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Vec<Closed>),
        parent: Option<&'static NodeSchema>,
    ) {
        let mut out = Vec::new();
        let before = std::mem::replace(&mut self.is_checking, true);
        work(self, &mut out);
        self.is_checking = before;
        let Some(parent) = parent else { return };
        let nodes: Vec<Node> = out.into_iter().map(|closed| super::merge::unmarked(closed.node)).collect();
        check_nodes(&nodes, parent, self.diagnostics);
    }

    /// A node with all its entries and children evaluated; `None` where it says nothing.
    fn close(&mut self, node: &Node, instance: usize, schema: Option<&'static NodeSchema>) -> Option<Node> {
        let is_data = schema.is_some_and(|schema| matches!(schema.children, Children::Data));
        // Where arguments are optional, a map cannot be meant as one.
        let is_open = |schema: &NodeSchema| schema.arguments.iter().all(|one| one.count == Count::Any);
        if is_data
            && schema.is_some_and(is_open)
            && let Some(fields) = self.fields(node)
        {
            return Some(fields);
        }
        let mut closed = self.closed_head(node, false);
        if let Some(schema) = schema
            && schema.occurs == Occurs::Many
            && schema.arguments.last().is_some_and(|argument| argument.count == Count::Some)
            && closed.arguments().next().is_none()
            && node.arguments().next().is_some()
        {
            // All that it named were lists, and those were empty.
            return None;
        }
        closed.children = match (&node.children, schema.map(|schema| &schema.children)) {
            (None, _) => None,
            // In data, `for` and `when` are fields like any other.
            (Some(children), _) if is_data => {
                Some(children.iter().map_while(|child| self.close_data(child)).collect())
            }
            (Some(children), Some(Children::Nodes(_))) if !children.is_empty() => {
                let mut out = Vec::new();
                self.children(children, instance, schema, false, &mut out);
                Some(out.into_iter().map(|closed| closed.node).collect())
            }
            // Empty braces say nothing, and what holds no nodes, or is no node, is told of later.
            (Some(children), _) => (!children.is_empty()).then(|| children.clone()),
        };
        Some(closed)
    }

    /// The node without its children. A reference to a list becomes several arguments; in data that makes it a list,
    /// however many there are.
    pub fn closed_head(&mut self, node: &Node, is_data: bool) -> Node {
        let mut entries = Vec::with_capacity(node.entries.len());
        let mut annotation = node.annotation.clone();
        for entry in &node.entries {
            if !is_marked(entry) {
                entries.push(entry.clone());
                continue;
            }
            match self.value(entry) {
                Binding::Unknown => {
                    self.is_incomplete |= entry.name.is_none();
                    entries.push(entry.clone());
                }
                // A property of no value is left out; in data, `null` is a value.
                Binding::Scalar(Scalar { value: Value::Null, .. }) if entry.name.is_some() && !is_data => {}
                Binding::Scalar(scalar) => entries.push(closed_entry(entry, &scalar)),
                Binding::List(list) if entry.name.is_none() => {
                    if !self.spend(list.items.len(), &entry.span) {
                        break;
                    }
                    if is_data && annotation.is_none() {
                        annotation = Some(kic_base::Spanned::new("array".to_owned(), entry.span.clone()));
                    }
                    for item in &list.items {
                        match item {
                            Binding::Scalar(scalar) => entries.push(closed_entry(entry, scalar)),
                            Binding::Unknown => entries.push(entry.clone()),
                            other => {
                                self.error(no_scalar(entry, other));
                                entries.push(entry.clone());
                            }
                        }
                    }
                }
                other => {
                    self.error(no_scalar(entry, &other));
                    entries.push(entry.clone());
                }
            }
        }
        Node { annotation, name: node.name.clone(), entries, children: None, span: node.span.clone() }
    }

    /// The value of an entry, marked or not; unknown where it has an error, which is reported.
    pub fn value(&mut self, entry: &Entry) -> Binding {
        if !is_marked(entry) {
            return Binding::scalar(entry.value.clone(), entry.value_span.clone());
        }
        let Value::String(text) = &entry.value else {
            self.error(
                Diagnostic::new(&code::INVALID_REFERENCE, "only a string is marked with `($)`")
                    .at(&entry.span, "this is no string")
                    .help(format!("write `{}`", entry.value_span.text())),
            );
            return Binding::Unknown;
        };
        if self.is_checking {
            if let Err(error) = interpolate::check(text, &entry.value_span, &self.scope) {
                self.error(error);
            }
            return Binding::Unknown;
        }
        match interpolate::interpolate(text, &entry.value_span, &self.scope) {
            Ok(found) => {
                self.uses_platform |= found.is_of_platform;
                if let Binding::Scalar(Scalar { value: Value::String(text), .. }) = &found.binding {
                    self.spend_text(text.len(), &entry.span);
                }
                found.binding
            }
            Err(Missing::Unknown) => Binding::Unknown,
            Err(Missing::Error(diagnostic)) => {
                self.error(diagnostic);
                Binding::Unknown
            }
        }
    }

    fn spend_text(&mut self, bytes: usize, place: &Span) {
        self.text = self.text.saturating_add(bytes);
        if self.text > MOST_TEXT {
            self.stop(
                Diagnostic::new(
                    &code::TOO_LARGE,
                    "the strings of the spec become longer than 64 MiB together",
                )
                .at(place, "at this place")
                .help("put long texts into files"),
            );
        }
    }

    /// Tells of an annotation on a node that takes none.
    pub fn refuse_annotation(&mut self, node: &Node) {
        if let Some(annotation) = &node.annotation {
            self.error(unknown_annotation(annotation));
        }
    }
}

fn closed_entry(entry: &Entry, scalar: &Scalar) -> Entry {
    // What is built in is written nowhere.
    let is_built_in = scalar.span.source().name() == BUILT_IN_SOURCE;
    let value_span = if is_built_in { &entry.value_span } else { &scalar.span };
    Entry {
        name: entry.name.clone(),
        annotation: None,
        value: scalar.value.clone(),
        value_span: value_span.clone(),
        span: entry.span.clone(),
    }
}

fn schema_of(parent: Option<&'static NodeSchema>, name: &str) -> Option<&'static NodeSchema> {
    match parent?.children {
        Children::Nodes(nodes) => nodes.iter().find(|schema| schema.name == name).copied(),
        _ => None,
    }
}
