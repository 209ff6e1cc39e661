//! Sizes, times and tables for people.

use std::time::Duration;

/// Bytes with a unit, as `12.3 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time, as `12 ms` or `1.2 s`.
pub fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// A text of a stranger, fit for a terminal: control characters, which could move the cursor or change colours, become
/// `␣`.
pub fn printable(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(character: char) -> char {
    if character.is_control() { '␣' } else { character }
}

/// A digest cut to twelve digits; any other text as it is.
pub fn short_digest(text: &str) -> String {
    text.strip_prefix("sha256:").map_or_else(|| text.to_owned(), |hex| hex.chars().take(12).collect())
}

/// A text in which each digest that stands in quotes of its own is cut to twelve digits.
pub fn short_quoted(text: &str) -> String {
    text.split('`').map(short_digest).collect::<Vec<_>>().join("`")
}

/// A number of things, as `1 blob` or `2 blobs`.
pub fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A table with a head: columns aligned with two spaces between them, the columns in `right` to the right.
pub fn table(head: &[&str], rows: &[Vec<String>], right: &[usize], color: bool) -> String {
    // What is shown takes a character for each, so the widths are those of the texts as they are.
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = head.iter().map(|text| width(text)).collect();
    for row in rows {
        for (column, text) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(text));
        }
    }
    let line = |out: &mut String, cells: &mut dyn Iterator<Item = &str>| {
        for (column, text) in cells.enumerate() {
            if column > 0 {
                out.push_str("  ");
            }
            let space = widths[column].saturating_sub(width(text));
            let is_right = right.contains(&column);
            if is_right {
                out.extend(std::iter::repeat_n(' ', space));
            }
            out.extend(text.chars().map(shown));
            if !is_right && column + 1 < head.len() {
                out.extend(std::iter::repeat_n(' ', space));
            }
        }
    };
    let mut out = String::new();
    if color {
        out.push_str("\u{1b}[1m");
    }
    line(&mut out, &mut head.iter().copied());
    if color {
        out.push_str("\u{1b}[0m");
    }
    out.push('\n');
    for row in rows {
        line(&mut out, &mut row.iter().map(String::as_str));
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (12_345_678, "12.3 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn digests_in_quotes_of_their_own_are_cut() {
        let digest = "sha256:2e2fe0d1c0b0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let text = format!("the layer `{digest}` of `nginx@{digest}`");
        assert_eq!(short_quoted(&text), format!("the layer `2e2fe0d1c0b0` of `nginx@{digest}`"));
    }

    #[test]
    fn tables_align_their_columns() {
        let rows =
            vec![vec!["a".into(), "10".into(), "x".into()], vec!["bcd".into(), "5".into(), "y".into()]];
        assert_eq!(
            table(&["N", "SIZE", "Z"], &rows, &[1], false),
            "N    SIZE  Z\na      10  x\nbcd     5  y\n"
        );
    }
}
