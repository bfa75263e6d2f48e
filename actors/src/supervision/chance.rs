//! A tiny seeded generator for jitter.
//!
//! Pure: no I/O, no clock. Not for secrets and not for statistics.

/// SplitMix64: one word of state, the same sequence for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// Mixes the seed with a name, so that supervisors sharing a seed draw different sequences.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: any hash would do that is the same in every build.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    /// Draws a number from `0.0` (included) to `1.0` (excluded).
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        // The upper 53 bits are exactly what an f64 can hold.
        (word >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_draw_the_same_sequence() {
        let draw = |seed, name| {
            let mut chance = Chance::new(seed, name);
            [chance.unit(), chance.unit(), chance.unit()]
        };
        assert_eq!(draw(7, "root"), draw(7, "root"));
        assert_ne!(draw(7, "root"), draw(8, "root"));
        assert_ne!(draw(7, "root"), draw(7, "agents"));
    }

    #[test]
    fn draws_stay_in_the_unit_interval_and_spread() {
        let mut chance = Chance::new(1, "");
        let draws: Vec<f64> = (0..1000).map(|_| chance.unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "mean {mean}");
    }
}
