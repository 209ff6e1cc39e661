//! Two lists held against each other.

/// Lists with more differences are compared by their ends alone: memory grows with their square.
const LIMIT: usize = 2000;
/// So many items are held against each other: of very long lists, fewer differences are looked for.
const WORK: usize = 100_000_000;

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
    middle(one, other, start, &mut steps);
    let (lefts, rights) = (left.len() - end, right.len() - end);
    steps.extend((0..end).map(|at| Step::Both(lefts + at, rights + at)));
    steps
}

/// Myers' algorithm ("An O(ND) difference algorithm and its variations", 1986): for each number of differences, how far each
/// diagonal leads with so many.
fn middle<T: PartialEq>(left: &[T], right: &[T], start: usize, steps: &mut Vec<Step>) {
    let both = left.len() + right.len();
    let most = both.min(LIMIT).min(WORK / both.max(1));
    // How far on the left, by diagonal; a diagonal is the place on the left less that on the right.
    let mut furthest = vec![0_usize; 2 * most + 3];
    let at = |diagonal: isize| (diagonal + most.cast_signed() + 1).cast_unsigned();
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for count in 0..=most.cast_signed() {
        // What the rounds before have left on the diagonals that this one starts from.
        rounds.push(furthest[at(-count - 1)..=at(count + 1)].to_vec());
        for diagonal in (-count..=count).step_by(2) {
            let mut i = begin(count, diagonal, |diagonal| furthest[at(diagonal)]).1;
            let mut j = (i.cast_signed() - diagonal).cast_unsigned();
            while i < left.len() && j < right.len() && left[i] == right[j] {
                (i, j) = (i + 1, j + 1);
            }
            furthest[at(diagonal)] = i;
            if i >= left.len() && j >= right.len() {
                steps.extend(way_back(&rounds, left.len(), right.len(), start));
                return;
            }
        }
    }
    steps.extend((0..left.len()).map(|at| Step::Left(start + at)));
    steps.extend((0..right.len()).map(|at| Step::Right(start + at)));
}

/// Where a diagonal begins in a round: whether one step on the right led there, and the place on the left.
fn begin(count: isize, diagonal: isize, furthest: impl Fn(isize) -> usize) -> (bool, usize) {
    let (above, below) = (furthest(diagonal + 1), furthest(diagonal - 1));
    if count == 0 {
        return (false, 0);
    }
    let is_right = diagonal == -count || (diagonal != count && below < above);
    if is_right { (true, above) } else { (false, below + 1) }
}

fn way_back(rounds: &[Vec<usize>], left: usize, right: usize, start: usize) -> Vec<Step> {
    let (mut i, mut j) = (left, right);
    let mut steps = Vec::new();
    for (count, round) in rounds.iter().enumerate().rev() {
        let count = count.cast_signed();
        let diagonal = i.cast_signed() - j.cast_signed();
        let furthest = |diagonal: isize| round[(diagonal + count + 1).cast_unsigned()];
        let (is_right, begins) = begin(count, diagonal, furthest);
        while i > begins {
            (i, j) = (i - 1, j - 1);
            steps.push(Step::Both(start + i, start + j));
        }
        if count > 0 && is_right {
            j -= 1;
            steps.push(Step::Right(start + j));
        } else if count > 0 {
            i -= 1;
            steps.push(Step::Left(start + i));
        }
    }
    steps.reverse();
    steps
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
    fn every_way_is_a_way_and_none_is_shorter() {
        fn common(left: &[usize], right: &[usize]) -> usize {
            match (left.split_first(), right.split_first()) {
                (Some((one, lefts)), Some((other, rights))) if one == other => 1 + common(lefts, rights),
                (Some((_, lefts)), Some((_, rights))) => common(lefts, right).max(common(left, rights)),
                _ => 0,
            }
        }
        // Every list of up to four items, of three kinds.
        let lists: Vec<Vec<usize>> = (0..=4_u32)
            .flat_map(|length| {
                (0..3_usize.pow(length))
                    .map(move |code| (0..length).map(|at| code / 3_usize.pow(at) % 3).collect())
            })
            .collect();
        for left in &lists {
            for right in &lists {
                let (mut lefts, mut rights, mut both) = (Vec::new(), Vec::new(), 0);
                for step in steps(left, right) {
                    if let Step::Both(i, _) | Step::Left(i) = step {
                        lefts.push(i);
                    }
                    if let Step::Both(_, j) | Step::Right(j) = step {
                        rights.push(j);
                    }
                    if let Step::Both(i, j) = step {
                        assert_eq!(left[i], right[j]);
                        both += 1;
                    }
                }
                assert!(lefts.into_iter().eq(0..left.len()), "{left:?} {right:?}");
                assert!(rights.into_iter().eq(0..right.len()), "{left:?} {right:?}");
                assert_eq!(both, common(left, right), "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn few_differences_far_apart_are_found_in_long_lists() {
        let left: Vec<usize> = (0..100_000).collect();
        let mut right = left.clone();
        right[10] = 200_000;
        right.remove(99_990);
        let found = steps(&left, &right);
        let apart: Vec<Step> = found.into_iter().filter(|step| !matches!(step, Step::Both(..))).collect();
        assert_eq!(apart, [Step::Left(10), Step::Right(10), Step::Left(99_990)]);
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
