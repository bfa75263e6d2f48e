//! The periodic actor: one shell for every background loop.
//!
//! A loop takes no input but the time and a nudge; at each tick it reads the state anew. Its ticks run in a
//! task that the actor owns, one at a time: user code in a tick cannot hold up the mailbox, and a stop drops
//! the tick at its next await. A tick must therefore be sound to cut off anywhere, and harmless to repeat: a
//! restarted loop, or a second one, does it again. A tick that fails or panics is logged and counted, and the
//! next one comes as planned. Periods that passed meanwhile are skipped, not made up for.
//!
//! | message | effect | fails with |
//! | --- | --- | --- |
//! | `Nudge` | ticks now, or after the tick that is under way; several nudges make one tick | never |
//! | `Lost` | ends this life | the panic outside of a tick that ended the task |

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use volery_blackboard::Timestamp;

use super::status::LoopRecord;
use crate::clock::Clock;
use crate::fault::{Fault, chain, take_text};
use crate::supervision::{Address, Life};

/// A background loop: when it ticks, and what it does then.
pub(crate) trait Loop: Send + 'static {
    /// Says when the next tick is due, seen from now. Asked again after every tick.
    fn next(&self, now: Timestamp) -> NextTick;

    /// Does one round. Dropped at any await when the loop is stopped; harmless to repeat.
    fn tick(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// When a loop ticks next, unless it is nudged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextTick {
    /// At the next multiple of this period since the loop began. Never zero.
    Every(Duration),
    /// Then; at once if it has passed. A loop that ticked must not name the same time again.
    At(Timestamp),
}

/// The messages of a periodic actor.
#[derive(Debug)]
pub(crate) enum PeriodicMessage {
    /// Do not wait for the next tick.
    Nudge,
    /// The task that ticks has ended, which it never does by itself.
    Lost(String),
}

/// One life of a loop.
pub(crate) struct Periodic<L> {
    /// Taken by the task that ticks.
    work: Option<L>,
    ticking: Ticking,
    own: Address<PeriodicMessage>,
    task: JoinSet<()>,
}

/// The parts that the task needs beside the loop itself.
#[derive(Clone)]
struct Ticking {
    clock: Clock,
    record: Arc<LoopRecord>,
    nudge: Arc<Notify>,
}

impl<L: Loop> Periodic<L> {
    pub(super) fn new(work: L, clock: Clock, record: Arc<LoopRecord>, own: Address<PeriodicMessage>) -> Self {
        let ticking = Ticking { clock, record, nudge: Arc::default() };
        Self { work: Some(work), ticking, own, task: JoinSet::new() }
    }
}

impl<L: Loop> Life for Periodic<L> {
    type Message = PeriodicMessage;

    async fn started(&mut self) -> Result<(), Fault> {
        let work = self.work.take().ok_or("a life starts once")?;
        let (ticking, own) = (self.ticking.clone(), self.own.clone());
        self.task.spawn(async move {
            let Err(panic) = AssertUnwindSafe(ticking.run(work)).catch_unwind().await;
            if let Err(error) = own.send(PeriodicMessage::Lost(take_text(panic))) {
                tracing::debug!(target: "volery::upkeep", %error, "a loop was lost while stopping");
            }
        });
        Ok(())
    }

    async fn handle(&mut self, message: PeriodicMessage) -> Result<(), Fault> {
        match message {
            PeriodicMessage::Nudge => {
                self.ticking.nudge.notify_one();
                Ok(())
            }
            PeriodicMessage::Lost(panic) => Err(panic.into()),
        }
    }

    async fn ended(&mut self) {
        // Cut off at its next await; a tick that blocks its thread is waited for as long as the child's spec
        // says.
        self.task.shutdown().await;
    }
}

impl Ticking {
    async fn run<L: Loop>(self, mut work: L) -> std::convert::Infallible {
        let begun = self.clock.now();
        loop {
            let now = self.clock.now();
            let next = match work.next(now) {
                NextTick::Every(period) => on_grid(begun, period, now),
                NextTick::At(time) => time,
            };
            self.record.plan(Some(next));
            tokio::select! {
                biased;
                () = self.nudge.notified() => {}
                () = self.clock.sleep_until(next) => self.record.woke(self.clock.now().since(next)),
            }
            // Nudges that came together make one tick.
            self.nudge.notified().now_or_never().unwrap_or_default();
            self.record.begin(self.clock.now());
            let ended = AssertUnwindSafe(work.tick()).catch_unwind().await;
            self.record.end(match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(chain(error.as_ref())),
                Err(panic) => Some(vec![format!("panicked: {}", take_text(panic))]),
            });
        }
    }
}

/// The first multiple of a period since the beginning that has not come yet.
pub(super) fn on_grid(begun: Timestamp, period: Duration, now: Timestamp) -> Timestamp {
    let micros = period.as_micros().max(1);
    let periods = now.since(begun).as_micros() / micros + 1;
    let ahead = u64::try_from(periods.saturating_mul(micros)).unwrap_or(u64::MAX);
    begun.after(Duration::from_micros(ahead))
}
