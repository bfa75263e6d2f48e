//! One life at a time, addresses that outlive it, and trees that escalate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use volery_actors::Fault;
use volery_actors::supervision::{
    Address, AskError, Backoff, ChildSpec, Exit, Intensity, Life, LifeEvent, NoObserver, Observer,
    SendRefusal, Supervisor, SupervisorExit, SupervisorSpec,
};

use crate::kit::{Deed, Journal, LONG, Manner, Message, Watch, child, child_with, hush, ms, tolerant};

/// Holds something only one life may hold, until its value is dropped.
struct Exclusive(Arc<AtomicBool>);

impl Exclusive {
    fn take(lock: &Arc<AtomicBool>) -> Result<Self, Fault> {
        if lock.swap(true, Ordering::SeqCst) {
            return Err("the life before still holds it".into());
        }
        Ok(Self(Arc::clone(lock)))
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // A slow release: a successor that did not wait would meet it.
        (0..200).for_each(|_| std::thread::yield_now());
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Life for Exclusive {
    type Message = Message;

    async fn handle(&mut self, message: Message) -> Result<(), Fault> {
        match message {
            Message::Do(Deed::Panic) => panic!("told to panic"),
            Message::WhichLife(reply) => {
                reply.send(0);
                std::future::pending().await
            }
            _ => Err("told to fail".into()),
        }
    }
}

/// On real threads, where a race could show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_begins_only_after_the_drop_of_the_one_before() {
    hush();
    let lock = Arc::new(AtomicBool::new(false));
    let (spec, address) = ChildSpec::actor("a", move |_| {
        let taken = Exclusive::take(&lock);
        async { taken }
    });
    let once = Intensity { restarts: 60, within: LONG };
    let spec = SupervisorSpec::new("root").intensity(once).child(spec.backoff(Backoff::none()));
    let watch = Watch::new();
    let root = Supervisor::start(spec, watch.clone()).await.expect("starts");
    for round in 0..60 {
        match round % 3 {
            0 => address.send(Message::Do(Deed::Panic)).expect("room"),
            1 => address.send(Message::Do(Deed::Fail)).expect("room"),
            _ => {
                address.ask(Message::WhichLife, LONG).await.expect("answers, then hangs");
                root.kill_child("a");
            }
        }
        watch.until_started("a", round + 2).await;
    }
    root.stop().await;
    let failed_start =
        watch.events().into_iter().find(|event| matches!(event, LifeEvent::StartFailed { .. }));
    assert_eq!(failed_start, None);
}

#[tokio::test(start_paused = true)]
async fn messages_sent_before_during_and_after_a_crash_arrive_in_order() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (spec, address) = child("a", &journal);
    let slow = Backoff { first: ms(100), cap: ms(100), ..Backoff::none() };
    address.send(Message::Note(0)).expect("waits for the first life");
    let root = Supervisor::start(tolerant("root").child(spec.backoff(slow)), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Note(1)).expect("open");
    address.send(Message::Do(Deed::Panic)).expect("open");
    address.send(Message::Note(2)).expect("open");
    watch.until_ended("a").await;
    address.send(Message::Note(3)).expect("room");
    watch.until_started("a", 2).await;
    address.send(Message::Note(4)).expect("open");
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    assert_eq!(journal.handled("a"), ["0", "1", "2", "3", "4"]);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_only_the_message_at_hand() {
    let journal = Journal::default();
    let (spec, address) = child("a", &journal);
    let root = Supervisor::start(tolerant("root").child(spec), Watch::new()).await.expect("starts");
    address.send(Message::Do(Deed::Hang)).expect("open");
    address.send(Message::Note(1)).expect("open");
    tokio::time::sleep(ms(1)).await;
    root.kill_child("a");
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    assert!(journal.lines().contains(&"a handled 1".to_owned()));
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_between_lives_is_bounded_and_hands_messages_back() {
    let watch = Watch::new();
    let (spec, address) = child("a", &Journal::default());
    let slow = Backoff { first: ms(100), cap: ms(100), ..Backoff::none() };
    let root = Supervisor::start(tolerant("root").child(spec.backoff(slow).mailbox(2)), watch.clone());
    let root = root.await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    watch.until_ended("a").await;
    address.send(Message::Note(1)).expect("room");
    address.send(Message::Note(2)).expect("room");
    let refused = address.send(Message::Note(3)).expect_err("full");
    assert_eq!(refused.reason, SendRefusal::Full);
    assert!(matches!(refused.message, Message::Note(3)));
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Err(AskError::Full));
    watch.until_started("a", 2).await;
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    root.stop().await;
    assert_eq!(address.send(Message::Note(4)).expect_err("ended").reason, SendRefusal::Ended);
}

#[tokio::test(start_paused = true)]
async fn ask_tells_a_dropped_reply_from_a_late_one() {
    let (spec, address) = child("a", &Journal::default());
    let root = Supervisor::start(tolerant("root").child(spec), Watch::new()).await.expect("starts");
    assert_eq!(address.ask(Message::Ignore, LONG).await, Err(AskError::Dropped));
    address.send(Message::Do(Deed::Take(ms(200)))).expect("open");
    assert_eq!(address.ask(Message::WhichLife, ms(100)).await, Err(AskError::TimedOut));
    assert_eq!(address.ask(Message::WhichLife, ms(150)).await, Ok(1));
    root.stop().await;
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Err(AskError::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_is_dropped_ends_its_address() {
    let (spec, address) = child("a", &Journal::default());
    address.send(Message::Note(1)).expect("room");
    drop(spec);
    assert!(address.is_ended());
}

#[tokio::test(start_paused = true)]
async fn a_child_supervisor_that_gives_up_is_restarted_with_its_whole_subtree() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (a, address) = child("a", &journal);
    let (b, _) = child("b", &journal);
    let strict = Intensity { restarts: 0, within: ms(1000) };
    let inner = ChildSpec::supervisor(SupervisorSpec::new("inner").intensity(strict).child(a).child(b));
    let slow = Backoff { first: ms(100), cap: ms(100), ..Backoff::none() };
    let root = Supervisor::start(tolerant("root").child(inner.backoff(slow)), watch.clone());
    let root = root.await.expect("starts");
    let before = root.subtree("inner").await.expect("is a supervisor");
    address.send(Message::Do(Deed::Fail)).expect("open");
    address.send(Message::Note(1)).expect("open");
    watch.until_ended("inner").await;
    address.send(Message::Note(2)).expect("waits for the next life of the subtree");
    watch.until_started("inner", 2).await;
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    assert!(matches!(before.ended().await, SupervisorExit::GaveUp { .. }));
    assert_eq!(journal.whose(" started"), ["a", "b", "a", "b"]);
    assert_eq!(journal.whose(" dropped"), ["a", "b"]);
    assert_eq!(journal.handled("a"), ["1", "2"]);
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_child_supervisor_takes_its_lives_with_it() {
    let (journal, watch) = (Journal::default(), Watch::new());
    let (a, address) = child_with("a", &journal, Manner { cleanup: Deed::Hang, ..Manner::default() });
    let inner = ChildSpec::supervisor(tolerant("inner").child(a)).backoff(Backoff::none());
    let root = Supervisor::start(tolerant("root").child(inner), watch.clone()).await.expect("starts");
    root.kill_child("inner");
    assert_eq!(watch.until_ended("inner").await, Exit::Killed);
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    assert_eq!(journal.lines(), ["a started", "a dropped", "a started"]);
    drop(root);
}

#[tokio::test(start_paused = true)]
async fn a_child_supervisor_that_hangs_in_its_start_is_stopped_within_its_childrens_limits() {
    let journal = Journal::default();
    let hanging = Manner { starts: vec![Deed::Hang], ..Manner::default() };
    let inner = ChildSpec::supervisor(tolerant("inner").child(child_with("a", &journal, hanging).0));
    let (spec, _) = child("b", &journal);
    let root = Supervisor::start(tolerant("root").child(spec), Watch::new()).await.expect("starts");
    let (added, report) = tokio::join!(root.start_child(inner), async {
        tokio::time::sleep(ms(10)).await;
        root.stop().await
    });
    assert!(added.is_err());
    assert_eq!(report.duration, ms(1000));
    assert_eq!(journal.lines(), ["b started", "a dropped", "b ended", "b dropped"]);
}

struct Panicking;

impl Observer for Panicking {
    fn observe(&self, _event: &LifeEvent) {
        panic!("told to panic");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_disturbs_nobody() {
    hush();
    let (spec, address) = child("a", &Journal::default());
    let root = Supervisor::start(tolerant("root").child(spec), Arc::new(Panicking)).await.expect("starts");
    address.send(Message::Do(Deed::Fail)).expect("open");
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(2));
    root.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_trees_with_the_same_names_do_not_meet() {
    let one = |journal: &Journal| child("a", journal);
    let (left, right) = (Journal::default(), Journal::default());
    let ((left_spec, left_address), (right_spec, right_address)) = (one(&left), one(&right));
    let left_root = Supervisor::start(tolerant("root").child(left_spec), Arc::new(NoObserver));
    let right_root = Supervisor::start(tolerant("root").child(right_spec), Arc::new(NoObserver));
    let (left_root, right_root) = (left_root.await.expect("starts"), right_root.await.expect("starts"));
    left_address.send(Message::Do(Deed::Fail)).expect("open");
    assert_eq!(left_address.ask(Message::WhichLife, LONG).await, Ok(2));
    assert_eq!(right_address.ask(Message::WhichLife, LONG).await, Ok(1));
    left_root.stop().await;
    assert_eq!(right_address.ask(Message::WhichLife, LONG).await, Ok(1));
    right_root.stop().await;
}

/// A message that takes revenge for not being handled.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("told to panic in drop");
    }
}

struct Sleeper;

impl Life for Sleeper {
    type Message = Spiteful;

    async fn handle(&mut self, message: Spiteful) -> Result<(), Fault> {
        std::mem::forget(message);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_panic_when_dropped_disturb_nobody() {
    hush();
    let (spec, address) = ChildSpec::actor("a", |_| async { Ok(Sleeper) });
    let root = Supervisor::start(tolerant("root").child(spec), Watch::new()).await.expect("starts");
    address.send(Spiteful).expect("open");
    address.send(Spiteful).expect("open");
    assert_eq!(root.stop_child("a").await.map(|row| row.exit), Ok(Exit::Killed));
    root.stop().await;
    assert_eq!(root.ended().await, SupervisorExit::Stopped);
}

#[test]
fn a_tree_whose_runtime_vanishes_ends_as_aborted() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("builds");
    let (journal, first) = (Journal::default(), build());
    let (spec, address) = child("a", &journal);
    let spec = tolerant("root").child(spec);
    let root = first.block_on(Supervisor::start(spec, Arc::new(NoObserver))).expect("starts");
    drop(first);
    assert_eq!(build().block_on(root.ended()), SupervisorExit::Aborted);
    assert_eq!(journal.lines(), ["a started", "a dropped"]);
    assert!(address.is_ended());
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Address<Message>>();
    shared::<Supervisor>();
    shared::<ChildSpec>();
    fn sent<T: Send>(_: &T) {}
    let (spec, address) = child("a", &Journal::default());
    sent(&Supervisor::start(tolerant("root").child(spec), Arc::new(NoObserver)));
    sent(&address.ask(Message::WhichLife, LONG));
}
