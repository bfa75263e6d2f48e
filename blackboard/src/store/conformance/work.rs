//! Cases of unfinished work: claims, jobs, attempts, ends.

use super::*;
use crate::id::Key;
use crate::job::PairVerdict;
use crate::outcome::{CloseReason, Discard, Expiry};

pub(super) async fn claims_without_a_job_are_read_in_log_order(case: &Case<'_>) {
    let artifacts = vec![
        publish(number(1), vec![claim(0, 0), claim(2, 1)]),
        publish(number(2), Vec::new()),
        publish(number(3), vec![claim(1, 0)]),
    ];
    case.write(Write::Publish(artifacts.into())).await;
    let listed = case.unfinished().await;
    case.same(listed.claims, vec![(1, 0), (1, 2), (3, 1)], "claims by place, then by subscription");
    case.same(listed.jobs.len() + listed.pairs.len(), 0, "nothing else is unfinished");
}

pub(super) async fn claims_come_back_as_they_were(case: &Case<'_>) {
    let claims = vec![
        Claim {
            weight: 17,
            key: Some(Key::from("\"k\"")),
            lane: Some(Key::from("3")),
            event_time: Some(Timestamp::from_micros_since_epoch(-5)),
            visible_at: Some(at(9)),
            ..claim(0, 3)
        },
        Claim { refused: Some(Box::new(Discard::ClosurePanicked("why".to_owned()))), ..claim(1, 0) },
        Claim { weight: 0, refused: Some(Box::new(Discard::LoopGuard)), ..claim(2, 0) },
    ];
    let wanted = format!("{:?}", Arc::<[Claim]>::from(claims.clone()));
    case.write(Write::Publish(vec![publish(number_in(1, 4), claims)].into())).await;
    let all: Vec<_> = (0..3).map(SubscriptionIndex).collect();
    let found = case.good(case.store().claims(&all, None, 10).await, "reads claims");
    let [found] = found.as_slice() else { panic!("{}: one artifact has claims: {found:?}", case.name) };
    let found = &found.published;
    case.same(format!("{:?}", found.claims), wanted, "claims come back as they were");
    case.same((found.offset.get(), found.run, found.at), (1, run(4), at(1)), "with their artifact's");
    case.same(&*found.workflow, "test", "and the run's workflow");
}

pub(super) async fn a_started_job_hides_its_claims(case: &Case<'_>) {
    let artifacts: Vec<_> = (1..4).map(|n| publish(number(n), vec![claim(0, 0), claim(1, 0)])).collect();
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = start(1, &[places[2], places[0]]);
    case.write(begin(&job)).await;
    let listed = case.unfinished().await;
    case.same(listed.claims, vec![(1, 0), (2, 0), (2, 1), (3, 0)], "only the job's own claims are hidden");
    let [found] = listed.jobs.as_slice() else { panic!("{}: one job is unfinished", case.name) };
    case.same(&found.start, &job, "it is listed as it was started");
    case.same((found.failures, found.until), (0, None), "it has not failed");
    let inputs: Vec<_> =
        found.inputs.iter().map(|input| (input.offset, input.run, input.at, input.claims.len())).collect();
    let wanted = vec![(places[2], run(1), at(3), 1), (places[0], run(1), at(1), 1)];
    case.same(inputs, wanted, "its inputs stand in input order");
    let own = found.inputs.iter().all(|input| input.claims[0].subscription.0 == 1);
    case.same(own, true, "each with the job's claim");
}

pub(super) async fn a_job_of_a_batch_keeps_its_groups(case: &Case<'_>) {
    let places = case.claimed(1..4).await;
    let mut job = start(0, &places);
    job.members[1].group = 1;
    job.members[2].group = 1;
    let job = Start {
        closed: Some(CloseReason::Deadline),
        opens_run: true,
        run: run(8),
        attempt: 5,
        failures: 3,
        ..job
    };
    case.write(begin(&job)).await;
    let listed = case.unfinished().await;
    case.same(listed.jobs.first().map(|found| &found.start), Some(&job), "it is listed as it was started");
}

