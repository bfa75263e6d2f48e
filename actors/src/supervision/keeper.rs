//! The keeper of one life: waits for its back-off, begins it, performs the supervisor's orders, reports its
//! end.
//!
//! Each life has a keeper, a task that the supervisor owns. All waiting of a supervisor happens here, so that
//! its own handler never waits. A keeper decides nothing but when a child's time to stop has run out. It
//! does not know what kind of life it keeps: `life.rs` and `subtree.rs` implement [`Running`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::command::Report;
use super::event::Observer;
use super::exit::Exit;
use super::report::StartError;
use super::spec::Shutdown;
use super::supervisor::Supervisor;

/// Where the lives of one child come from.
pub(super) trait LifeFactory: Send + Sync + 'static {
    /// Begins a life; never blocks. The life starts on its own and says so through [`Running::started`].
    ///
    /// An actor uses the time for its clean-up, a child supervisor the observer.
    fn begin(&self, cleanup_time: Option<Duration>, observer: &Arc<dyn Observer>) -> Box<dyn Running>;
    /// The child ended for good: its addresses refuse messages from now on.
    fn retire(&self);
    /// The child will get lives again: its addresses let messages wait.
    fn revive(&self);
    /// Bounds the messages that wait between two lives, if there are any.
    fn set_waiting_max(&self, _waiting_max: usize) {}
    fn validate(&self) -> Result<(), StartError> {
        Ok(())
    }
    /// The handle of the current life, if this is a child supervisor.
    fn supervisor(&self) -> Option<Supervisor> {
        None
    }
}

/// A life that has begun. Dropping it kills it.
pub(super) trait Running: Send {
    /// Resolves once the life takes messages, or once nothing is left of one that did not start.
    /// Cancel safe. Not to be called again after it resolved.
    fn started(&mut self) -> BoxFuture<'_, Result<(), Exit>>;
    /// Asks it to stop; a life still starting stops right after.
    fn stop(&mut self);
    /// Cuts it off at its next await.
    fn kill(&mut self);
    /// Resolves once nothing is left of a started life. Cancel safe. Not to be called again after it
    /// resolved.
    fn ended(&mut self) -> BoxFuture<'_, LifeEnd>;
}

/// The facts about a life that has ended.
#[derive(Debug)]
pub(super) struct LifeEnd {
    pub(super) exit: Exit,
    /// The fault of the clean-up after a failure.
    pub(super) cleanup: Option<Exit>,
    /// The life was cut off during its clean-up.
    pub(super) cut_in_cleanup: bool,
}

/// The supervisor's order for a life; a later order never takes back an earlier, stronger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    Stop,
    Kill,
}

/// The supervisor's orders for one life, as its keeper receives them.
pub(super) struct Orders {
    receiver: watch::Receiver<Order>,
    orphaned: bool,
}

impl Orders {
    pub(super) fn new() -> (watch::Sender<Order>, Self) {
        let (sender, receiver) = watch::channel(Order::Run);
        (sender, Self { receiver, orphaned: false })
    }

    /// The next order. A supervisor that vanished orders a kill, once. Cancel safe.
    async fn next(&mut self) -> Order {
        if self.orphaned {
            return std::future::pending().await;
        }
        if self.receiver.changed().await.is_ok() {
            return *self.receiver.borrow_and_update();
        }
        self.orphaned = true;
        Order::Kill
    }
}

/// Sends an order, unless one at least as strong was sent before.
pub(super) fn send_order(orders: &watch::Sender<Order>, order: Order) {
    orders.send_if_modified(|last| {
        let stronger = order > *last;
        *last = order.max(*last);
        stronger
    });
}

/// The keeper of one life.
pub(super) struct Keeper {
    pub(super) factory: Arc<dyn LifeFactory>,
    pub(super) observer: Arc<dyn Observer>,
    /// The back-off.
    pub(super) after: Duration,
    pub(super) shutdown: Shutdown,
    pub(super) orders: Orders,
}

