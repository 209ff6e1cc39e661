//! Two lists held against each other.

/// Longer lists are compared by their ends alone.
const LIMIT: usize = 2000;

/// What became of an item, with its place on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Both(usize, usize),
    Left(usize),
    Right(usize),
}

/// The shortest way from one list to the other: a longest common subsequence, and what is beside it.
pub(super) fn steps<T: PartialEq>(left: &[T], right: &[T]) -> Vec<Step> {
    let start = left.iter().zip(right).take_while(|(one, other)| one == other).count();
    let (one, other) = (&left[start..], &right[start..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[..one.len() - end], &other[..other.len() - end]);
    let mut steps: Vec<Step> = (0..start).map(|at| Step::Both(at, at)).collect();
    if one.len() > LIMIT || other.len() > LIMIT {
        steps.extend((0..one.len()).map(|at| Step::Left(start + at)));
        steps.extend((0..other.len()).map(|at| Step::Right(start + at)));
    } else {
        middle(one, other, start, &mut steps);
    }
    let (lefts, rights) = (left.len() - end, right.len() - end);
    steps.extend((0..end).map(|at| Step::Both(lefts + at, rights + at)));
    steps
}

fn middle<T: PartialEq>(left: &[T], right: &[T], start: usize, steps: &mut Vec<Step>) {
    let width = right.len() + 1;
    // For each pair of ends: how many items they still have in common.
    let mut common = vec![0_u16; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i * width + j] = if left[i] == right[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            steps.push(Step::Both(start + i, start + j));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len()
            || (i < left.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            steps.push(Step::Left(start + i));
            i += 1;
        } else {
            steps.push(Step::Right(start + j));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(left: &str, right: &str) -> String {
        let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
        let shown = steps(&left, &right).into_iter().map(|step| match step {
            Step::Both(i, j) => {
                assert_eq!(left[i], right[j]);
                format!(" {}", left[i])
            }
            Step::Left(i) => format!("-{}", left[i]),
            Step::Right(j) => format!("+{}", right[j]),
        });
        shown.collect()
    }

    #[test]
    fn the_shortest_way_is_found() {
        assert_eq!(shown("", ""), "");
        assert_eq!(shown("abc", "abc"), " a b c");
        assert_eq!(shown("abc", "ac"), " a-b c");
        assert_eq!(shown("ac", "abc"), " a+b c");
        assert_eq!(shown("abcd", "xbcy"), "-a+x b c-d+y");
        assert_eq!(shown("ab", "ba"), "-a b+a");
        assert_eq!(shown("aaa", "a"), " a-a-a");
    }

    #[test]
    fn long_lists_keep_their_common_ends() {
        let left: Vec<usize> = (0..10_000).collect();
        let right: Vec<usize> = (0..10).chain(20_000..27_000).chain(9_990..10_000).collect();
        let found = steps(&left, &right);
        let both = found.iter().filter(|step| matches!(step, Step::Both(..))).count();
        assert_eq!((both, found.len()), (20, 20 + 9_980 + 7_000));
    }
}