pub(super) async fn a_retry_keeps_failures_and_time(case: &Case<'_>) {
    let job = start(0, &case.claimed(1..2).await);
    case.write(begin(&job)).await;
    let retry = |job, failures| Write::Retry {
        job,
        start: None,
        failures,
        until: at(90),
        at: at(55),
        error: vec!["x".to_owned()],
    };
    case.write(retry(job.job, 2)).await;
    let listed = case.unfinished().await;
    let found: Vec<_> = listed.jobs.iter().map(|found| (found.failures, found.until)).collect();
    case.same(found, vec![(2, Some(at(90)))], "failures and time are kept");
    case.same(listed.claims, vec![], "the claims stay with the job");
    let unknown = case.commit(vec![retry(start(0, &[Offset::new(77)]).job, 1)]).await;
    let refused = matches!(unknown.as_slice(), [Written::Refused(_)]);
    case.same(refused, true, "an unknown job cannot be retried");
}

pub(super) async fn a_retry_that_tells_the_start_needs_no_record(case: &Case<'_>) {
    let places = case.claimed(1..3).await;
    let [new, again] = [0, 1].map(|index| start(0, &places[index..=index]));
    let retry = |start: &Start, failures| Write::Retry {
        job: start.job,
        start: Some(Arc::new(start.clone())),
        failures,
        until: at(90),
        at: at(55),
        error: vec!["x".to_owned()],
    };
    // In one commit, so that the suite does not let the process die in between.
    let third = Start { attempt: 3, ..again.clone() };
    case.commit(vec![begin(&again), retry(&third, 2), retry(&new, 1)]).await;
    let listed = case.unfinished().await;
    let found: Vec<_> = listed.jobs.iter().map(|found| (found.start.attempt, found.failures)).collect();
    case.same(found, vec![(3, 2), (1, 1)], "the attempt is the one that was told");
    case.same(listed.claims, vec![], "the claims stay with their jobs");
    case.die().await;
    let interrupted = case.unfinished().await.jobs.iter().filter(|job| job.interruptions > 0).count();
    case.same(interrupted, 0, "what failed was not interrupted");
}

pub(super) async fn an_end_that_tells_the_start_needs_no_record(case: &Case<'_>) {
    let places = case.claimed(1..4).await;
    let jobs = [0, 1, 2].map(|index| start(0, &places[index..=index]));
    let [done, died, cancelled] = &jobs;
    let end = |start: &Start, end, outputs: Vec<NewArtifact>| {
        let (job, start) = (start.job, Some(Arc::new(start.clone())));
        Write::Finish(Finish { job, start, end, outputs: outputs.into() })
    };
    let output = publish(number(10), Vec::new());
    let stored = case.write(end(done, JobEnd::Done, vec![output])).await;
    case.same(case.places(stored), vec![Offset::new(4)], "its outputs are there");
    case.write(end(&Start { attempt: 3, ..died.clone() }, dead(60), Vec::new())).await;
    case.write(end(cancelled, JobEnd::Cancelled, Vec::new())).await;
    let listed = case.unfinished().await;
    case.same((listed.jobs.len(), listed.claims), (0, vec![]), "nothing is left");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same((tally.consumed, tally.dead, tally.cancelled), (1, 1, 1), "each input has its outcome");
}

pub(super) async fn another_attempt_clears_the_time(case: &Case<'_>) {
    let job = start(0, &case.claimed(1..2).await);
    case.write(begin(&job)).await;
    case.write(Write::Retry {
        job: job.job,
        start: None,
        failures: 1,
        until: at(90),
        at: at(55),
        error: Vec::new(),
    })
    .await;
    let second = Start { attempt: 2, ..job };
    case.write(begin(&second)).await;
    let listed = case.unfinished().await;
    let [found] = listed.jobs.as_slice() else { panic!("{}: it is still one job", case.name) };
    case.same((found.start.attempt, found.failures, found.until), (2, 1, None), "it runs again");
}

