/// The candidate closest to what was written, when it is close enough to be what was meant: at most one
/// edit for every three characters (an edit inserts, removes, replaces or swaps neighbours), at least one.
/// Ties go to the candidate that comes first.
pub fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = written.to_lowercase().chars().take(64).collect();
    let limit = (written.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            (edits(&written, &candidate.to_lowercase().chars().take(64).collect::<Vec<_>>()), candidate)
        })
        .filter(|(edits, candidate)| *edits <= limit && *edits < candidate.chars().count().max(written.len()))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j + 1] + 1).min(row[j] + 1).min(rows[i][j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_suggested_and_far_ones_are_not() {
        let names = ["registry", "readiness", "manifests", "base"];
        assert_eq!(closest("registri", names), Some("registry"));
        assert_eq!(closest("manifest", names), Some("manifests"));
        assert_eq!(closest("bsae", names), Some("base"));
        assert_eq!(closest("Registry", names), Some("registry"));
        assert_eq!(closest("launch", names), None);
        assert_eq!(closest("", names), None);
        assert_eq!(closest("a", ["b"]), None);
    }
}
