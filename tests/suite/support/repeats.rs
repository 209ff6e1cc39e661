//! How often a test does what chance decides, and where chance begins. The suite is content with a few; the environment asks for
//! more: `KIC_TEST_KILLS` runs that are killed, `KIC_TEST_ROUNDS` rounds of the rest, `KIC_TEST_SEED` for other ones.

use super::random::Random;

/// How many runs are killed.
pub fn kills(few: u32) -> u32 {
    number("KIC_TEST_KILLS").map_or(few, |number| u32::try_from(number).expect("a count"))
}

/// How many rounds are made.
pub fn rounds(few: u32) -> u32 {
    number("KIC_TEST_ROUNDS").map_or(few, |number| u32::try_from(number).expect("a count"))
}

/// Where chance begins in a test: at a number of its own, or at the one that is asked for. Printed, so that a failure can be
/// had again.
pub fn chance(own: u64) -> Random {
    let seed = number("KIC_TEST_SEED").unwrap_or(own);
    eprintln!("KIC_TEST_SEED={seed}");
    Random::new(seed)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}
