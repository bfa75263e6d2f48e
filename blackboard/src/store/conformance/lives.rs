//! Cases of several lives: what a store counts when its process dies, and what it keeps from one to the next.

use super::*;
use crate::id::Key;
use crate::marks::Marks;
use crate::outcome::Quarantine;
use crate::store::Note;

impl Case<'_> {
    /// Interruptions, and those while alone, of the only unfinished job.
    async fn interruptions(&self) -> (u32, u32) {
        match self.unfinished().await.jobs.as_slice() {
            [job] => (job.interruptions, job.deaths_alone),
            other => panic!("{}: one job is unfinished: {other:?}", self.name),
        }
    }

    async fn notes(&self) -> Vec<String> {
        let notes = self.good(self.store().notes().await, "reads notes");
        let mut notes: Vec<String> = notes.iter().map(|note| format!("{note:?}")).collect();
        notes.sort();
        notes
    }

    async fn marks(&self) -> Vec<(u32, Marks)> {
        let marks = self.good(self.store().marks().await, "reads marks");
        marks.into_iter().map(|(subscription, marks)| (subscription.0, marks)).collect()
    }
}

pub(super) async fn an_attempt_without_an_end_is_an_interruption(case: &Case<'_>) {
    let job = start(0, &case.claimed(1..2).await);
    case.write(begin(&job)).await;
    case.die().await;
    case.same(case.interruptions().await, (1, 0), "the attempt was cut short");
    case.die().await;
    case.same(case.interruptions().await, (1, 0), "while nothing ran, nothing was cut short");
    case.write(begin(&Start { attempt: 2, ..job.clone() })).await;
    case.die().await;
    case.same(case.interruptions().await, (2, 0), "the second attempt, too");
    case.write(begin(&Start { attempt: 3, alone: true, ..job })).await;
    case.die().await;
    case.same(case.interruptions().await, (3, 1), "an attempt that ran alone is counted apart");
}

pub(super) async fn what_ended_or_was_handed_back_is_no_interruption(case: &Case<'_>) {
    let places = case.claimed(1..4).await;
    let [released, failed, done] = [0, 1, 2].map(|index| start(0, &places[index..=index]));
    let retry = Write::Retry {
        job: failed.job,
        start: None,
        failures: 1,
        until: at(90),
        at: at(55),
        error: Vec::new(),
    };
    // In one commit, so that the suite does not let the process die in between.
    let writes = vec![
        begin(&released),
        begin(&failed),
        begin(&done),
        Write::Release(released.job),
        retry,
        finish(done.job, JobEnd::Done, Vec::new()),
    ];
    case.commit(writes).await;
    case.die().await;
    let jobs = case.unfinished().await.jobs;
    let found: Vec<_> = jobs.iter().map(|job| (job.start.job, job.failures, job.interruptions)).collect();
    case.same(found, vec![(released.job, 0, 0), (failed.job, 1, 0)], "neither was cut short");
    let unknown = case.commit(vec![Write::Release(done.job)]).await;
    case.same(
        matches!(unknown.as_slice(), [Written::Refused(_)]),
        true,
        "what is over cannot be handed back",
    );
}

pub(super) async fn everything_unfinished_outlives_the_process(case: &Case<'_>) {
    let places = case.claimed(1..5).await;
    let job = start(0, &places[..2]);
    let retry =
        Write::Retry { job: job.job, start: None, failures: 1, until: at(90), at: at(55), error: Vec::new() };
    case.commit(vec![begin(&job), retry]).await;
    let before: Vec<String> =
        case.unfinished_by(100).await.iter().map(|entry| format!("{entry:?}")).collect();
    case.die().await;
    let after: Vec<String> = case.unfinished_by(100).await.iter().map(|entry| format!("{entry:?}")).collect();
    case.same(after, before, "jobs and claims are as they were");
    let more = case.claimed(5..6).await;
    case.same(more, vec![Offset::new(5)], "places go on where they ended");
}

pub(super) async fn the_last_note_on_a_topic_stands(case: &Case<'_>) {
    let paused = |agent: &str, paused| Note::AgentPaused { agent: agent.into(), paused };
    let quarantined = |state| Note::AgentQuarantined { agent: "reader".into(), state };
    let state = Quarantine { since: at(5), restarts: 3, resumes_at: Some(at(9)) };
    let deadline = |seconds| Note::RunDeadline { run: run(1), at: Some(at(seconds)) };
    let resumed = |times| Note::RunResumed { run: run(1), times };
    let shown =
        |place: &str, open: Option<&str>| Note::Span { place: place.into(), open: open.map(str::to_owned) };
    for note in [
        paused("reader", true),
        paused("joiner", true),
        paused("joiner", false),
        quarantined(Some(state)),
        deadline(7),
        deadline(9),
        Note::RunCancelled(run(1)),
        Note::RunFinishing(run(2)),
        resumed(1),
        resumed(2),
        shown("7-1", Some("begun")),
        shown("7-1", Some("begun\nat once")),
        shown("7-2", Some("begun")),
        shown("7-2", None),
    ] {
        case.write(Write::Note(note)).await;
    }
    case.die().await;
    let mut wanted = [
        paused("reader", true),
        quarantined(Some(state)),
        deadline(9),
        Note::RunCancelled(run(1)),
        Note::RunFinishing(run(2)),
        resumed(2),
        shown("7-1", Some("begun\nat once")),
    ]
    .map(|note| format!("{note:?}"));
    wanted.sort();
    case.same(case.notes().await, wanted.to_vec(), "the last note on every topic is there");
    for note in [
        shown("7-1", None),
        quarantined(None),
        Note::RunSettled(run(1)),
        Note::RunDeadline { run: run(2), at: None },
    ] {
        case.write(Write::Note(note)).await;
    }
    let wanted = [paused("reader", true), Note::RunFinishing(run(2))].map(|note| format!("{note:?}"));
    case.same(case.notes().await, wanted.to_vec(), "what is withdrawn, or settled, is forgotten");
}

pub(super) async fn marks_are_kept_and_every_claim_knows_those_before_it(case: &Case<'_>) {
    let time = |seconds| Some(at(seconds));
    let timed =
        |side, seconds| Claim { event_time: time(seconds), key: Some(Key::from("1")), ..claim(3, side) };
    let artifacts = [
        vec![claim(0, 0), timed(0, 5)],
        vec![timed(1, 3)],
        vec![Claim { visible_at: time(99), ..timed(1, 90) }],
        vec![timed(0, 4)],
    ];
    let artifacts = (1..).zip(artifacts).map(|(n, claims)| publish(number(n), claims)).collect();
    case.write(Write::Publish(artifacts)).await;
    let first = start(3, &[Offset::new(1)]);
    case.commit(vec![begin(&first), finish(first.job, JobEnd::Done, Vec::new())]).await;
    case.die().await;
    let all = Marks { arrivals: 3, event_times: vec![time(5), time(3)] };
    case.same(case.marks().await, vec![(3, all.clone())], "what was used up counts on");
    let claims = case.good(case.store().claims(&[SubscriptionIndex(3)], None, 10).await, "reads claims");
    let before: Vec<_> = claims.iter().map(|claimed| claimed.published.claims[0].marks.clone()).collect();
    let after_one = Marks { arrivals: 1, event_times: vec![time(5)] };
    let after_two = Marks { arrivals: 2, event_times: vec![time(5), time(3)] };
    let wanted = [after_one, after_two.clone(), after_two].map(|marks| Some(Box::new(marks))).to_vec();
    case.same(before, wanted, "each claim knows the marks that it met");
}
