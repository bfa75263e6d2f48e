//! Waiting for a condition: looked at again whenever something was committed, never on a timer.

use std::future::Future;

use volery_actors::{FeedReader, Result};

/// Waits until `holds` answers true. Looks at once, then after every event of the feed; events that come while it looks
/// lead to one further look.
pub(crate) async fn until<F, Fut>(mut feed: FeedReader, mut holds: F) -> Result<bool>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<bool>>,
{
    loop {
        if holds().await? {
            return Ok(true);
        }
        match feed.next().await {
            // Whatever else has happened meanwhile leads to the same look; a skip is news too.
            Some(_) => while feed.try_next().is_some() {},
            None => return Ok(false),
        }
    }
}
