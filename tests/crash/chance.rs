//! Chance: numbers from a seed that is printed, and how often a test does what it does.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A splitmix64 generator.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A generator with the seed of `VOLERY_SEED`, or one drawn from the system, which it prints.
    pub(crate) fn printed(test: &str) -> Self {
        let drawn = || RandomState::new().build_hasher().finish();
        let seed = number("VOLERY_SEED").unwrap_or_else(drawn);
        eprintln!("{test}: VOLERY_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// One of two, each as likely.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// How often: as the variable says, else often in continuous integration and seldom elsewhere.
pub(crate) fn times(variable: &str, seldom: u64, often: u64) -> u64 {
    number(variable).unwrap_or(if in_ci() { often } else { seldom })
}

/// Tells whether this is continuous integration, where nothing may be left out.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}
