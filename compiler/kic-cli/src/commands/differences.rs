//! What `kic diff` says to people.

use kic::{Change, DiffValue, FileValue, ImageDiff, ImageDifference};

use crate::report::{printable, short_digest};

/// Longer values and lines are cut; JSON has all of them.
const SHOWN: usize = 200;
/// So much is shown of what two long texts have in common before they differ.
const BEFORE: usize = 40;

/// The differences of two images as a tree.
pub fn differences(diff: &ImageDiff, color: bool) -> String {
    if diff.same {
        return format!("the images are the same\n{}\n", diff.left.digest);
    }
    let mut text = format!(
        "{} {} {}\n{} {} {}\n",
        paint("-", Change::Removed, color),
        diff.left.digest.short(),
        printable(&diff.left.image),
        paint("+", Change::Added, color),
        diff.right.digest.short(),
        printable(&diff.right.image)
    );
    for difference in &diff.differences {
        text.push_str(&format!("\n{}\n", line(difference, color)));
        tree(&difference.parts, "", color, &mut text);
    }
    text
}

fn tree(parts: &[ImageDifference], indent: &str, color: bool, text: &mut String) {
    let mut rows: Vec<(String, &[ImageDifference])> = Vec::new();
    let mut next = (1, 1);
    for (index, part) in parts.iter().enumerate() {
        if part.kind == "line" {
            rows.extend(skipped(part, &mut next).map(|row| (paint(&row, Change::Same, color), &[][..])));
            rows.push((text_line(parts, index, color), &[]));
        } else {
            rows.push((line(part, color), &part.parts));
        }
    }
    let count = rows.len();
    for (index, (row, below)) in rows.into_iter().enumerate() {
        let (branch, under) = if index + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&format!("{indent}{branch}{row}\n"));
        tree(below, &format!("{indent}{under}"), color, text);
    }
}

fn sign(change: Change) -> &'static str {
    match change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
        Change::Moved => ">",
        Change::Same => " ",
    }
}

fn line(difference: &ImageDifference, color: bool) -> String {
    let (left, right) = (difference.left.as_ref(), difference.right.as_ref());
    if let (Some(DiffValue::Lines { lines: gone }), Some(DiffValue::Lines { lines: come })) = (left, right) {
        return paint(&format!("~ and more: {gone} lines removed, {come} added"), difference.change, color);
    }
    let text = |value| value_text(value, difference.kind);
    let values = match (left.map(text), right.map(text)) {
        // The lines that differ say it.
        _ if difference.kind == "field" && !difference.parts.is_empty() => String::new(),
        (None, None) => String::new(),
        (Some(left), Some(right)) => {
            format!("  {} → {}", excerpt(&left, &right), excerpt(&right, &left))
        }
        (Some(one), None) | (None, Some(one)) => format!("  {}", excerpt(&one, "")),
    };
    let line = format!("{} {}", sign(difference.change), printable(&difference.name));
    format!("{}{}", paint(&line, difference.change, color), printable(&values)).trim_end().to_owned()
}

/// One of the lines of a text.
fn text_line(lines: &[ImageDifference], at: usize, color: bool) -> String {
    let line = &lines[at];
    let shown = excerpt(&line.name, counterpart(lines, at).unwrap_or_default());
    paint(&format!("{} {}", sign(line.change), printable(&shown)), line.change, color).trim_end().to_owned()
}

/// The line in whose place another one stands: the first of those that went for the first of those that came.
fn counterpart(lines: &[ImageDifference], at: usize) -> Option<&str> {
    let run = |change: Change, end: usize| {
        lines[..end].iter().rev().take_while(|line| line.change == change).count()
    };
    let own = run(lines[at].change, at);
    let found = match lines[at].change {
        Change::Removed => {
            let rest = lines[at..].iter().take_while(|line| line.change == Change::Removed).count();
            let come = &lines[at + rest..];
            come.iter().take_while(|line| line.change == Change::Added).nth(own)
        }
        Change::Added => {
            let first = at - own;
            lines[first - run(Change::Removed, first)..first].get(own)
        }
        _ => None,
    };
    found.map(|line| line.name.as_str())
}

/// What stands for lines that are left out before this one.
fn skipped(line: &ImageDifference, next: &mut (usize, usize)) -> Option<String> {
    let number = |value: &Option<DiffValue>| match value {
        Some(DiffValue::Line { line }) => Some(*line),
        _ => None,
    };
    let (left, right) = (number(&line.left), number(&line.right));
    let is_next = left.is_none_or(|line| line == next.0) && right.is_none_or(|line| line == next.1);
    *next = (left.map_or(next.0, |line| line + 1), right.map_or(next.1, |line| line + 1));
    (!is_next).then(|| format!("⋮ line {}", right.or(left).unwrap_or_default()))
}

fn value_text(value: &DiffValue, kind: &str) -> String {
    match value {
        DiffValue::Json(json) => json.to_string(),
        DiffValue::Text(text) => short_digest(text),
        DiffValue::Blob(blob) => format!("{} ({})", blob.digest.short(), bytes(blob.size)),
        DiffValue::File(file) => file_text(file),
        DiffValue::Position { position } => format!("{kind} {position}"),
        DiffValue::Line { line } => format!("line {line}"),
        DiffValue::Lines { lines } => format!("{lines} lines"),
    }
}

fn file_text(file: &FileValue) -> String {
    match (&file.link, &file.digest, file.size) {
        (Some(link), ..) => format!("{} to {link}", file.kind),
        (None, Some(digest), Some(size)) => format!("{}, {}", bytes(size), digest.short()),
        _ => file.kind.to_owned(),
    }
}

fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}

/// A text, of a long one the part around the first character in which it differs from another.
fn excerpt(text: &str, other: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN {
        return text.to_owned();
    }
    let common = text.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let first = common.saturating_sub(BEFORE).min(count - SHOWN);
    let part: String = text.chars().skip(first).take(SHOWN).collect();
    let (before, after) = (if first > 0 { "…" } else { "" }, if first + SHOWN < count { "…" } else { "" });
    format!("{before}{part}{after} ({})", bytes(text.len() as u64))
}

fn paint(text: &str, change: Change, color: bool) -> String {
    let code = match change {
        Change::Added => "32",
        Change::Removed => "31",
        Change::Changed | Change::Moved => "33",
        Change::Same => "2",
    };
    if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_around_where_they_differ() {
        let long = |middle: &str| format!("{}{middle}{}", "a".repeat(1000), "z".repeat(1000));
        let (one, other) = (long("1"), long("2"));
        assert_eq!(
            excerpt(&one, &other),
            format!("…{}1{}… (2001 bytes)", "a".repeat(BEFORE), "z".repeat(SHOWN - BEFORE - 1))
        );
        assert!(excerpt(&other, &one).contains("a2z"));
        assert!(excerpt(&one, "").starts_with("aaa"));
        assert!(excerpt(&one, &one).ends_with("zzz (2001 bytes)"));
        assert_eq!(excerpt("short", "other"), "short");
    }
}
