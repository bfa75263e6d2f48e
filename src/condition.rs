//! Waiting for a condition: looked at again whenever something was committed, never on a timer.

use std::future::Future;

use volery_actors::{FeedItem, FeedReader, Result};

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
            // A skip is news too: something happened, whatever it was.
            Some(FeedItem::Event(_) | FeedItem::Skipped(_)) => {}
            Some(_) => {}
            None => return Ok(false),
        }
    }
}
