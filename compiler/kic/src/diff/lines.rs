//! Texts line by line.

use std::collections::BTreeSet;

use super::sequence::{Step, steps};
use super::{Change, Difference, Value};

/// Lines around one that differs.
const AROUND: usize = 2;
/// The most lines of one text that are shown, those around others included.
const SHOWN: usize = 200;

/// The lines that differ with some around them, up to a limit, and how many more there are.
pub(super) fn lines(left: &str, right: &str) -> Vec<Difference> {
    let lefts: Vec<&str> = left.split_terminator('\n').collect();
    let rights: Vec<&str> = right.split_terminator('\n').collect();
    let steps = steps(&lefts, &rights);
    let differs = |at: &usize| !matches!(steps[*at], Step::Both(..));
    let near: BTreeSet<usize> = (0..steps.len())
        .filter(differs)
        .flat_map(|at| at.saturating_sub(AROUND)..=(at + AROUND).min(steps.len() - 1))
        .collect();
    let value = |at: usize| Some(Value::Line { line: at + 1 });
    let mut told: Vec<Difference> = near
        .iter()
        .take(SHOWN)
        .map(|at| match steps[*at] {
            Step::Both(one, other) => {
                Difference::new(Change::Same, "line", lefts[one]).between(value(one), value(other))
            }
            Step::Left(one) => Difference::new(Change::Removed, "line", lefts[one]).between(value(one), None),
            Step::Right(other) => {
                Difference::new(Change::Added, "line", rights[other]).between(None, value(other))
            }
        })
        .collect();
    let (mut gone, mut come) = (0, 0);
    for at in near.into_iter().skip(SHOWN) {
        match steps[at] {
            Step::Both(..) => {}
            Step::Left(_) => gone += 1,
            Step::Right(_) => come += 1,
        }
    }
    if gone + come > 0 {
        let rest = (Value::Lines { lines: gone }, Value::Lines { lines: come });
        told.push(Difference::changed("more", "more lines", rest.0, rest.1));
    }
    if told.is_empty() && left != right {
        told.push(Difference::form("one of them ends without a newline"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(left: &str, right: &str) -> String {
        let shown = lines(left, right).into_iter().map(|line| match line.change {
            Change::Same => format!(" {}", line.name),
            Change::Removed => format!("-{}", line.name),
            Change::Added => format!("+{}", line.name),
            _ => format!("~{} {:?} {:?}", line.name, line.left, line.right),
        });
        shown.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn lines_are_shown_with_those_around_them() {
        assert_eq!(shown("a\nb\nc\nd\ne\n", "a\nb\nc\nD\ne\n"), " b| c|-d|+D| e");
        assert_eq!(shown("a\r\n", "a\n"), "-a\r|+a");
        assert_eq!(shown("a\n", "a"), "~one of them ends without a newline None None");
        assert_eq!(shown("a\n", "a\n"), "");
    }

    #[test]
    fn two_lines_far_apart_in_a_long_text_are_found() {
        let text = |first: &str, second: &str| {
            let line = |at: usize| match at {
                100 => first.to_owned(),
                4900 => second.to_owned(),
                at => format!("line {at}"),
            };
            (0..5000).map(line).collect::<Vec<_>>().join("\n")
        };
        let told = lines(&text("a", "b"), &text("A", "B"));
        assert_eq!(told.len(), 12);
        assert_eq!(told[2].left, Some(Value::Line { line: 101 }));
    }

    #[test]
    fn many_lines_are_counted() {
        let text = |word: &str| (0..3000).map(|at| format!("{word} {at}\n")).collect::<String>();
        let told = lines(&text("a"), &text("b"));
        assert_eq!(told.len(), SHOWN + 1);
        let rest = (told[SHOWN].left.clone(), told[SHOWN].right.clone());
        assert_eq!(rest, (Some(Value::Lines { lines: 2800 }), Some(Value::Lines { lines: 3000 })));
    }
}