pub(super) async fn finishing_ends_claims_and_publishes(case: &Case<'_>) {
    let artifacts: Vec<_> = (1..3).map(|n| publish(number(n), vec![claim(0, 0), claim(1, 0)])).collect();
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = start(1, &places);
    case.write(begin(&job)).await;
    let outputs = (10..12).map(|n| publish(number(n), vec![claim(0, 0)])).collect();
    let stored = case.write(finish(job.job, JobEnd::Done, outputs)).await;
    case.same(case.places(stored), vec![Offset::new(3), Offset::new(4)], "outputs get the next places");
    let listed = case.unfinished().await;
    case.same(listed.jobs.len(), 0, "the job is over");
    case.same(listed.claims, vec![(1, 0), (2, 0), (3, 0), (4, 0)], "its inputs' claims have ended");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same((tally.matched, tally.consumed), (6, 2), "both inputs are consumed");
}

pub(super) async fn a_repeated_output_is_the_first_artifact(case: &Case<'_>) {
    let places = case.claimed(1..2).await;
    case.write(Write::Publish(vec![publish(number(10), Vec::new())].into())).await;
    let job = start(0, &places);
    case.write(begin(&job)).await;
    let outputs = vec![publish(number(10), vec![claim(0, 0)]), publish(number(11), Vec::new())];
    let stored = case.write(finish(job.job, JobEnd::Done, outputs)).await;
    let repeat = matches!(stored[..], [Stored::Repeat(ref first), Stored::New(_)] if first.offset.get() == 2);
    case.same(repeat, true, "an output that is there already is not written again");
    case.same(case.unfinished().await.claims, vec![], "and gets no claims");
}

pub(super) async fn an_unknown_job_is_refused_alone(case: &Case<'_>) {
    let unknown = start(0, &[Offset::new(1)]).job;
    let one = |n| vec![publish(number(n), vec![claim(0, 0)])];
    let writes = vec![
        Write::Publish(one(1).into()),
        finish(unknown, JobEnd::Done, one(2)),
        finish(unknown, dead(60), one(3)),
        Write::Publish(one(4).into()),
    ];
    let results = case.commit(writes).await;
    let done: Vec<bool> = results.iter().map(|result| matches!(result, Written::Done(_))).collect();
    case.same(done, vec![true, false, false, true], "only what names the unknown job is refused");
    let values = case.good(case.store().read(&[1, 2].map(Offset::new)).wait().await, "reads");
    let ids: Vec<_> = values.iter().map(|artifact| artifact.id()).collect();
    case.same(ids, vec![number(1).id(), number(4).id()], "nothing of the refused writes was written");
}

pub(super) async fn a_job_finishes_once(case: &Case<'_>) {
    let job = start(0, &case.claimed(1..2).await);
    case.write(begin(&job)).await;
    case.write(finish(job.job, JobEnd::Done, Vec::new())).await;
    let again = case.commit(vec![finish(job.job, dead(60), vec![publish(number(9), Vec::new())])]).await;
    case.same(matches!(again.as_slice(), [Written::Refused(_)]), true, "the second end is refused");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same((tally.consumed, tally.dead), (1, 0), "the first end stands");
    case.same(case.offsets().await, vec![1], "the second end publishes nothing");
}

pub(super) async fn settling_ends_a_claim_once(case: &Case<'_>) {
    let artifacts = vec![publish(number(1), vec![claim(0, 0), claim(1, 0)])];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    case.write(settle(1, places[0], Outcome::Expired(Expiry::TimeWindow))).await;
    case.write(settle(1, places[0], Outcome::Cancelled)).await;
    case.same(case.unfinished().await.claims, vec![(1, 0)], "the other claim is open");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same((tally.expired, tally.cancelled, tally.outstanding()), (1, 0, 1), "the first outcome stands");
}

