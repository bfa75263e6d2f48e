//! Every collector against a naive model: the same steps after every event, the same next deadline.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::board::tests::shapes::{all_of, at, batched, by_event_time, each, join, micros, within};
use crate::subscription::Batch;

mod model;
mod restart;

use model::Model;

/// The events of a collector.
#[derive(Clone, Debug)]
enum Event {
    Offer(Draft),
    Due(u64),
    Flush(Option<u8>),
    EndInput(u8),
    Withdraw(u8),
}

#[derive(Clone, Debug)]
struct Draft {
    run: u8,
    side: u16,
    key: u8,
    weight: u32,
    /// Time since the event before.
    after: u64,
    /// How much earlier than offered it was published.
    late: u64,
    /// How much earlier than published its event time is.
    age: u64,
}

fn run(number: u8) -> RunIndex {
    RunIndex(number.into())
}

fn event() -> impl Strategy<Value = Event> {
    let late = prop_oneof![6 => Just(0_u64), 1 => 1_u64..40];
    let draft = (0_u8..3, 0_u16..6, 0_u8..2, 0_u32..7, 0_u64..12, late, 0_u64..40).prop_map(
        |(run, side, key, weight, after, late, age)| Draft { run, side, key, weight, after, late, age },
    );
    prop_oneof![
        20 => draft.prop_map(Event::Offer),
        4 => (0_u64..40).prop_map(Event::Due),
        1 => prop_oneof![Just(None), (0_u8..3).prop_map(Some)].prop_map(Event::Flush),
        1 => (0_u8..3).prop_map(Event::EndInput),
        1 => (0_u8..3).prop_map(Event::Withdraw),
    ]
}

/// Plays the events to the collector and to the model; both must yield the same.
fn check(subscription: &Subscription, events: &[Event]) {
    let sides = u16::try_from(subscription.sides.len()).expect("few sides");
    let (mut collector, mut model) = (Collector::new(subscription), Model::new(subscription));
    let mut now = at(1_000);
    for (number, event) in (10_u64..).zip(events) {
        let (mut steps, mut wanted) = (Vec::new(), Vec::new());
        match event {
            Event::Offer(draft) => {
                now = now.after(micros(draft.after));
                let published = now.before(micros(draft.late));
                let entry = Entry {
                    // An entry that was held back has an earlier place in the log than those that came before
                    // it.
                    offset: Offset::new(if draft.late > 0 { number * 2 - 7 } else { number * 2 }),
                    run: run(draft.run),
                    at: published,
                    time: if subscription.runs_by_event_time() {
                        published.before(micros(draft.age))
                    } else {
                        published
                    },
                    since: now,
                    side: draft.side % sides,
                    weight: draft.weight,
                    lane: None,
                };
                let key = Some(Key::from(draft.key.to_string()));
                collector.offer(entry.clone(), key.clone(), &mut steps);
                model.offer(entry, key, &mut wanted);
            }
            Event::Due(after) => {
                now = now.after(micros(*after));
                collector.due(now, &mut steps);
                model.due(now, &mut wanted);
            }
            Event::Flush(of) => {
                collector.flush(of.map(run), CloseReason::Shutdown, &mut steps);
                model.flush(of.map(run), CloseReason::Shutdown, &mut wanted);
            }
            Event::EndInput(of) => {
                collector.end_input(run(*of), &mut steps);
                model.end_input(run(*of), &mut wanted);
            }
            Event::Withdraw(of) => {
                let (mut held, batched) = collector.withdraw(run(*of));
                held.sort_by_key(|entry| entry.offset);
                assert_eq!((held, batched), model.withdraw(run(*of)));
            }
        }
        steps.iter_mut().for_each(without_company);
        assert_eq!(steps, wanted, "after {event:?}");
        assert_eq!(collector.next_deadline(), model.next_deadline(), "after {event:?}");
        let mut waiting = Vec::new();
        collector.visit_waiting(&mut |entry, _| waiting.push(entry.offset));
        waiting.sort_unstable();
        assert_eq!(waiting, model.waiting(), "after {event:?}");
    }
}

