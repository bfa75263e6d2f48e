//! A gate: a place in an engine, or in front of a store, where a caller waits until the test opens it.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::{fail, within_patience};

/// A place where engines wait until the test opens it. It counts arrivals. A clone is the same gate.
///
/// ```
/// use volery::prelude::*;
/// use volery::testing::{Gate, Script, Test};
///
/// # #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
/// # struct Order { id: u32 }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> volery::Result<()> {
/// let gate = Gate::new();
/// let slow = Script::new().waits_for(&gate).returns(());
/// let test = Test::new().agent(Agent::new("slow").consumes(one::<Order>()).engine(slow)).start().await?;
/// let run = test.run("gated").publish(Order { id: 7 }).await?;
/// gate.arrived(1).await; // the engine runs, and waits
/// gate.open(1);
/// test.expect(&run).consumed(1).await;
/// # test.finish().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gate(Arc<Parts>);

struct Parts {
    arrivals: watch::Sender<usize>,
    /// One permit for each arrival that `reached` has not waited for.
    fresh: Semaphore,
    tickets: Semaphore,
}

impl Gate {
    /// Returns a gate that is closed.
    #[must_use]
    pub fn new() -> Self {
        let (fresh, tickets) = (Semaphore::new(0), Semaphore::new(0));
        Self(Arc::new(Parts { arrivals: watch::Sender::new(0), fresh, tickets }))
    }

    /// Arrives at the gate, and waits until it is open. Nothing happens before it is polled.
    ///
    /// Cancel safe: who gives up waiting takes no place, but has arrived.
    pub fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = Arc::clone(&self.0);
        async move {
            gate.arrivals.send_modify(|arrivals| *arrivals += 1);
            gate.fresh.add_permits(1);
            // An error means that the gate is open for good.
            if let Ok(ticket) = gate.tickets.acquire().await {
                ticket.forget();
            }
        }
    }

    /// Lets this many through: those who wait, in the order in which they came, and then who comes next.
    pub fn open(&self, count: usize) {
        self.0.tickets.add_permits(count);
    }

    /// Opens the gate for all arrivals from now on.
    pub fn open_for_good(&self) {
        self.0.tickets.close();
    }

    /// Returns how many have come so far, whether or not they were let through.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        *self.0.arrivals.borrow()
    }

    /// Waits until this many have come in all, since the gate was made. Cancel safe.
    ///
    /// # Panics
    /// When they have not come within an hour of the test's time.
    #[track_caller]
    pub fn arrived(&self, count: usize) -> impl Future<Output = ()> + Send + use<> {
        let (at, gate) = (Location::caller(), self.clone());
        async move {
            let mut arrivals = gate.0.arrivals.subscribe();
            // The sender is in the gate, so it cannot be gone.
            let came = async { drop(arrivals.wait_for(|arrivals| *arrivals >= count).await) };
            if within_patience(came).await.is_none() {
                let text = format!("{} of {count} arrived at the gate within an hour", gate.arrivals());
                fail(at, &text);
            }
        }
    }

    /// Waits for one more arrival than it was asked for before: the first call for the first, the second for
    /// the second. Cancel safe.
    ///
    /// # Panics
    /// When nobody more has come within an hour of the test's time.
    #[track_caller]
    pub fn reached(&self) -> impl Future<Output = ()> + Send + use<> {
        let (at, gate) = (Location::caller(), self.clone());
        async move {
            match within_patience(gate.0.fresh.acquire()).await {
                Some(Ok(arrival)) => arrival.forget(),
                // It is never closed.
                Some(Err(_)) => {}
                None => {
                    let text = format!("nobody reached the gate within an hour, after {}", gate.arrivals());
                    fail(at, &text);
                }
            }
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("arrivals", &self.arrivals()).finish_non_exhaustive()
    }
}
