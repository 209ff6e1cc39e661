//! Tables as text and as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

/// A table; its first column is to the left, the others to the right.
pub struct Table {
    pub title: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new() }
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        for line in std::iter::once(&self.head).chain(&self.rows) {
            for (column, cell) in line.iter().enumerate() {
                let width = self.width(column);
                let _ = match column {
                    0 => write!(text, "  {cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
    }

    pub fn markdown(&self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rules: Vec<&str> =
            (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
        let mut text = format!("{}\n\n{}|{}|\n", self.title, row(&self.head), rules.join("|"));
        text.extend(self.rows.iter().map(|cells| row(cells)));
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }
}

pub fn seconds(time: Option<Duration>) -> String {
    match time {
        None => "–".to_owned(),
        Some(time) if time < Duration::from_millis(100) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

pub fn ratio(time: Option<Duration>, to: Option<Duration>) -> String {
    match (time, to) {
        (Some(time), Some(to)) if !to.is_zero() => format!("{:.2}", time.as_secs_f64() / to.as_secs_f64()),
        _ => "–".to_owned(),
    }
}