/// The model knows nothing of partners: what is told to those who look on decides nothing.
fn without_company(step: &mut Step) {
    if let Step::Left(entry, _, partners) = step
        && let Some(partners) = partners.take()
    {
        assert!(partners.entries.iter().all(|partner| partner.offset != entry.offset), "{partners:?}");
    }
}

#[test]
fn what_leaves_a_join_names_those_that_would_have_gone_with_it() {
    let mut collector = Collector::new(&join(3, JoinMode::Once, within(20)));
    let (key, mut steps) = (Some(Key::from("7")), Vec::new());
    let mut offer = |offset: u64, side: u16, when: i64| {
        let (offset, at) = (Offset::new(offset), at(when));
        let entry = Entry { offset, run: run(0), at, time: at, since: at, side, weight: 1, lane: None };
        collector.offer(entry, key.clone(), &mut steps);
    };
    // Two of the first side: only the first of them would have gone with the second side's.
    for (offset, side, when) in [(1, 0, 0), (2, 0, 3), (3, 1, 5)] {
        offer(offset, side, when);
    }
    collector.due(at(24), &mut steps);
    let left: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Left(entry, Expiry::TimeWindow, Some(partners)) => {
                Some((entry.offset.get(), partners.entries.iter().map(|other| other.offset.get()).collect()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(left, [(1, vec![3]), (2, vec![3])]);
}

macro_rules! agrees_with_the_model {
    ($($rule:ident: $subscription:expr;)+) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                cases: 250,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]
            $(
                #[test]
                fn $rule(events in vec(event(), 0..60)) {
                    check(&$subscription, &events);
                }
            )+
        }
    };
}

agrees_with_the_model! {
    all_of_takes_the_oldest_of_each: all_of(&[2, 1, 3]);
    all_of_in_batches: batched(all_of(&[1, 2]), Batch::of(2).or_after(micros(25)));
    a_join_without_a_window: join(2, JoinMode::Once, None);
    a_join_counts_per_key: Subscription { sides: all_of(&[3]).sides, ..join(1, JoinMode::Once, None) };
    a_join_within_a_time: join(3, JoinMode::Once, within(20));
    a_join_within_a_count: join(3, JoinMode::Once, Some(Window::Count(3)));
    an_outer_join_within_a_time: join(3, JoinMode::Outer, within(20));
    an_outer_join_within_a_count: join(3, JoinMode::Outer, Some(Window::Count(2)));
    every_pair_within_a_time: join(2, JoinMode::EveryPair, within(20));
    every_pair_within_a_count: join(2, JoinMode::EveryPair, Some(Window::Count(3)));
    a_join_by_event_time: by_event_time(2, JoinMode::Once, 15, 8, 60);
    a_join_of_four_by_event_time: by_event_time(4, JoinMode::Once, 30, 0, 60);
    an_outer_join_by_event_time: by_event_time(3, JoinMode::Outer, 15, 5, 60);
    every_pair_by_event_time: by_event_time(2, JoinMode::EveryPair, 15, 5, 60);
    a_batch_by_size: batched(each(), Batch::of(3));
    a_batch_by_time: batched(each(), Batch::after(micros(20)));
    a_batch_by_weight: batched(each(), Batch::weighing(9));
    a_batch_by_all_three: batched(each(), Batch::of(4).or_after(micros(25)).or_weighing(10));
    a_batch_until_finished: batched(each(), Batch::until_finished());
    a_join_in_batches: batched(join(2, JoinMode::Once, within(30)), Batch::of(2).or_after(micros(15)));
    an_outer_join_in_batches: batched(join(2, JoinMode::Outer, within(10)), Batch::of(3).or_after(micros(15)));
}
