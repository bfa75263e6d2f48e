//! Random trees under random crash schedules, with real actors.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use volery_actors::supervision::{
    Address, Backoff, ChildId, ChildSpec, Intensity, LifeEvent, Strategy, Supervisor, SupervisorExit,
    SupervisorSpec,
};

use crate::kit::{Deed, Journal, Message, Watch, child, hush, ms};

#[derive(Debug, Clone)]
enum Node {
    Leaf,
    Branch(Strategy, u32, Vec<Node>),
}

/// The window of every supervisor in these trees.
const WITHIN: Duration = ms_const(50);

const fn ms_const(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A tree as the checks need it: names are paths, `0.2.1` sits under `0.2`.
#[derive(Default)]
struct Grown {
    addresses: Vec<Address<Message>>,
    leaves: Vec<String>,
    supervisors: BTreeMap<String, (Strategy, u32)>,
}

fn grow(node: &Node, path: &str, journal: &Journal, grown: &mut Grown) -> ChildSpec {
    match node {
        Node::Leaf => {
            let (spec, address) = child(path, journal);
            grown.addresses.push(address);
            grown.leaves.push(path.to_owned());
            spec
        }
        Node::Branch(..) => {
            let spec = grow_supervisor(node, path, journal, grown);
            ChildSpec::supervisor(spec).backoff(Backoff::none())
        }
    }
}

fn grow_supervisor(node: &Node, path: &str, journal: &Journal, grown: &mut Grown) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new(path);
    if let Node::Branch(strategy, restarts, children) = node {
        grown.supervisors.insert(path.to_owned(), (*strategy, *restarts));
        spec = spec.strategy(*strategy).intensity(Intensity { restarts: *restarts, within: WITHIN });
        for (number, below) in children.iter().enumerate() {
            spec = spec.child(grow(below, &format!("{path}.{number}"), journal, grown));
        }
    }
    spec
}

fn above(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(above, _)| above)
}

/// Replays the journal: one life per leaf at a time, and under a grouping strategy no leaf starts while a
/// later sibling lives.
fn check_journal(lines: &[String], grown: &Grown) {
    let mut alive: BTreeMap<&str, bool> = BTreeMap::new();
    for line in lines {
        let Some((leaf, what)) = line.split_once(' ') else { continue };
        match what {
            "started" => {
                assert!(!alive.insert(leaf, true).unwrap_or(false), "{leaf} has two lives: {lines:?}");
                if grown.supervisors[above(leaf)].0 != Strategy::OneForOne {
                    let siblings = grown.leaves.iter().filter(|other| above(other) == above(leaf));
                    for later in siblings.skip_while(|other| *other != leaf).skip(1) {
                        let lives = alive.get(later.as_str()).copied().unwrap_or(false);
                        assert!(!lives, "{leaf} started while {later} lived: {lines:?}");
                    }
                }
            }
            "dropped" => assert_eq!(alive.insert(leaf, false), Some(true), "{leaf} dropped twice"),
            _ => {}
        }
    }
    assert!(alive.values().all(|lives| !lives), "left behind: {alive:?}");
}

/// A supervisor gives up exactly when one restart too many falls into its window.
fn check_intensity(events: &[(Duration, LifeEvent)], grown: &Grown) {
    let mut counted: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for (at, event) in events {
        match event {
            LifeEvent::Restarting { child, .. } => {
                let supervisor = above(child.as_str());
                let times = counted.entry(supervisor).or_default();
                times.push(*at);
                let recent = times.iter().filter(|time| *at - **time <= WITHIN).count();
                assert!(
                    recent <= grown.supervisors[supervisor].1 as usize,
                    "{supervisor} restarted too often"
                );
            }
            LifeEvent::GaveUp { supervisor, .. } => {
                let times = counted.remove(supervisor.as_str()).unwrap_or_default();
                let recent = times.iter().filter(|time| *at - **time <= WITHIN).count() + 1;
                let limit = grown.supervisors[supervisor.as_str()].1 as usize;
                assert!(recent > limit, "{supervisor} gave up too early");
            }
            LifeEvent::Ended { child, .. } => {
                // A new life of a supervisor begins with an empty window.
                counted.remove(child.as_str());
            }
            _ => {}
        }
    }
}

async fn run(tree: Node, schedule: Vec<(usize, bool, u64)>) {
    let (journal, watch) = (Journal::default(), Watch::new());
    let mut grown = Grown::default();
    let spec = grow_supervisor(&tree, "0", &journal, &mut grown);
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    assert_eq!(journal.whose(" started"), grown.leaves, "the first start is in order");
    for (which, panics, gap) in schedule {
        if !grown.addresses.is_empty() {
            let deed = if panics { Deed::Panic } else { Deed::Fail };
            // Refused once the tree has given up.
            drop(grown.addresses[which % grown.addresses.len()].send(Message::Do(deed)));
        }
        tokio::time::sleep(ms(gap)).await;
    }
    // Everything under way comes to its end.
    tokio::time::sleep(ms(10_000)).await;
    let before = journal.lines().len();
    let why = match root.stop().await {
        report if report.children.is_empty() && !grown.leaves.is_empty() => panic!("no rows: {report:?}"),
        _ => root.ended().await,
    };
    if why == SupervisorExit::Stopped {
        let dropped: Vec<String> = journal.lines()[before..]
            .iter()
            .filter_map(|line| line.strip_suffix(" dropped"))
            .map(str::to_owned)
            .collect();
        assert_eq!(dropped, grown.leaves.iter().rev().cloned().collect::<Vec<_>>(), "the stop is in reverse");
    } else {
        assert!(matches!(why, SupervisorExit::GaveUp { .. }), "{why:?}");
        assert!(grown.addresses.iter().all(Address::is_ended));
    }
    check_journal(&journal.lines(), &grown);
    check_intensity(&watch.timed(), &grown);
    assert_eq!(root.id(), &ChildId::from("0"));
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne), Just(Strategy::OneForAll)]
}

fn trees() -> impl proptest::strategy::Strategy<Value = Node> {
    let leaf = Just(Node::Leaf);
    let branch = leaf.prop_recursive(2, 12, 4, |below| {
        (strategies(), 0u32..5, proptest::collection::vec(below, 1..4))
            .prop_map(|(strategy, restarts, children)| Node::Branch(strategy, restarts, children))
    });
    (strategies(), 1u32..8, proptest::collection::vec(branch, 1..4))
        .prop_map(|(strategy, restarts, children)| Node::Branch(strategy, restarts, children))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn random_crashes_in_random_trees_keep_order_and_intensity(
        tree in trees(),
        schedule in proptest::collection::vec((0usize..64, any::<bool>(), 0u64..40), 0..25),
    ) {
        hush();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("builds").block_on(run(tree, schedule));
    }
}
