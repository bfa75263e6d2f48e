//! Runs, and how they stand.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;

use volery_blackboard::Tally;

use super::bytes::{Cursor, put_number};
use super::{Block, PLACES, slot};

/// The runs whose first artifacts lie on the block's places.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<(u8, Run)>);

/// A run as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// The workflow, of the table `name`.
    pub(crate) workflow: i64,
    pub(crate) tally: Tally,
}

impl Runs {
    pub(crate) fn key(number: u64) -> i64 {
        (number / PLACES).cast_signed()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Run> {
        self.0.iter().find(|(place, _)| *place == slot(number)).map(|(_, run)| run)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Run> {
        self.0.iter_mut().find(|(place, _)| *place == slot(number)).map(|(_, run)| run)
    }

    pub(crate) fn put(&mut self, number: u64, run: Run) {
        self.0.push((slot(number), run));
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Run> {
        let at = self.0.iter().position(|(place, _)| *place == slot(number))?;
        Some(self.0.remove(at).1)
    }
}

impl Block for Runs {
    const TABLE: &'static str = "run";

    fn read(_: i64, bytes: Vec<u8>) -> Self {
        let mut rest = Cursor(&bytes);
        let mut next = || {
            let place = rest.byte()?;
            let workflow = rest.number()?.cast_signed();
            let mut count = || rest.number();
            let tally = Tally {
                matched: count()?,
                consumed: count()?,
                expired: count()?,
                discarded: count()?,
                cancelled: count()?,
                dead: count()?,
            };
            Some((place, Run { workflow, tally }))
        };
        Self(std::iter::from_fn(&mut next).collect())
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.0.len() * 9);
        for (place, Run { workflow, tally }) in &self.0 {
            bytes.push(*place);
            put_number(&mut bytes, workflow.cast_unsigned());
            let ended = [tally.consumed, tally.expired, tally.discarded, tally.cancelled, tally.dead];
            std::iter::once(tally.matched).chain(ended).for_each(|count| put_number(&mut bytes, count));
        }
        Cow::Owned(bytes)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