impl Keeper {
    /// Keeps one life from its back-off to its end. The last report is the last thing it does.
    pub(super) async fn run(mut self, report: impl Fn(Report)) {
        if let Some(last) = self.back_off().await {
            return report(last);
        }
        let mut watchdog = Watchdog {
            running: self.factory.begin(self.shutdown.cleanup_time(), &self.observer),
            shutdown: self.shutdown,
            limit: None,
            overran: false,
            stop_ordered: false,
        };
        let last = watchdog.watch(&mut self.orders, &report).await;
        // The life's remains are dropped before the report: its receiver may count on nothing being left.
        drop(watchdog);
        report(last);
    }

    /// Waits; an order in the meantime makes the beginning pointless.
    async fn back_off(&mut self) -> Option<Report> {
        if self.after.is_zero() {
            return None;
        }
        tokio::select! {
            biased;
            order = self.orders.next() => match order {
                Order::Stop => Some(Report::NotStarted),
                Order::Run | Order::Kill => Some(Report::StartFailed { exit: Exit::Killed }),
            },
            () = sleep(self.after) => None,
        }
    }
}

/// A life that has begun, and the limit of its time to stop.
struct Watchdog {
    running: Box<dyn Running>,
    shutdown: Shutdown,
    limit: Option<Instant>,
    overran: bool,
    stop_ordered: bool,
}

impl Watchdog {
    async fn watch(&mut self, orders: &mut Orders, report: &impl Fn(Report)) -> Report {
        if let Err(exit) = self.until_started(orders, report).await {
            return if self.stop_ordered { Report::NotStarted } else { Report::StartFailed { exit } };
        }
        report(Report::Started);
        let end = self.until_ended(orders, report).await;
        let exit = match end.exit {
            Exit::Killed if self.overran && end.cut_in_cleanup => Exit::CleanupOverran,
            exit => exit,
        };
        Report::Ended { exit, cleanup: end.cleanup }
    }

    async fn until_started(&mut self, orders: &mut Orders, report: &impl Fn(Report)) -> Result<(), Exit> {
        loop {
            tokio::select! {
                biased;
                order = orders.next() => self.obey(order),
                () = limit_reached(self.limit) => report(self.overrun()),
                started = self.running.started() => return started,
            }
        }
    }

    async fn until_ended(&mut self, orders: &mut Orders, report: &impl Fn(Report)) -> LifeEnd {
        loop {
            tokio::select! {
                biased;
                order = orders.next() => self.obey(order),
                () = limit_reached(self.limit) => report(self.overrun()),
                end = self.running.ended() => return end,
            }
        }
    }

    fn obey(&mut self, order: Order) {
        self.stop_ordered |= order == Order::Stop;
        match (order, self.shutdown) {
            (Order::Run, _) => {}
            (Order::Kill, _) | (Order::Stop, Shutdown::Kill) => {
                self.limit = None;
                self.running.kill();
            }
            (Order::Stop, Shutdown::After(time)) => {
                self.limit = Some(now() + time);
                self.running.stop();
            }
            (Order::Stop, Shutdown::WaitForever) => self.running.stop(),
        }
    }

    fn overrun(&mut self) -> Report {
        let after = match self.shutdown {
            Shutdown::After(time) => time,
            Shutdown::Kill | Shutdown::WaitForever => Duration::ZERO,
        };
        self.limit = None;
        self.overran = true;
        self.running.kill();
        Report::Overran { after }
    }
}

/// The module's only look at the clock: tokio's, so that paused time reaches supervision, too.
#[expect(
    clippy::disallowed_methods,
    reason = "supervision is free of the runtime's clock; see the line above"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

async fn limit_reached(limit: Option<Instant>) {
    match limit {
        Some(limit) => sleep_until(limit).await,
        None => std::future::pending().await,
    }
}
