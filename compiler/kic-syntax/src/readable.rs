//! Nodes as a person would write them: texts of several lines as such.

use crate::Value;
use crate::plain::{Name, Plain};

/// The node as KDL that [`format`](crate::format()) leaves as it is.
pub(crate) fn write(node: &Plain, depth: usize, out: &mut String) {
    indent(depth, out);
    if let Some(annotation) = &node.annotation {
        out.push_str(&format!("({})", Name(annotation)));
    }
    out.push_str(&Name(&node.name).to_string());
    for value in &node.arguments {
        out.push(' ');
        push_value(value, depth, out);
    }
    for (name, value) in &node.properties {
        out.push_str(&format!(" {}=", Name(name)));
        push_value(value, depth, out);
    }
    match node.children.as_deref() {
        None => {}
        Some([]) => out.push_str(" {}"),
        Some(children) => {
            out.push_str(" {\n");
            for child in children {
                write(child, depth + 1, out);
            }
            indent(depth, out);
            out.push('}');
        }
    }
    out.push('\n');
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("    ", depth));
}

fn push_value(value: &Value, depth: usize, out: &mut String) {
    let Value::String(text) = value else {
        out.push_str(&value.to_string());
        return;
    };
    let Some(hashes) = hashes(text) else {
        out.push_str(&value.to_string());
        return;
    };
    let hashes = "#".repeat(hashes);
    out.push_str(&format!("{hashes}\"\"\"\n"));
    for line in text.split('\n') {
        if !line.is_empty() {
            indent(depth + 1, out);
            out.push_str(line);
        }
        out.push('\n');
    }
    indent(depth + 1, out);
    out.push_str(&format!("\"\"\"{hashes}"));
}

/// How many `#` a multi-line string of this text needs; `None` where it has to be written on one line.
fn hashes(text: &str) -> Option<usize> {
    // What KDL forbids or takes for the end of a line, and what a reader cannot see, is escaped on one line.
    let is_plain = |c: char| match c {
        '\n' | '\t' => true,
        '\u{a0}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => false,
        c => !c.is_control(),
    };
    let is_blank = |line: &str| !line.is_empty() && line.trim().is_empty();
    if !text.trim_end_matches('\n').contains('\n')
        || !text.chars().all(is_plain)
        || text.split('\n').any(is_blank)
    {
        return None;
    }
    if !text.contains('\\') && !text.contains("\"\"\"") {
        return Some(0);
    }
    // One more than follow any three quotes in the text.
    let after_quotes =
        text.split("\"\"\"").skip(1).map(|rest| rest.bytes().take_while(|byte| *byte == b'#').count());
    Some(after_quotes.max().unwrap_or(0) + 1)
}
