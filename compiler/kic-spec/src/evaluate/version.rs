use std::cmp::Ordering;

/// A version, to be compared with another one: as in semantic versioning, but with any count of numbers, of which
/// those that are left out are 0, and a `v` or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ComparableVersion<'a> {
    numbers: Vec<u128>,
    /// What stands behind a `-`; a version that has some is below the one without.
    pre_release: Option<&'a str>,
}

impl<'a> ComparableVersion<'a> {
    /// `None` where the text is no version of numbers.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        // What stands behind a `+` tells builds of one version apart.
        let text = text.split_once('+').map_or(text, |(text, _)| text);
        let (numbers, pre_release) = match text.split_once('-') {
            Some((numbers, pre_release)) => (numbers, Some(pre_release)),
            None => (text, None),
        };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut numbers = numbers
            .split('.')
            .map(|part| if is_number(part) { part.parse().ok() } else { None })
            .collect::<Option<Vec<u128>>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        Some(Self { numbers, pre_release })
    }
}

impl Ord for ComparableVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => one.split('.').map(identifier).cmp(other.split('.').map(identifier)),
        })
    }
}

impl PartialOrd for ComparableVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A part of a pre-release: numbers come before words.
fn identifier(part: &str) -> (bool, u128, &str) {
    match part.parse::<u128>() {
        Ok(number) if part.bytes().all(|byte| byte.is_ascii_digit()) => (false, number, ""),
        _ => (true, 0, part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        let rising = [
            "v1.0.0-alpha",
            "1.0.0-alpha.1",
            "v1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "v1.0.0-beta.11",
            "1.0.0-rc.1",
            "v1",
            "1.5.1",
            "v1.9.99",
            "1.10",
            "v1.13.0",
            "v2.0.0-rc.1+build",
            "v2",
        ];
        for (place, one) in rising.iter().enumerate() {
            for (other_place, other) in rising.iter().enumerate() {
                let compared =
                    ComparableVersion::parse(one).unwrap().cmp(&ComparableVersion::parse(other).unwrap());
                assert_eq!(compared, place.cmp(&other_place), "{one} and {other}");
            }
        }
        for (one, other) in [("v1.10", "1.10.0"), ("1.30.2+k3s1", "v1.30.2"), ("1", "v1.0.0.0")] {
            assert_eq!(ComparableVersion::parse(one), ComparableVersion::parse(other), "{one} and {other}");
        }
    }

    #[test]
    fn what_has_no_numbers_is_not_compared() {
        for text in [
            "",
            "v",
            "latest",
            "1.x",
            "1..2",
            "1.",
            "-1",
            "1.+2",
            "vv1",
            "1.99999999999999999999999999999999999999999",
        ] {
            assert_eq!(ComparableVersion::parse(text), None, "{text}");
        }
    }
}
