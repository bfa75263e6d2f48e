//! Subscriptions without types, for tests that publish claims directly.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::Claim;
use crate::id::{Key, SubscriptionIndex};
use crate::kind::Kind;
use crate::outcome::Discard;
use crate::subscription::{Batch, Collecting, JoinMode, JoinRule, Side, Subscription, Window};
use crate::time::Timestamp;

pub(crate) fn micros(span: u64) -> Duration {
    Duration::from_micros(span)
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros_since_epoch(micros)
}

pub(crate) fn shape(needs: &[u32], collecting: Collecting) -> Subscription {
    let kind = Kind::of::<u32>();
    let sides = needs.iter().map(|need| Side::new(kind.clone(), *need)).collect();
    Subscription { sides, collecting, batch: None }
}

pub(crate) fn each() -> Subscription {
    shape(&[1], Collecting::Each)
}

pub(crate) fn all_of(needs: &[u32]) -> Subscription {
    shape(needs, Collecting::AllOf)
}

pub(crate) fn join(sides: usize, mode: JoinMode, window: Option<Window>) -> Subscription {
    shape(&vec![1; sides], Collecting::Join(JoinRule { mode, window, ..JoinRule::default() }))
}

pub(crate) fn within(span: u64) -> Option<Window> {
    Some(Window::Time(micros(span)))
}

pub(crate) fn by_event_time(
    sides: usize,
    mode: JoinMode,
    window: u64,
    lateness: u64,
    patience: u64,
) -> Subscription {
    let rule = JoinRule {
        mode,
        window: within(window),
        event_time: true,
        lateness: micros(lateness),
        patience: Some(micros(patience)),
    };
    shape(&vec![1; sides], Collecting::Join(rule))
}

pub(crate) fn batched(subscription: Subscription, batch: Batch) -> Subscription {
    Subscription { batch: Some(batch), ..subscription }
}

pub(crate) fn claim(subscription: u32, side: u16) -> Claim {
    Claim {
        subscription: SubscriptionIndex(subscription),
        side,
        weight: 1,
        key: None,
        lane: None,
        event_time: None,
        visible_at: None,
        refused: None,
        marks: None,
    }
}

pub(crate) fn keyed(subscription: u32, side: u16, key: &str) -> Claim {
    Claim { key: Some(Key::from(key)), ..claim(subscription, side) }
}

pub(crate) fn in_lane(claim: Claim, lane: &str) -> Claim {
    Claim { lane: Some(Key::from(lane)), ..claim }
}

pub(crate) fn refused(claim: Claim) -> Claim {
    Claim { refused: Some(Box::new(Discard::LoopGuard)), ..claim }
}

pub(crate) fn name(number: usize) -> Arc<str> {
    Arc::from(format!("agent-{number}"))
}
