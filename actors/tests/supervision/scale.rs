//! Many children, and how long things take. The figures are printed, not judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use volery_actors::Fault;
use volery_actors::supervision::{
    Backoff, ChildSpec, Intensity, Life, NoObserver, Reply, Supervisor, SupervisorSpec,
};

use crate::kit::{Journal, LONG, Message, child, hush};

const MANY: usize = 10_000;

#[expect(clippy::print_stdout, reason = "figures for people to read")]
fn tell(what: &str, figure: impl std::fmt::Debug) {
    println!("{what}: {figure:?}");
}

#[tokio::test]
async fn ten_thousand_children_start_in_order_and_stop_in_reverse() {
    let journal = Journal::default();
    let names: Vec<String> = (0..MANY).map(|number| format!("c{number}")).collect();
    let spec =
        names.iter().fold(SupervisorSpec::new("root"), |spec, name| spec.child(child(name, &journal).0));
    let began = Instant::now();
    let root = Supervisor::start(spec, Arc::new(NoObserver)).await.expect("starts");
    tell("10,000 children started in", began.elapsed());
    assert_eq!(journal.whose(" started"), names);
    journal.clear();
    let began = Instant::now();
    let report = root.stop().await;
    tell("10,000 children stopped in", began.elapsed());
    assert_eq!(report.children.len(), MANY);
    let reversed: Vec<String> = names.into_iter().rev().collect();
    assert_eq!(journal.whose(" dropped"), reversed);
}

struct Fragile;

enum Knock {
    Break,
    Answer(Reply<()>),
}

impl Life for Fragile {
    type Message = Knock;

    async fn handle(&mut self, knock: Knock) -> Result<(), Fault> {
        match knock {
            Knock::Break => Err("told to fail".into()),
            Knock::Answer(reply) => {
                reply.send(());
                Ok(())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_to_next_message_handled() {
    hush();
    let (spec, address) = ChildSpec::actor("a", |_| async { Ok(Fragile) });
    let limit = Intensity { restarts: u32::MAX, within: Duration::from_nanos(1) };
    let root = SupervisorSpec::new("root").intensity(limit).child(spec.backoff(Backoff::none()));
    let root = Supervisor::start(root, Arc::new(NoObserver)).await.expect("starts");
    let mut times = Vec::new();
    for _ in 0..1000 {
        let began = Instant::now();
        address.send(Knock::Break).expect("room");
        address.ask(Knock::Answer, LONG).await.expect("the next life answers");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    tell("crash to next message handled, p50", times[500]);
    tell("crash to next message handled, p99", times[990]);
    root.stop().await;
}

#[tokio::test]
async fn sending_and_handling() {
    const MESSAGES: u32 = 200_000;
    let journal = Journal::default();
    let (spec, address) = child("a", &journal);
    let root = Supervisor::start(SupervisorSpec::new("root").child(spec), Arc::new(NoObserver));
    let root = root.await.expect("starts");
    let began = Instant::now();
    for _ in 0..MESSAGES {
        address.send(Message::Do(crate::kit::Deed::Succeed)).expect("open");
    }
    tell("one send", began.elapsed() / MESSAGES);
    assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(1));
    tell("one send and handle", began.elapsed() / MESSAGES);
    let began = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(address.ask(Message::WhichLife, LONG).await, Ok(1));
    }
    tell("one ask", began.elapsed() / 10_000);
    root.stop().await;
}
