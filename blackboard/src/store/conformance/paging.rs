//! Cases of paging: outstanding claims of some subscriptions, their counts, and cancelling them where they
//! lie.

use super::*;
use crate::claim::Backlog;
use crate::outcome::Tally;

impl Case<'_> {
    /// Places, and the subscriptions of their claims.
    async fn page(&self, of: &[u32], after: Option<u64>, limit: usize) -> Vec<(u64, Vec<u32>)> {
        let of: Vec<_> = of.iter().copied().map(SubscriptionIndex).collect();
        let claims = self.good(self.store().claims(&of, after.map(Offset::new), limit).await, "reads claims");
        let subscriptions = |claims: &[Claim]| claims.iter().map(|claim| claim.subscription.0).collect();
        claims
            .iter()
            .map(|claimed| (claimed.published.offset.get(), subscriptions(&claimed.published.claims)))
            .collect()
    }

    async fn backlog(&self) -> Vec<(u32, u64, u64, u64)> {
        let mut backlog = self.good(self.store().backlog().await, "counts");
        backlog.sort_by_key(|backlog| backlog.subscription);
        let plain = |Backlog { subscription, count, first, last }: Backlog| {
            (subscription.0, count, first.get(), last.get())
        };
        backlog.into_iter().map(plain).collect()
    }
}

/// Six artifacts of two runs, claimed in turns by one, the other, and both of two subscriptions.
async fn mixed(case: &Case<'_>) {
    let claims = |n| match n % 3 {
        1 => vec![claim(0, 0)],
        2 => vec![claim(1, 0)],
        _ => vec![claim(0, 0), claim(1, 0)],
    };
    let artifacts = (1..7).map(|n| publish(number_in(n, u128::from(1 + n / 4)), claims(n))).collect();
    case.write(Write::Publish(artifacts)).await;
}

pub(super) async fn claims_are_read_for_some_subscriptions_in_log_order(case: &Case<'_>) {
    mixed(case).await;
    let (zero, one) = (|| vec![0], || vec![1]);
    let both = || vec![0, 1];
    let all = vec![(1, zero()), (2, one()), (3, both()), (4, zero()), (5, one()), (6, both())];
    case.same(case.page(&[0, 1], None, 10).await, all.clone(), "both");
    case.same(
        case.page(&[1], None, 10).await,
        vec![(2, one()), (3, one()), (5, one()), (6, one())],
        "one alone",
    );
    case.same(case.page(&[0], Some(3), 1).await, vec![(4, zero())], "a page behind a place");
    case.same(case.page(&[2], None, 10).await, vec![], "nothing of another");
    for limit in [1, 2, 5] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = case.page(&[0, 1], after, limit).await;
            assert!(page.len() <= limit, "{}: a page holds at most {limit}", case.name);
            after = page.last().map(|(offset, _)| *offset);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        case.same(found, all.clone(), &format!("pages of {limit}"));
    }
}

pub(super) async fn claims_come_with_the_tally_of_their_run(case: &Case<'_>) {
    mixed(case).await;
    let job = start(0, &[Offset::new(1)]);
    case.commit(vec![begin(&job), finish(job.job, JobEnd::Done, Vec::new())]).await;
    let claims = case.good(case.store().claims(&[SubscriptionIndex(1)], None, 10).await, "reads claims");
    let tallies: Vec<_> = claims.iter().map(|claimed| (claimed.published.run, claimed.tally)).collect();
    let first = (run(1), Tally { matched: 4, consumed: 1, ..Tally::default() });
    let second = (run(2), Tally { matched: 4, ..Tally::default() });
    case.same(tallies, vec![first, first, second, second], "over all subscriptions, ended or not");
    case.same(&*claims[0].published.workflow, "test", "and the workflow's name");
}

pub(super) async fn what_a_job_covers_is_no_backlog(case: &Case<'_>) {
    mixed(case).await;
    case.same(case.backlog().await, vec![(0, 4, 1, 6), (1, 4, 2, 6)], "how many, from where to where");
    let (running, done) = (start(0, &[Offset::new(1)]), start(0, &[Offset::new(6)]));
    case.commit(vec![begin(&running), begin(&done), finish(done.job, JobEnd::Done, Vec::new())]).await;
    case.same(case.backlog().await, vec![(0, 2, 3, 4), (1, 4, 2, 6)], "without jobs and what has ended");
    case.same(case.page(&[0], None, 10).await, vec![(3, vec![0]), (4, vec![0])], "and so do pages");
    let pair = Start { shared: true, ..start(1, &[Offset::new(2), Offset::new(3)]) };
    case.write(begin(&pair)).await;
    case.same(case.backlog().await[1], (1, 4, 2, 6), "a pair leaves its inputs open");
    let rest = [(0, 3), (0, 4), (1, 2), (1, 3), (1, 5), (1, 6)];
    for (subscription, offset) in rest {
        case.write(settle(subscription, Offset::new(offset), Outcome::Cancelled)).await;
    }
    case.same(case.backlog().await, vec![], "none is left");
}

pub(super) async fn claims_of_a_run_are_cancelled_where_they_lie(case: &Case<'_>) {
    mixed(case).await;
    let running = start(1, &[Offset::new(2)]);
    case.write(begin(&running)).await;
    let behind = vec![(SubscriptionIndex(0), Some(Offset::new(1))), (SubscriptionIndex(1), None)];
    let results = case.commit(vec![Write::CancelClaims { run: run(1), behind }]).await;
    match results.as_slice() {
        [Written::Cancelled(counts)] => {
            let counts: Vec<_> =
                counts.iter().map(|(subscription, count)| (subscription.0, *count)).collect();
            case.same(counts, vec![(0, 1), (1, 1)], "counted by subscription");
        }
        other => panic!("{}: it says how many: {other:?}", case.name),
    }
    let left = case.unfinished().await;
    case.same(
        left.claims,
        vec![(1, 0), (4, 0), (5, 1), (6, 0), (6, 1)],
        "what was taken in, and other runs, stay",
    );
    case.same(left.jobs.len(), 1, "jobs stay");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same((tally.matched, tally.cancelled, tally.outstanding()), (4, 2, 2), "the run's tally knows");
}

pub(super) async fn pairs_of_cancelled_claims_are_forgotten(case: &Case<'_>) {
    let artifacts = vec![publish(number(1), vec![claim(2, 0)]), publish(number(2), vec![claim(2, 1)])];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let pair = Start { shared: true, ..start(2, &places) };
    case.write(begin(&pair)).await;
    case.write(finish(pair.job, JobEnd::Done, Vec::new())).await;
    case.commit(vec![Write::CancelClaims { run: run(1), behind: vec![(SubscriptionIndex(2), None)] }]).await;
    let left = case.unfinished().await;
    case.same((left.pairs.len(), left.claims.len()), (0, 0), "a pair that cannot form again is forgotten");
}
