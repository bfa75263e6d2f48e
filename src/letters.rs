//! Dead letters: jobs that failed for good.
//!
//! [`Volery::dead_letters`](crate::Volery::dead_letters) lists them, and
//! [`Volery::dead_letter`](crate::Volery::dead_letter) reads one, with its inputs and attempts.
//!
//! ```
//! use volery::prelude::*;
//!
//! # #[tokio::main]
//! # async fn main() -> volery::Result<()> {
//! let parse = Agent::new("parse")
//!     .consumes(one::<String>())
//!     .engine(|text: String, _: Context| async move { Ok::<_, Fault>(Publish(text.parse::<u64>()?)) });
//! let volery = Volery::builder("numbers").agent(parse).start().await?;
//! let run = volery.run("parsing").publish("seven".to_owned()).await?;
//! run.settled().await?;
//!
//! let open = volery.dead_letters().agent("parse").only_open().await?;
//! let letter = volery.dead_letter(open[0].number).await?;
//! assert_eq!(letter.failed()[0].error, ["invalid digit found in string"]);
//! letter.redrive_with("7".to_owned()).await?;
//! volery.until_idle().await?;
//! assert_eq!(run.artifacts::<u64>().await?, [7]);
//! # Ok(())
//! # }
//! ```

pub use volery_actors::{DeadLetters, Letter, RedriveAll, Redriven, Redriving};
pub use volery_blackboard::store::{DeadFilter, DeadLetter, DeadState, FailedAttempt, Inspected};