/// Publishes two inputs of an every-pair join and starts their pair.
async fn pair(case: &Case<'_>) -> (Start, Vec<Offset>) {
    let artifacts = vec![publish(number(1), vec![claim(2, 0)]), publish(number(2), vec![claim(2, 1)])];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = Start { shared: true, ..start(2, &places) };
    case.write(begin(&job)).await;
    (job, places)
}

pub(super) async fn shared_jobs_leave_claims_open(case: &Case<'_>) {
    let (job, places) = pair(case).await;
    let listed = case.unfinished().await;
    case.same(listed.claims, vec![(1, 2), (2, 2)], "a running pair leaves its claims open");
    case.same(listed.jobs.first().map(|found| &found.start), Some(&job), "and is listed");
    case.same(listed.pairs, vec![], "it is not a finished pair yet");
    case.write(finish(job.job, JobEnd::Done, Vec::new())).await;
    let listed = case.unfinished().await;
    case.same(listed.claims, vec![(1, 2), (2, 2)], "a finished pair leaves its claims open");
    case.same(listed.jobs.len(), 0, "the job is over");
    case.same(listed.pairs, vec![(places, PairVerdict::Done)], "the pair is remembered");
    let tally = case.good(case.store().tally(run(1)).await, "counts");
    case.same(tally.outstanding(), 2, "nothing has an outcome yet");
}

pub(super) async fn pairs_are_remembered_until_a_member_is_settled(case: &Case<'_>) {
    let (job, places) = pair(case).await;
    case.write(finish(job.job, dead(60), Vec::new())).await;
    let left = case.unfinished().await.pairs;
    case.same(left, vec![(places.clone(), PairVerdict::Dead)], "a dead pair is remembered");
    let elsewhere = settle(0, places[1], Outcome::Cancelled);
    case.write(elsewhere).await;
    case.same(case.unfinished().await.pairs.len(), 1, "another subscription's outcome changes nothing");
    case.write(settle(2, places[1], Outcome::Dead)).await;
    let listed = case.unfinished().await;
    case.same(listed.pairs, vec![], "a pair that cannot form again is forgotten");
    case.same(listed.claims, vec![(1, 2)], "its other member is still open");
}

pub(super) async fn a_cancelled_pair_is_not_remembered(case: &Case<'_>) {
    let (job, _) = pair(case).await;
    case.write(finish(job.job, JobEnd::Cancelled, Vec::new())).await;
    let listed = case.unfinished().await;
    case.same((listed.jobs.len(), listed.pairs.len(), listed.claims.len()), (0, 0, 2), "only claims remain");
}

pub(super) async fn unfinished_work_is_the_same_in_any_slices(case: &Case<'_>) {
    let places = case.claimed(10..18).await;
    for place in &places[..3] {
        case.write(begin(&start(0, &[*place]))).await;
    }
    let artifacts: Vec<_> =
        (20..24).map(|n| publish(number(n), vec![claim(2, u16::from(n % 2 == 1))])).collect();
    let sides = case.places(case.write(Write::Publish(artifacts.into())).await);
    for pair in sides.chunks(2) {
        let job = Start { shared: true, ..start(2, pair) };
        case.write(begin(&job)).await;
        case.write(finish(job.job, JobEnd::Done, Vec::new())).await;
    }
    let whole = described(&case.unfinished_by(1_000).await);
    case.same(whole.len(), 3 + 2, "three jobs, two pairs");
    for limit in [1, 2, 3, 5] {
        let sliced = described(&case.unfinished_by(limit).await);
        case.same(sliced, whole.clone(), &format!("slices of {limit}"));
    }
}

/// Unfinished work as text. Pairs have no order that matters.
fn described(unfinished: &[Unfinished]) -> Vec<String> {
    let (mut pairs, rest): (Vec<_>, Vec<_>) =
        unfinished.iter().map(|entry| format!("{entry:?}")).partition(|text| text.starts_with("Pair"));
    pairs.sort();
    [rest, pairs].concat()
}
