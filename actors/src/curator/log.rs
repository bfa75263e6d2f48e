//! Reads of the log that the board asks for while it runs: pages of claims, and counts of runs.
//!
//! Answers are exact because of when they are read: after a commit, when the board has handled all of it and
//! everything that it had decided before is written. The curator reads then, and tells the board nothing else
//! between a read and its answer.

use std::collections::VecDeque;

use volery_blackboard::RunId;
use volery_blackboard::board::Board;
use volery_blackboard::effect::PageRequest;
use volery_blackboard::input::Input;
use volery_blackboard::store::{Log, StoreError};

use super::parts::CuratorParts;
use crate::feed::Event;
use crate::observer::ObservedExpiry;

/// Inputs of expired joins that are read together. A tenth would read ten times as often; more would hold up
/// the board.
const INPUTS_MAX: usize = 1_000;

/// The reads whose turn has come, in order.
#[derive(Debug, Default)]
pub(super) struct LogReads {
    waiting: VecDeque<LogRead>,
    /// Runs that the board does not know, and whose last claims were cancelled in the log.
    ended: VecDeque<RunId>,
    /// The last one could not be read.
    failing: bool,
}

/// One read of the log.
#[derive(Debug)]
pub(super) enum LogRead {
    Page(PageRequest),
    Recount {
        run: RunId,
        ticket: u64,
    },
    /// The inputs of a join that expired, for observers.
    Expired(ObservedExpiry),
}

impl LogReads {
    pub(super) fn push(&mut self, request: LogRead) {
        self.waiting.push_back(request);
    }

    /// Claims of a run that the board does not know were cancelled in the log: the board does not report its
    /// end.
    pub(super) fn push_ended(&mut self, run: RunId) {
        self.ended.push_back(run);
    }

    /// Does the next read, and returns its answer. `None` when there is none, or when it could not be read: a
    /// count is asked for again after the next commit, a page when the board says so. A damaged page is not
    /// asked for again: damage does not go away by itself, and reading it over and over would hold up
    /// everything else.
    pub(super) async fn next_answer(&mut self, parts: &CuratorParts, board: &Board) -> Option<Input> {
        self.observe_expired(parts.store.as_ref(), board).await;
        while let Some(run) = self.ended.pop_front() {
            report_run_end(parts, run).await;
        }
        let request = self.waiting.pop_front()?;
        match read(parts.store.as_ref(), &request).await {
            Ok(answer) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(target: "volery::curator", "the log can be read again");
                }
                answer
            }
            Err(error @ StoreError::Corrupt { .. }) => match request {
                LogRead::Page(PageRequest { agent, ticket, .. }) => {
                    let name = parts.feed.name(agent);
                    tracing::error!(
                        target: "volery::curator", agent = %name, %error,
                        "the inputs of an agent in the log cannot be read; they wait until it is resumed"
                    );
                    Some(Input::PageDamaged { agent, ticket })
                }
                LogRead::Recount { run, .. } => {
                    tracing::error!(
                        target: "volery::curator", %run, %error,
                        "the counts of a run cannot be read; its end is not told in this life"
                    );
                    None
                }
                LogRead::Expired(_) => None,
            },
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(target: "volery::curator", %error, "the log could not be read; it is tried again");
                }
                match request {
                    LogRead::Page(PageRequest { agent, ticket, .. }) => {
                        Some(Input::PageFailed { agent, ticket })
                    }
                    LogRead::Recount { .. } | LogRead::Expired(_) => {
                        self.waiting.push_front(request);
                        None
                    }
                }
            }
        }
    }

    /// Shows the joins that come next here to the observer. Many are read together: each by itself would hold
    /// up the board.
    async fn observe_expired(&mut self, store: &dyn Log, board: &Board) {
        while matches!(self.waiting.front(), Some(LogRead::Expired(_))) {
            let (mut all, mut offsets) = (Vec::new(), Vec::new());
            while offsets.len() < INPUTS_MAX
                && let Some(LogRead::Expired(_)) = self.waiting.front()
                && let Some(LogRead::Expired(expired)) = self.waiting.pop_front()
            {
                offsets.extend(expired.offsets());
                all.push(expired);
            }
            match store.read(&offsets).wait().await {
                Ok(inputs) => {
                    let mut rest = &*inputs;
                    for expired in all {
                        let (own, others) = rest.split_at(expired.offsets().len().min(rest.len()));
                        expired.show(own, |run| board.tally(run).is_some());
                        rest = others;
                    }
                }
                Err(error) => {
                    tracing::debug!(target: "volery::curator", %error, "joins that expired are not shown");
                }
            }
        }
    }
}

/// Tells the end of a run that the board does not know, if nothing of it is left.
async fn report_run_end(parts: &CuratorParts, run: RunId) {
    let counted =
        async { Ok::<_, StoreError>((parts.store.workflow(run).await?, parts.store.tally(run).await?)) };
    match counted.await {
        Ok((Some(workflow), tally)) if tally.outstanding() == 0 => {
            parts.observer.run_settled(run, &tally, parts.clock.now());
            parts.feed.tell(|| Event::RunSettled { run, workflow, tally });
        }
        // Something was published in it meanwhile, and its end is still to come.
        Ok(_) => {}
        Err(error) => {
            tracing::error!(target: "volery::curator", %run, %error, "the end of a cancelled run is not told");
        }
    }
}

async fn read(store: &dyn Log, request: &LogRead) -> Result<Option<Input>, StoreError> {
    Ok(Some(match request {
        LogRead::Page(PageRequest { agent, ticket, subscriptions, after, limit }) => {
            let claims = store.claims(subscriptions, Some(*after), *limit).await?;
            Input::PageLoaded { agent: *agent, ticket: *ticket, claims }
        }
        LogRead::Recount { run, ticket } => {
            Input::Recounted { run: *run, ticket: *ticket, tally: store.tally(*run).await? }
        }
        LogRead::Expired(_) => return Ok(None),
    }))
}
