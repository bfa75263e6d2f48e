//! Questions about what is on the board, answered by the store.

use volery_blackboard::store::{Lineage, Summary, SummaryBy};
use volery_blackboard::{ArtifactId, Filter};

use super::Runtime;
use crate::error::Result;

impl Runtime {
    /// Counts what a filter accepts; its cursor and limit have no meaning here. Cancel safe.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn summary(&self, filter: &Filter, by: SummaryBy) -> Result<Vec<Summary>> {
        Ok(self.0.workshop.store.summary(filter, by).await?)
    }

    /// Tells what led to an artifact and what became of it, one step each way; `None` when it is not there. Cancel safe.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn lineage(&self, artifact: ArtifactId) -> Result<Option<Lineage>> {
        Ok(self.0.workshop.store.lineage(artifact).await?)
    }
}
