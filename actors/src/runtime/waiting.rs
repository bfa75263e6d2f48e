//! What waits in the log only: read from the store, page by page, for whoever asks.
//!
//! Runs in the caller's task. The board says where to begin; it does not hold what is listed here.

use volery_blackboard::board::{InLog, WaitingFilter};
use volery_blackboard::store::Store;
use volery_blackboard::{SubscriptionIndex, Waiting};

use crate::error::Result;

/// Artifacts per page: as many as the curator reads at a time, for the same reason.
const PAGE: usize = 1_000;

/// Adds what agents have in the log only, up to the limit. A filter by run may have to read all of it.
pub(super) async fn in_log(
    store: &dyn Store,
    agents: &[InLog],
    filter: &WaitingFilter,
    found: &mut Vec<Waiting>,
) -> Result<()> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    for agent in agents.iter().filter(|agent| filter.agent.is_none_or(|wanted| agent.agent == wanted)) {
        let subscriptions: Vec<SubscriptionIndex> =
            agent.subscriptions.iter().map(|(index, _)| *index).collect();
        let (mut after, mut behind) = (Some(agent.after), agent.jobs);
        while found.len() < limit {
            let page = store.claims(&subscriptions, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.published.offset);
            for waiting in page.iter().flat_map(|claimed| agent.waiting(&claimed.published)) {
                let wanted = filter.run.is_none_or(|run| waiting.run == run) && found.len() < limit;
                found.extend(wanted.then(|| waiting.behind(behind)));
                behind += 1;
            }
        }
    }
    Ok(())
}
