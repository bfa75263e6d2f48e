//! Cases of dead letters: listing them, driving them again, giving them up, removing those that are over.

use std::time::Duration;

use super::*;
use crate::artifact::Producer;
use crate::job::Resumed;
use crate::outcome::Tally;
use crate::store::{DeadLetter, DeadState, Death, FailedAttempt, Redrive, Retention};

impl Case<'_> {
    /// A job of `subscription` on these inputs that fails twice and is given up.
    async fn dies(&self, subscription: u32, members: &[Offset]) -> Start {
        let first = start(subscription, members);
        let second = Start { attempt: 2, failures: 1, ..first.clone() };
        let error = vec!["first".to_owned()];
        let retry =
            Write::Retry { job: first.job, start: None, failures: 1, until: at(57), at: at(55), error };
        let end = JobEnd::Dead(Box::new(Death {
            attempts: 2,
            error: vec!["outer".into(), "root".into()],
            at: at(60),
        }));
        let results =
            self.commit(vec![begin(&first), retry, begin(&second), finish(first.job, end, Vec::new())]).await;
        let done = results.iter().all(|result| matches!(result, Written::Done(_)));
        self.same(done, true, "the job is accepted");
        second
    }

    async fn letters(&self, filter: DeadFilter) -> Vec<u64> {
        let letters = self.good(self.store().dead_letters(&filter).await, "lists");
        letters.iter().map(|letter| letter.number).collect()
    }

    async fn state(&self, number: u64) -> DeadState {
        let found = self.good(self.store().dead_letter(number).await, "inspects");
        found
            .map(|found| found.letter.state)
            .unwrap_or_else(|| panic!("{}: letter {number} is there", self.name))
    }

    async fn redrive(&self, letter: u64, edits: Vec<(Offset, NewArtifact)>) -> Result<Resumed, StoreError> {
        match self.commit(vec![Write::Redrive(Redrive { letter, at: at(70), edits })]).await.pop() {
            Some(Written::Redriven(resumed)) => Ok(*resumed),
            Some(Written::Refused(error)) => Err(error),
            other => panic!("{}: it runs again or is refused: {other:?}", self.name),
        }
    }

    async fn tally(&self) -> Tally {
        self.good(self.store().tally(run(1)).await, "counts")
    }
}

