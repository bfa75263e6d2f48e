//! Supervision: actors that are started in order, restarted by rule and stopped in reverse.
//!
//! The rules follow Erlang/OTP's supervisor: children are described by data, a failed child and, by strategy,
//! its siblings are restarted within an intensity, and a supervisor that passes it ends and leaves the
//! decision to the one above. Addresses stay valid over restarts. This module knows nothing of what the
//! actors are for, and it is the only place that names ractor.
//!
//! ```text
//!  ChildSpec, SupervisorSpec ──> Supervisor (the handle) ──> shell.rs: its ractor actor
//!                                    │ reports ▲       │ commands
//!                                    ▼         │       ▼
//!                             rules.rs         └── keeper.rs: one task per life
//!           strategy, restart, intensity,                │ begins, stops, kills, awaits
//!              backoff, chance, children                 ▼
//!                                              life.rs: the ractor actor of a Life
//!  Address ──> mailbox.rs ───────────────────────────────┘
//! ```
//!
//! These laws always hold:
//!
//! * A life begins only when the one before is gone, its clean-up and its `Drop` included.
//! * A life that fails takes the message it was handling with it, and no other.
//! * The supervisor's handler never waits; waiting is done by tasks it owns.
//! * Every life is awaited; a keeper that is dropped kills its life.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use volery_actors::supervision::*;
//! struct Counter(u64);
//!
//! enum Message {
//!     Add(u64),
//!     Total(Reply<u64>),
//! }
//!
//! impl Life for Counter {
//!     type Message = Message;
//!
//!     async fn handle(&mut self, message: Message) -> Result<(), Fault> {
//!         match message {
//!             Message::Add(amount) => self.0 = self.0.checked_add(amount).ok_or("counter overflowed")?,
//!             Message::Total(reply) => reply.send(self.0),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (counter, address) = ChildSpec::actor("counter", |_own_address| async { Ok(Counter(0)) });
//! let root = Supervisor::start(SupervisorSpec::new("root").child(counter), Arc::new(NoObserver)).await?;
//!
//! address.send(Message::Add(2))?;
//! address.send(Message::Add(3))?;
//! assert_eq!(address.ask(Message::Total, Duration::from_secs(1)).await?, 5);
//!
//! let report = root.stop().await;
//! assert_eq!(report.children[0].exit, Exit::Stopped);
//! # Ok(())
//! # }
//! ```

mod address;
mod backoff;
mod chance;
mod children;
mod command;
mod event;
mod exit;
mod intensity;
mod keeper;
mod life;
mod mailbox;
mod report;
mod restart;
mod rules;
mod shell;
mod spec;
mod strategy;
mod subtree;
mod supervisor;

pub use address::{Address, AskError, Reply, SendError, SendRefusal};
pub use backoff::Backoff;
pub use event::{LifeEvent, NoObserver, Observer};
pub use exit::Exit;
pub use intensity::Intensity;
pub(crate) use intensity::RestartWindow;
pub use life::{Fault, Life};
pub use report::{ChildInfo, ChildState, ChildStop, StartError, StopChildError, StopReport, SupervisorExit};
pub use restart::Restart;
pub use spec::{AutoShutdown, ChildId, ChildSpec, Shutdown, SupervisorSpec};
pub use strategy::Strategy;
pub use supervisor::Supervisor;
