//! Driving many dead letters again, one after the other, at a rate.
//!
//! Runs in the caller's task: nothing is spawned, and dropping it ends it after the letter at hand.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use volery_blackboard::store::{DeadFilter, DeadState};
use volery_blackboard::{AgentIndex, AgentName};

use super::{Awaited, Volery};
use crate::error::{Error, ErrorKind, Result};
use crate::ingress::Until;

/// Letters per page. A tenth would ask the store more often than it takes to drive them; more only take
/// memory.
const PAGE: usize = 100;

/// The counts of a bulk redrive.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// Letters whose jobs run again.
    pub redriven: u64,
    /// Letters that could not be driven again.
    pub refused: u64,
    /// The first of these, by number, and why.
    pub first_refusal: Option<(u64, Error)>,
}

impl fmt::Display for Redriven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} driven again, {} refused", self.redriven, self.refused)?;
        match &self.first_refusal {
            Some((number, error)) => write!(f, "; letter {number}: {error}"),
            None => Ok(()),
        }
    }
}

/// Open dead letters that are to be driven again, oldest first, one after the other, in the task of the
/// caller that awaits it.
///
/// Letters that come up meanwhile are left, so that jobs which fail again are not driven in a circle; a limit
/// has no meaning here. Each waits for room as a publish does, and until its agent has fewer jobs in memory
/// than `jobs_in_memory_max`: a long list is driven no faster than it is worked off, and not at all behind a
/// paused agent until it is resumed. Cancel safe: letters that were driven again stay so, and the one at hand
/// is driven or not.
///
/// Awaiting it fails when the store cannot be read or refuses all writes, or the runtime stops; the same call
/// goes on with what is left. Letters that cannot be driven again are counted in the report instead.
#[derive(Clone, Debug)]
#[must_use = "nothing is driven again until it is awaited"]
pub struct RedriveAll {
    volery: Volery,
    filter: DeadFilter,
    every: Duration,
}

impl RedriveAll {
    pub(super) fn new(volery: Volery, filter: DeadFilter) -> Self {
        Self { volery, filter, every: Duration::ZERO }
    }

    /// Drives at most this many per second, evenly spaced. Default: as fast as the store takes them. 0 counts
    /// as 1.
    pub fn per_second(self, letters: u32) -> Self {
        Self { every: Duration::from_secs(1) / letters.max(1), ..self }
    }
}

impl IntoFuture for RedriveAll {
    type Output = Result<Redriven>;
    type IntoFuture = Awaited<Redriven>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.volery.redrive_all(self.filter, self.every).await })
    }
}

impl Volery {
    async fn redrive_all(&self, filter: DeadFilter, every: Duration) -> Result<Redriven> {
        let mut filter = filter.only_open().limit(PAGE);
        let Some(last) = self.last_letter(filter.clone()).await? else { return Ok(Redriven::default()) };
        let clock = &self.0.services.clock;
        let (mut report, mut next) = (Redriven::default(), clock.now());
        loop {
            let page = self.list_letters(&filter).await?;
            let Some(behind) = page.last().map(|letter| letter.number) else { return Ok(report) };
            for letter in page {
                if letter.number > last {
                    return Ok(report);
                }
                self.wait_for_window(&letter.agent).await?;
                if !every.is_zero() {
                    let came = clock.now();
                    clock.sleep_until(next).await;
                    self.0.services.observer.metrics().rate_limited("redrive", clock.now().since(came));
                    next = clock.now().max(next).after(every);
                }
                self.redrive_one(letter.number, &mut report).await?;
            }
            filter = filter.after(behind);
        }
    }

    /// Waits until an agent has room for one more job in memory; not for one that is not here.
    async fn wait_for_window(&self, agent: &AgentName) -> Result<()> {
        let agents = &self.0.agents;
        let found = (0..).map(AgentIndex).zip(agents).find(|(_, (name, _))| name == agent);
        match found {
            Some((index, _)) => self.ingress().wait(Until::Room(index)).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn redrive_one(&self, number: u64, report: &mut Redriven) -> Result<()> {
        let driven = async {
            let found = self.inspected(number).await?;
            // Somebody else may have decided since the page was read.
            if found.letter.state != DeadState::Open {
                return Ok(false);
            }
            self.redrive_letter(&found, Vec::new()).await.map(|_| true)
        };
        match driven.await {
            Ok(true) => report.redriven += 1,
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::FixInput => {
                report.refused += 1;
                report.first_refusal.get_or_insert((number, error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The number of the last letter that a filter accepts now.
    async fn last_letter(&self, mut filter: DeadFilter) -> Result<Option<u64>> {
        let mut last = None;
        loop {
            let page = self.list_letters(&filter).await?;
            let Some(letter) = page.last() else { return Ok(last) };
            last = Some(letter.number);
            filter = filter.after(letter.number);
        }
    }
}
