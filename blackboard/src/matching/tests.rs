use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::body::Body;
use crate::id::Key;
use crate::id::{AgentName, ArtifactId, RunId};
use crate::kind::Kind;
use crate::shape::{Shape, by, join, one};
use crate::time::Timestamp;
use crate::visibility::Visibility;

fn number(value: u32) -> Artifact {
    let id = ArtifactId::from_uuid(Uuid::from_u128(u128::from(value)));
    let run = RunId::from_uuid(Uuid::from_u128(1));
    Artifact::new(id, Kind::of::<u32>(), Body::typed(Arc::new(value)), run, Timestamp::default())
}

fn matcher(shapes: Vec<Subscription>) -> Matcher {
    let mut matcher = Matcher::new(10);
    let viewer = Viewer { name: AgentName::from("reader"), ..Viewer::default() };
    for (index, shape) in (0..).zip(&shapes) {
        matcher.add(SubscriptionIndex(index), shape, &viewer);
    }
    matcher
}

/// Which of the subscriptions take the artifact, and which refuse it.
fn verdict(shapes: Vec<Subscription>, artifact: &Artifact) -> (Vec<u32>, Vec<Discard>) {
    let found = matcher(shapes).claims(artifact);
    let taken = found.iter().filter(|found| found.refused.is_none());
    let refused = found.iter().filter_map(|found| found.refused.as_deref().cloned());
    (taken.map(|found| found.subscription.0).collect(), refused.collect())
}

#[test]
fn kinds_and_predicates_decide() {
    let shapes = || {
        vec![
            one::<u32>().subscription(),
            one::<String>().subscription(),
            one::<u32>().filter(|n| *n > 5).subscription(),
        ]
    };
    assert_eq!(verdict(shapes(), &number(3)).0, [0]);
    assert_eq!(verdict(shapes(), &number(7)).0, [0, 2]);
}

#[test]
fn producer_and_tags_decide() {
    let shapes = vec![
        one::<u32>().from_agent("a").subscription(),
        one::<u32>().tagged("hot").tagged("cold").subscription(),
    ];
    let by_a = number(1).caused_by(Producer::Agent("a".into()), Vec::new(), 1);
    assert_eq!(verdict(shapes.clone(), &by_a).0, [0]);
    let tagged = number(1).with_tags(BTreeSet::from(["cold".to_owned()]));
    assert_eq!(verdict(shapes, &tagged).0, [1]);
}

#[test]
fn a_panicking_predicate_is_a_discard_with_its_text() {
    let shapes = vec![
        one::<u32>().filter(|_| panic!("no predicate is perfect")).subscription(),
        one::<u32>().subscription(),
    ];
    let (taken, refused) = verdict(shapes, &number(1));
    assert_eq!(taken, [1], "neighbours are not touched");
    assert_eq!(refused, [Discard::ClosurePanicked("no predicate is perfect".into())]);
}

#[test]
fn no_key_means_not_joined() {
    let shape = || {
        vec![
            join(by(|n: &u32| (*n > 5).then_some(*n)), by(|text: &String| text.len()))
                .within(Duration::from_secs(1))
                .subscription(),
        ]
    };
    assert!(matcher(shape()).claims(&number(1)).is_empty());
    let found = matcher(shape()).claims(&number(7));
    assert_eq!(found[0].key, Some(Key::from("7")));
}

#[test]
fn visibility_is_enforced_and_delays_are_passed_on() {
    let shapes = || vec![one::<u32>().subscription()];
    let private = number(1).with_visibility(Visibility::only(["somebody else"]));
    assert!(matcher(shapes()).claims(&private).is_empty());
    let later = number(1).with_visibility(Visibility::after(Duration::from_secs(5)));
    let found = matcher(shapes()).claims(&later);
    assert_eq!(found[0].visible_at, Some(Timestamp::from_millis_since_epoch(5_000)));
}

#[test]
fn the_loop_guard_discards_what_is_too_far_from_its_source() {
    let far = number(1).caused_by(Producer::Agent("a".into()), Vec::new(), 11);
    assert_eq!(verdict(vec![one::<u32>().subscription()], &far).1, [Discard::LoopGuard]);
}

#[test]
fn stored_json_that_does_not_fit_is_a_discard() {
    let id = ArtifactId::from_uuid(Uuid::from_u128(9));
    let run = RunId::from_uuid(Uuid::from_u128(1));
    let bad = Artifact::new(id, Kind::of::<u32>(), Body::json("\"x\""), run, Timestamp::default());
    let (taken, refused) = verdict(vec![one::<u32>().filter(|n| *n > 0).subscription()], &bad);
    assert!(taken.is_empty());
    assert!(matches!(refused.as_slice(), [Discard::Unreadable(_)]), "{refused:?}");
}