pub(super) async fn a_dead_letter_tells_all_attempts_and_inputs(case: &Case<'_>) {
    let places = case.claimed(1..3).await;
    case.dies(0, &places).await;
    let found = case.good(case.store().dead_letter(1).await, "inspects");
    let Some(found) = found else { panic!("{}: the letter is there", case.name) };
    case.same(found.letter.kinds.clone(), vec![Kind::of::<u32>().name().to_owned()], "kinds, each once");
    case.same(found.letter.state.clone(), DeadState::Open, "nothing has been done about it");
    let values: Vec<String> = found.inputs.iter().map(|input| format!("{:?}", input.json())).collect();
    case.same(values, vec![r#"Ok("1")"#.to_owned(), r#"Ok("2")"#.to_owned()], "the inputs' payloads");
    let wanted = vec![
        FailedAttempt { number: 1, at: at(55), error: vec!["first".to_owned()] },
        FailedAttempt { number: 2, at: at(60), error: vec!["outer".to_owned(), "root".to_owned()] },
    ];
    case.same(found.failed, wanted, "every failed attempt with its time and its chain of causes");
    let none = case.good(case.store().dead_letter(2).await, "inspects");
    case.same(none.is_none(), true, "there is no other");
}

pub(super) async fn dead_letters_are_filtered(case: &Case<'_>) {
    let id = ArtifactId::from_uuid(Uuid::from_u128(99));
    let body = Body::typed(Arc::new("x".to_owned()));
    let text = Artifact::new(id, Kind::of::<String>(), body, run(1), at(3));
    let artifacts = vec![publish(number(1), vec![claim(0, 0)]), publish(text, vec![claim(1, 0)])];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    for (subscription, place, second, of) in [(0, places[0], 60, 1), (1, places[1], 62, 2)] {
        let job = Start { run: run(of), opens_run: of > 1, ..start(subscription, &[place]) };
        case.commit(vec![begin(&job), finish(job.job, dead(second), Vec::new())]).await;
    }
    let all = DeadFilter::all;
    for (what, filter, wanted) in [
        ("all", all(), vec![1, 2]),
        ("agent", all().agent("joiner"), vec![2]),
        ("run", all().run(run(2)), vec![2]),
        ("kind", all().kind(Kind::of::<u32>().name()), vec![1]),
        ("since, inclusive", all().since(at(62)), vec![2]),
        ("until, exclusive", all().until(at(62)), vec![1]),
        ("none", all().agent("joiner").run(run(1)), vec![]),
    ] {
        case.same(case.letters(filter).await, wanted, what);
    }
    let reason = "known".to_owned();
    case.write(Write::Discard { letter: 1, at: at(80), reason: reason.clone() }).await;
    case.same(case.state(1).await, DeadState::Discarded { at: at(80), reason }, "given up, and listed");
    case.same(case.letters(all().only_open()).await, vec![2], "only open ones");
    let again = case.commit(vec![Write::Discard { letter: 1, at: at(81), reason: String::new() }]).await;
    case.same(matches!(again.as_slice(), [Written::Refused(_)]), true, "once only");
    let error = case.redrive(1, Vec::new()).await.err();
    case.same(matches!(error, Some(StoreError::Conflict { .. })), true, "what was given up stays so");
}

pub(super) async fn a_redriven_job_is_unfinished_again(case: &Case<'_>) {
    let places = case.claimed(1..3).await;
    let dead = case.dies(0, &places).await;
    case.same((case.tally().await.dead, case.tally().await.outstanding()), (2, 0), "its inputs are dead");
    let resumed = case.good(case.redrive(1, Vec::new()).await, "runs again");
    let wanted = Start { failures: 0, ..dead.clone() };
    case.same(
        (&resumed.start, resumed.failures, resumed.until),
        (&wanted, 0, None),
        "the same job, failures from 0",
    );
    case.same(resumed.inputs.iter().map(|input| input.offset).collect(), places.clone(), "with its inputs");
    case.same(case.state(1).await, DeadState::Redriven { at: at(70) }, "the letter says so");
    case.same(
        (case.tally().await.dead, case.tally().await.outstanding()),
        (0, 2),
        "its inputs are not dead any more",
    );
    let listed = case.unfinished().await;
    case.same(listed.jobs.first().map(|job| &job.start), Some(&wanted), "a later life finds it");
    case.same(listed.claims, vec![], "its claims are its own");
    case.write(begin(&Start { attempt: 3, ..wanted })).await;
    case.write(finish(dead.job, JobEnd::Done, Vec::new())).await;
    case.same((case.tally().await.consumed, case.tally().await.outstanding()), (2, 0), "and may end well");
    case.same(case.redrive(1, Vec::new()).await.is_err(), true, "a letter is driven once");
}

pub(super) async fn a_redrive_may_replace_inputs(case: &Case<'_>) {
    let places = case.claimed(1..3).await;
    let dead = case.dies(0, &places).await;
    let edited = || number(7).caused_by(Producer::External, vec![number(2).id()], 0);
    let edit = |claims| vec![(places[1], publish(edited(), claims))];
    for (what, refused) in [
        ("it has to be claimed", edit(Vec::new())),
        ("by the job's subscription", edit(vec![claim(1, 0)])),
        ("on the same side", edit(vec![claim(0, 0)])),
        ("an input of the job", vec![(Offset::new(9), publish(edited(), vec![claim(0, 1)]))]),
    ] {
        case.same(case.redrive(1, refused).await.is_err(), true, what);
    }
    case.same(case.offsets().await, vec![1, 2], "what is refused publishes nothing");
    let resumed = case.good(case.redrive(1, edit(vec![claim(0, 1)])).await, "runs again");
    let offsets: Vec<u64> = resumed.start.members.iter().map(|member| member.offset.get()).collect();
    case.same(offsets, vec![1, 3], "with the new input in the old one's place");
    case.same(resumed.start.job == dead.job, false, "which makes it another job");
    let tally = case.tally().await;
    case.same((tally.matched, tally.dead, tally.outstanding()), (3, 1, 2), "the replaced input stays dead");
    case.same(case.unfinished().await.claims, vec![], "the new one is the job's");
    case.write(begin(&Start { attempt: 1, ..resumed.start.clone() })).await;
    case.write(finish(resumed.start.job, JobEnd::Done, Vec::new())).await;
    case.same(case.tally().await.outstanding(), 0, "and may end well");
}

pub(super) async fn a_dead_pair_is_not_driven_again(case: &Case<'_>) {
    let artifacts = vec![publish(number(1), vec![claim(2, 0)]), publish(number(2), vec![claim(2, 1)])];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = Start { shared: true, ..start(2, &places) };
    case.commit(vec![begin(&job), finish(job.job, dead(60), Vec::new())]).await;
    let error = case.redrive(1, Vec::new()).await.err();
    case.same(matches!(error, Some(StoreError::Conflict { .. })), true, "its inputs are used elsewhere");
    case.same(case.state(1).await, DeadState::Open, "nothing changed");
}

pub(super) async fn dead_letters_are_numbered_and_paged(case: &Case<'_>) {
    let places = case.claimed(1..4).await;
    for (second, place) in (60..).zip(&places) {
        let job = start(0, &[*place]);
        case.write(begin(&job)).await;
        case.write(finish(job.job, dead(second), Vec::new())).await;
    }
    let letters = case.good(case.store().dead_letters(&DeadFilter::all()).await, "lists");
    case.same(letters.iter().map(|letter| letter.number).collect(), vec![1, 2, 3], "numbered from 1");
    let last = &letters[2];
    case.same(last.job, start(0, &places[2..]).job, "the job");
    case.same(last.agent.as_str(), "reader", "the agent");
    case.same((last.run, last.attempts, last.at), (run(1), 3, at(62)), "run, attempts and time");
    case.same(last.inputs.clone(), vec![places[2]], "the inputs");
    case.same(last.error.join(": "), "outer: root".to_owned(), "the error, root cause last");
    for (after, limit, wanted) in [(0, 2, vec![1, 2]), (2, 2, vec![3]), (3, 2, vec![])] {
        let filter = DeadFilter::all().after(after).limit(limit);
        let page = case.good(case.store().dead_letters(&filter).await, "lists");
        let numbers: Vec<u64> = page.iter().map(|letter| letter.number).collect();
        case.same(numbers, wanted, &format!("{limit} after {after}"));
    }
}

pub(super) async fn letters_that_are_over_may_go_and_no_others(case: &Case<'_>) {
    let claimed = case.claimed(1..5).await;
    for input in &claimed {
        let work = start(0, std::slice::from_ref(input));
        case.write(begin(&work)).await;
        case.write(finish(work.job, dead(60), Vec::new())).await;
    }
    // The first is open, the second and third are discarded, the fourth runs again.
    for letter in [2, 3] {
        case.write(Write::Discard { letter, at: at(70), reason: "of no use".to_owned() }).await;
    }
    let redrive = Redrive { letter: 4, at: at(70), edits: Vec::new() };
    let driven = case.commit(vec![Write::Redrive(redrive)]).await;
    assert!(matches!(driven.as_slice(), [Written::Redriven(_)]), "{}: it runs again", case.name);
    let policy = Retention { letters_age_max: Some(Duration::ZERO), ..Retention::default() };
    let numbers = |letters: Vec<DeadLetter>| letters.iter().map(|letter| letter.number).collect::<Vec<_>>();
    let mut removed = 0;
    loop {
        let retained = case.retain(&policy, 1).await;
        assert!(retained.letters <= 1, "{}: removes no more than it was told", case.name);
        removed += retained.letters;
        case.same(retained.removed, 0, "artifacts have no bound");
        if !retained.more {
            break;
        }
    }
    let left = numbers(case.good(case.store().dead_letters(&DeadFilter::all()).await, "lists"));
    case.same(left.len() as u64 + removed, 4, "what is gone was counted");
    assert!(
        left.contains(&1) && left.contains(&4),
        "{}: the open one stays, and the one under way",
        case.name
    );
    case.write(finish(start(0, &claimed[3..]).job, JobEnd::Done, Vec::new())).await;
    let last = case.retain(&policy, 100).await;
    let left = numbers(case.good(case.store().dead_letters(&DeadFilter::all()).await, "lists"));
    case.same(left.len() as u64 + removed + last.letters, 4, "what ends later goes later");
    assert!(left.contains(&1), "{}: the open one stays", case.name);
}

pub(super) async fn an_unknown_job_leaves_no_letter(case: &Case<'_>) {
    let unknown = start(0, &[Offset::new(1)]).job;
    let results = case.commit(vec![finish(unknown, dead(60), Vec::new())]).await;
    case.same(matches!(results.as_slice(), [Written::Refused(_)]), true, "its end is refused");
    case.same(case.letters(DeadFilter::all()).await, vec![], "and there is no letter of it");
}

pub(super) async fn closed_letters_refuse(case: &Case<'_>) {
    case.good(case.store().close().await, "closes");
    let error = case.store().dead_letters(&DeadFilter::all()).await.err();
    case.same(matches!(error, Some(StoreError::Closed { .. })), true, "it says that it is closed");
}
