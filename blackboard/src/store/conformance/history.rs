//! Cases of history: dead letters and what may be done about them, lineage, summaries.

use super::*;
use crate::artifact::Producer;
use crate::job::Resumed;
use crate::outcome::{Discard, Expiry, Tally};
use crate::store::{DeadState, FailedAttempt, Fate, Redrive, SummaryBy};

impl Case<'_> {
    /// A job of `subscription` on these inputs that fails twice and is given up.
    async fn dies(&self, subscription: u32, members: &[Offset]) -> Start {
        let first = start(subscription, members);
        let second = Start { attempt: 2, failures: 1, ..first.clone() };
        let error = vec!["first".to_owned()];
        let retry = Write::Retry { job: first.job, failures: 1, until: at(57), at: at(55), error };
        let end = JobEnd::Dead { attempts: 2, error: vec!["outer".into(), "root".into()], at: at(60) };
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
        FailedAttempt::new(1, at(55), vec!["first".to_owned()]),
        FailedAttempt::new(2, at(60), vec!["outer".to_owned(), "root".to_owned()]),
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
    case.same(case.find(Filter::all()).await, vec![1, 2], "what is refused publishes nothing");
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

pub(super) async fn lineage_tells_causes_and_fates(case: &Case<'_>) {
    let artifacts = vec![
        publish(number(1), vec![claim(0, 0), claim(1, 0), claim(2, 0)]),
        publish(number(2), vec![claim(0, 0)]),
    ];
    let places = case.places(case.write(Write::Publish(artifacts.into())).await);
    let job = start(0, &places);
    let output =
        |n| number(n).caused_by(Producer::Agent("reader".into()), vec![number(1).id(), number(2).id()], 1);
    let outputs = (3..5).map(|n| publish(output(n), Vec::new())).collect();
    case.commit(vec![begin(&job), finish(job.job, JobEnd::Done, outputs)]).await;
    let reason = Outcome::Discarded(Discard::ClosurePanicked("why".to_owned()));
    case.write(settle(1, places[0], reason.clone())).await;
    let of = |n| number(n).id();
    let first = case.good(case.store().lineage(of(1)).await, "tells");
    let Some(first) = first else { panic!("{}: the artifact is there", case.name) };
    let published = vec![Offset::new(3), Offset::new(4)];
    let wanted = vec![
        Fate::new("joiner/0".into(), Some(reason), None, Vec::new()),
        Fate::new("joiner/1".into(), None, None, Vec::new()),
        Fate::new("reader/0".into(), Some(Outcome::Consumed), Some(job.job), published),
    ];
    case.same(
        first.fates,
        wanted,
        "who took it and what came of it, who refused it and why, who has not ended",
    );
    case.same(first.causes.len(), 0, "it came from outside");
    let third = case.good(case.store().lineage(of(3)).await, "tells");
    let causes: Vec<_> = third.iter().flat_map(|found| found.causes.iter().map(|cause| cause.id())).collect();
    case.same(causes, vec![of(1), of(2)], "what led to it, in input order");
    case.same(
        case.good(case.store().lineage(of(9)).await, "tells").is_none(),
        true,
        "an unknown one has none",
    );
}

pub(super) async fn the_lineage_of_a_pair_names_every_pair(case: &Case<'_>) {
    let artifacts = [(1, 0), (2, 1), (3, 1)].map(|(n, side)| publish(number(n), vec![claim(2, side)]));
    let places = case.places(case.write(Write::Publish(Vec::from(artifacts).into())).await);
    let mut wanted = Vec::new();
    for (n, other) in [(10, places[1]), (11, places[2])] {
        let job = Start { shared: true, ..start(2, &[places[0], other]) };
        let outputs = vec![publish(number(n), Vec::new())];
        case.commit(vec![begin(&job), finish(job.job, JobEnd::Done, outputs)]).await;
        wanted.push((job.job, vec![Offset::new(u64::from(n) - 6)]));
    }
    case.write(settle(2, places[0], Outcome::Consumed)).await;
    let found = case.good(case.store().lineage(number(1).id()).await, "tells");
    let fates = found.map(|found| found.fates).unwrap_or_default();
    case.same(fates.iter().all(|fate| fate.outcome == Some(Outcome::Consumed)), true, "the input's outcome");
    let found: Vec<_> = fates.into_iter().filter_map(|fate| Some((fate.job?, fate.published))).collect();
    case.same(found, wanted, "each pair with what it published");
}

pub(super) async fn summaries_count_what_a_filter_accepts(case: &Case<'_>) {
    let id = ArtifactId::from_uuid(Uuid::from_u128(99));
    let body = Body::typed(Arc::new("x".to_owned()));
    let text = Artifact::new(id, Kind::of::<String>(), body, run(2), at(3));
    let made = number(2).caused_by(Producer::Agent("reader".into()), Vec::new(), 1);
    let artifacts = vec![
        publish(number(1), vec![claim(0, 0), claim(1, 0)]),
        publish(made, vec![claim(0, 0)]),
        publish(text, vec![claim(1, 0)]),
    ];
    case.write(Write::Publish(artifacts.into())).await;
    case.write(settle(1, Offset::new(1), Outcome::Expired(Expiry::Patience))).await;
    let (numbers, texts) = (Kind::of::<u32>(), Kind::of::<String>());
    let of_run = || Filter::all().run(run(1));
    for (what, filter, by, mut wanted) in [
        ("kinds", Filter::all(), SummaryBy::Kind, vec![(numbers.name(), 2), (texts.name(), 1)]),
        ("producers", Filter::all(), SummaryBy::Producer, vec![("external", 2), ("reader", 1)]),
        ("outcomes", Filter::all(), SummaryBy::Outcome, vec![("expired", 1), ("outstanding", 3)]),
        ("outcomes of a run", of_run(), SummaryBy::Outcome, vec![("expired", 1), ("outstanding", 2)]),
        ("nothing", Filter::all().kind("nobody"), SummaryBy::Kind, vec![]),
    ] {
        let found = case.good(case.store().summary(&filter, by).await, "counts");
        let found: Vec<_> = found.iter().map(|row| (row.name.as_str(), row.count)).collect();
        wanted.sort_unstable();
        case.same(found, wanted, what);
    }
}
