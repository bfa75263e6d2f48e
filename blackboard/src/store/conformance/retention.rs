//! Cases of retention: what may be removed, and what must not.
//!
//! A store may remove nothing, and conforms all the same.

use std::time::Duration;

use super::*;
use crate::store::{Bounds, Retained, Retention};

/// Lets nothing finished stay.
fn nothing() -> Retention {
    let (age_max, count_max, bytes_max) = (Some(Duration::ZERO), Some(0), Some(0));
    Retention { age_max, count_max, bytes_max, ..Retention::default() }
}

pub(super) async fn without_bounds_nothing_is_removed(case: &Case<'_>) {
    case.write(Write::Publish(vec![publish(number(1), Vec::new())].into())).await;
    let unbounded = Retention::default().with_kind(Kind::of::<u32>().name(), Bounds::default());
    case.same(case.retain(&unbounded, 100).await, Retained::default(), "removes nothing");
    case.same(case.find(Filter::all()).await, vec![1], "and all is there");
}

pub(super) async fn what_is_not_finished_is_kept_whatever_the_bounds(case: &Case<'_>) {
    let claimed = case.claimed(1..3).await;
    let work = start(0, &claimed[..1]);
    case.write(begin(&work)).await;
    // An input of a remembered pair whose own claim is still open.
    let pair = Start { shared: true, ..start(1, &case.claimed(3..4).await) };
    case.write(begin(&pair)).await;
    case.write(finish(pair.job, JobEnd::Done, Vec::new())).await;
    case.same(case.retain(&nothing(), 100).await, Retained::default(), "removes nothing");
    case.same(case.find(Filter::all()).await, vec![1, 2, 3], "and all is there");
    let left = case.unfinished().await;
    case.same(left.jobs.len(), 1, "the job still has its input");
}

pub(super) async fn what_is_removed_is_counted_and_gone(case: &Case<'_>) {
    let claimed = case.claimed(1..2).await;
    let spare = (2..6).map(|n| publish(number(n), Vec::new())).collect();
    case.write(Write::Publish(spare)).await;
    let mut removed = 0;
    loop {
        let retained = case.retain(&nothing(), 3).await;
        assert!(retained.removed <= 3, "{}: removes no more than it was told", case.name);
        removed += retained.removed;
        if !retained.more {
            break;
        }
        assert!(retained.removed > 0, "{}: says that there is more only if it came on", case.name);
    }
    let left = case.find(Filter::all()).await;
    case.same(left.len() as u64 + removed, 5, "what is gone was counted");
    case.same(left.first().copied(), claimed.first().map(|offset| offset.get()), "what is claimed is there");
    let work = start(0, &claimed);
    case.write(begin(&work)).await;
    case.write(finish(work.job, JobEnd::Done, Vec::new())).await;
    let last = case.retain(&nothing(), 100).await;
    let left = case.find(Filter::all()).await.len() as u64;
    case.same(left + last.removed + removed, 5, "what ends later goes later");
}
