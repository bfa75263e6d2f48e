//! Collectors against restarts: one that is rebuilt from what is outstanding goes on as one that never ended.
//!
//! Inputs that were used up before are not offered again; their traces are the marks that a store keeps.

use proptest::prelude::*;

use super::super::{Collector, Entry, Step};
use crate::board::tests::shapes::{at, claim, micros};
use crate::claim::Claim;
use crate::id::{Key, Offset, RunIndex};
use crate::marks::Marks;
use crate::subscription::{Collecting, JoinMode, JoinRule, Subscription, Window};

#[derive(Clone, Debug)]
struct Arrival {
    side: u16,
    key: u8,
    /// Microseconds since the arrival before.
    after: u64,
    event: u64,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0_u16..2, 0_u8..3, 1_u64..4, 0_u64..40);
    let arrival = arrival.prop_map(|(side, key, after, event)| Arrival { side, key, after, event });
    prop::collection::vec(arrival, 1..40)
}

fn rules() -> impl Strategy<Value = JoinRule> {
    let mode = prop_oneof![Just(JoinMode::Once), Just(JoinMode::Outer)];
    let by_event_time = (mode.clone(), 1_u64..8, 0_u64..4).prop_map(|(mode, window, lateness)| JoinRule {
        mode,
        window: Some(Window::Time(micros(window))),
        event_time: true,
        lateness: micros(lateness),
        patience: Some(micros(1_000)),
    });
    let by_count = (1_u64..6).prop_map(|limit| JoinRule {
        mode: JoinMode::Once,
        window: Some(Window::Count(limit)),
        ..JoinRule::default()
    });
    prop_oneof![by_event_time, by_count]
}

/// The offered entries, as a store keeps them.
struct Log {
    subscription: Subscription,
    offered: Vec<(Entry, Key, Marks)>,
    marks: Marks,
}

impl Log {
    fn new(rule: JoinRule) -> Self {
        let subscription = crate::board::tests::shapes::shape(&[1, 1], Collecting::Join(rule));
        Self { subscription, offered: Vec::new(), marks: Marks::default() }
    }

    fn offer(&mut self, arrival: &Arrival, now: i64) -> (Entry, Key) {
        let run = RunIndex(0);
        let by_event_time = self.subscription.runs_by_event_time();
        let event = at(i64::try_from(arrival.event).expect("small"));
        let time = if by_event_time { event } else { at(now) };
        let offset = Offset::new(self.offered.len() as u64 + 1);
        let entry = Entry {
            offset,
            run,
            at: at(now),
            time,
            since: at(now),
            side: arrival.side,
            weight: 1,
            lane: None,
        };
        let key = Key::from(arrival.key.to_string());
        self.offered.push((entry.clone(), key.clone(), self.marks.clone()));
        let event_time = by_event_time.then_some(event);
        self.marks.note(&Claim { event_time, ..claim(0, arrival.side) });
        (entry, key)
    }

    /// Rebuilds a collector from what `used` does not name.
    fn rebuild(&self, used: &[Offset]) -> (Collector, Vec<Step>) {
        let (mut collector, mut steps) = (Collector::new(&self.subscription), Vec::new());
        for (entry, key, marks) in self.offered.iter().filter(|(entry, ..)| !used.contains(&entry.offset)) {
            collector.advance_marks(marks, &mut steps);
            collector.offer(entry.clone(), Some(key.clone()), &mut steps);
        }
        collector.advance_marks(&self.marks, &mut steps);
        (collector, steps)
    }
}

fn used_by(steps: &[Step]) -> Vec<Offset> {
    let of = |step: &Step| match step {
        Step::Complete(group) => group.entries.iter().map(|entry| entry.offset).collect(),
        Step::Left(entry, ..) => vec![entry.offset],
        Step::Batched { .. } => Vec::new(),
    };
    steps.iter().flat_map(of).collect()
}

fn check(rule: JoinRule, arrivals: &[Arrival], restarts: &[bool]) -> Result<(), TestCaseError> {
    let mut log = Log::new(rule);
    let mut steady = Collector::new(&log.subscription);
    let mut restarted = Collector::new(&log.subscription);
    let (mut now, mut used) = (100, Vec::new());
    for (arrival, restart) in arrivals.iter().zip(restarts.iter().cycle()) {
        now += i64::try_from(arrival.after).expect("small");
        let (entry, key) = log.offer(arrival, now);
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        steady.offer(entry.clone(), Some(key.clone()), &mut wanted);
        restarted.offer(entry, Some(key), &mut found);
        prop_assert_eq!(&found, &wanted);
        used.extend(used_by(&found));
        if *restart {
            let (rebuilt, steps) = log.rebuild(&used);
            prop_assert_eq!(steps, Vec::new(), "what had been decided is not decided otherwise");
            restarted = rebuilt;
        }
        prop_assert_eq!(restarted.next_deadline(), steady.next_deadline());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_rebuilt_collector_goes_on_as_one_that_never_ended(
        rule in rules(),
        arrivals in arrivals(),
        restarts in prop::collection::vec(any::<bool>(), 1..6),
    ) {
        check(rule, &arrivals, &restarts)?;
    }
}

#[test]
fn without_its_marks_an_input_would_wait_for_what_has_passed() {
    let rule = JoinRule {
        window: Some(Window::Time(micros(5))),
        event_time: true,
        patience: Some(micros(1_000)),
        ..JoinRule::default()
    };
    let mut log = Log::new(rule);
    // A pair far ahead is used up; its event times are what ends the waiting of the late one after the
    // restart.
    let arrival = |side, key, event| Arrival { side, key, after: 1, event };
    for (number, arrival) in [arrival(0, 1, 30), arrival(1, 1, 30)].iter().enumerate() {
        log.offer(arrival, 100 + i64::try_from(number).expect("small"));
    }
    let (mut rebuilt, _) = log.rebuild(&[Offset::new(1), Offset::new(2)]);
    let (late, key) = log.offer(&arrival(0, 2, 3), 103);
    let mut steps = Vec::new();
    rebuilt.offer(late.clone(), Some(key), &mut steps);
    let left = |step: &Step| matches!(step, Step::Left(entry, crate::outcome::Expiry::Watermark, _) if *entry == late);
    assert!(matches!(&steps[..], [only] if left(only)), "{steps:?}");
}
