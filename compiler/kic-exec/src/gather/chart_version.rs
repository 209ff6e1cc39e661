//! Versions of charts: semantic versions, with a `v` before them or not.

use std::cmp::Ordering;

/// Whether two texts say one version.
pub(super) fn same(left: &str, right: &str) -> bool {
    left == right || bare(left) == bare(right)
}

/// Whether it is a version, and not one that comes before a release, as `1.0.0-rc.1` does.
pub(super) fn is_release(version: &str) -> bool {
    parts(version).is_some_and(|(_, before)| before.is_empty())
}

/// The order of semantic versions (semver.org, 11); what is none comes first.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (Some((left_core, left_before)), Some((right_core, right_before))) = (parts(left), parts(right))
    else {
        return parts(left).is_some().cmp(&parts(right).is_some()).then_with(|| left.cmp(right));
    };
    let before = match (left_before.is_empty(), right_before.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => compare_identifiers(left_before, right_before),
    };
    // Versions that differ in what stands behind `+` alone have no order: the text gives them one.
    left_core.cmp(&right_core).then(before).then_with(|| left.cmp(right))
}

fn bare(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

/// The three numbers, and what stands behind the `-`.
fn parts(version: &str) -> Option<([u64; 3], &str)> {
    let version = bare(version).split('+').next()?;
    let (core, before) = version.split_once('-').unwrap_or((version, ""));
    let mut numbers = core.split('.').map(|number| number.parse().ok());
    let parts = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some((parts, before))
}

fn compare_identifiers(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let (one, other) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) => (one, other),
        };
        let order = match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => one.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_semantic_versions() {
        let ordered = [
            "latest",
            "0.9.10",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "v1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "v1.10.0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert!(same("v1.2.3", "1.2.3") && !same("1.2.3", "1.2.30"));
        assert!(is_release("1.0.0+build") && !is_release("1.0.0-rc.1") && !is_release("1.0"));
    }
}
