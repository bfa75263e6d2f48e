//! Pace: how many jobs an agent is given beyond its slots, so that a slot that is free finds the next one.
//!
//! A slot is free when its engine is done; the board learns of that with the commit of the end. An agent
//! whose attempts are short beside a commit is therefore given as many jobs more as its slots can run in the
//! meantime: twice as many as ended with one commit, so that the number grows until it holds the slots up no
//! more. An agent with long attempts is given as many jobs as it has slots. Pure: no I/O, no clock.

/// Jobs beyond the slots of an agent at most. A tenth would hold up agents whose attempts take microseconds;
/// ten times as many would take memory for the inputs of jobs that wait no shorter for it.
pub(super) const AHEAD_MAX: u32 = 500;

/// How fast the jobs of one agent end.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The commit that the count is of.
    commit: u64,
    /// Short attempts that ended with it.
    short: u32,
    ahead: u32,
}

impl Pace {
    /// Counts an end with this commit; returns how many jobs the agent may be given beyond its slots.
    pub(super) fn count(&mut self, commit: u64, is_short: bool) -> u32 {
        if commit != self.commit {
            (self.commit, self.short) = (commit, 0);
            self.ahead /= 2;
        }
        self.short += u32::from(is_short);
        self.ahead = self.ahead.max(2 * self.short).min(AHEAD_MAX);
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The jobs given ahead after commits with so many short ends each.
    fn ahead(ends: &[u32]) -> Vec<u32> {
        let mut pace = Pace::default();
        let mut after = |(commit, ends): (u64, &u32)| {
            (0..*ends).map(|_| pace.count(commit, true)).last().unwrap_or_else(|| pace.count(commit, false))
        };
        (1..).zip(ends).map(&mut after).collect()
    }

    #[test]
    fn the_number_grows_with_the_ends_of_a_commit_and_falls_without_them() {
        assert_eq!(ahead(&[1, 3, 7, 8, 8]), [2, 6, 14, 16, 16]);
        assert_eq!(ahead(&[8, 0, 0, 0, 0]), [16, 8, 4, 2, 1]);
        assert_eq!(ahead(&[5_000]), [AHEAD_MAX]);
        assert_eq!(ahead(&[0, 0]), [0, 0], "long attempts give no cause");
    }
}
