//! Queries: artifacts page by page, counts of them, and the lineage of one.
//!
//! [`Volery::query`](crate::Volery::query) and [`Volery::lineage`](crate::Volery::lineage) begin one.
//!
//! ```
//! use volery::prelude::*;
//! use volery::query::SummaryBy;
//!
//! # #[tokio::main]
//! # async fn main() -> volery::Result<()> {
//! let volery = Volery::builder("shop").start().await?;
//! for cents in [500_u64, 1_500] {
//!     volery.publish(cents).tagged("order").await?;
//! }
//!
//! let page = volery.query().kind_of::<u64>().tagged("order").newest_first().limit(1).await?;
//! assert_eq!(*page.artifacts[0].payload::<u64>()?, 1_500);
//! let by_kind = volery.query().summary(SummaryBy::Kind).await?;
//! assert_eq!(by_kind[0].count, 2);
//! let lineage = volery.lineage(page.artifacts[0].id()).await?.expect("it is kept");
//! assert!(lineage.causes.is_empty(), "it came from outside");
//! # Ok(())
//! # }
//! ```

pub use volery_actors::{CauseTree, ClaimTree, LineageQuery, LineageTree, Pages, Query, ResultTree};
pub use volery_blackboard::Page;
pub use volery_blackboard::store::{ClaimRecord, Lineage, Summary, SummaryBy};
