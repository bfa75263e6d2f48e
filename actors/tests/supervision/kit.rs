//! The world of one test: children that do as they are told and write down what happens to them.
//!
//! Nothing here waits by polling; `Watch::until` resolves on the event that makes its condition true.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use volery_actors::Fault;
use volery_actors::supervision::{
    Address, Backoff, ChildId, ChildSpec, Exit, Intensity, Life, LifeEvent, Observer, Reply, SupervisorSpec,
};

/// Long enough that only a mistake reaches it; time is paused, so waiting costs nothing.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The behaviour of a child in one of its callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Deed {
    #[default]
    Succeed,
    Fail,
    Panic,
    Hang,
    Take(Duration),
}

impl Deed {
    async fn perform(self) -> Result<(), Fault> {
        match self {
            Self::Succeed => Ok(()),
            Self::Fail => Err("told to fail".into()),
            Self::Panic => panic!("told to panic"),
            Self::Hang => pending().await,
            Self::Take(time) => {
                sleep(time).await;
                Ok(())
            }
        }
    }
}

/// The messages of a child.
pub(crate) enum Message {
    Note(u32),
    Do(Deed),
    Finish,
    WhichLife(Reply<u64>),
    /// Held until the reply is dropped with the message.
    Ignore(#[expect(dead_code, reason = "dropped, not read")] Reply<u64>),
}

/// How a child behaves outside of `handle`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// One per life in order; lives beyond succeed.
    pub(crate) makes: Vec<Deed>,
    /// One per life in order; lives beyond succeed.
    pub(crate) starts: Vec<Deed>,
    /// Every life.
    pub(crate) cleanup: Deed,
    /// Every life.
    pub(crate) panics_in_drop: bool,
}

/// The journal all children of a test write to, in the order things happen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn write(&self, line: String) {
        self.0.lock().expect("no panic while writing").push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic while writing").clone()
    }

    /// The lines that end in `what`, without it.
    pub(crate) fn whose(&self, what: &str) -> Vec<String> {
        self.lines()
            .iter()
            .filter_map(|line| line.strip_suffix(what))
            .map(|who| who.trim().to_owned())
            .collect()
    }

    /// The numbers a child handled, in order.
    pub(crate) fn handled(&self, who: &str) -> Vec<String> {
        let lines = self.lines();
        let handled = lines.iter().filter_map(|line| line.strip_prefix(who)?.strip_prefix(" handled "));
        handled.map(str::to_owned).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().expect("no panic while writing").clear();
    }
}

pub(crate) struct Probe {
    name: String,
    number: u64,
    manner: Manner,
    journal: Journal,
    own_address: Address<Message>,
}

impl Life for Probe {
    type Message = Message;

    async fn started(&mut self) -> Result<(), Fault> {
        let deed = self.manner.starts.get(self.number as usize - 1).copied().unwrap_or_default();
        deed.perform().await?;
        self.journal.write(format!("{} started", self.name));
        Ok(())
    }

    async fn handle(&mut self, message: Message) -> Result<(), Fault> {
        match message {
            Message::Note(number) => self.journal.write(format!("{} handled {number}", self.name)),
            Message::Do(deed) => deed.perform().await?,
            Message::Finish => self.own_address.finish(),
            Message::WhichLife(reply) => reply.send(self.number),
            Message::Ignore(_) => {}
        }
        Ok(())
    }

    async fn ended(&mut self) {
        let cleaned = self.manner.cleanup.perform().await;
        assert!(cleaned.is_ok(), "a clean-up has no error to return");
        self.journal.write(format!("{} ended", self.name));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.journal.write(format!("{} dropped", self.name));
        if self.manner.panics_in_drop && !std::thread::panicking() {
            panic!("told to panic in drop");
        }
    }
}

/// A child that writes to `journal`, restarts without back-off and has a second to stop.
pub(crate) fn child(id: &str, journal: &Journal) -> (ChildSpec, Address<Message>) {
    child_with(id, journal, Manner::default())
}

pub(crate) fn child_with(id: &str, journal: &Journal, manner: Manner) -> (ChildSpec, Address<Message>) {
    let lives = Arc::new(Mutex::new(0));
    let (journal, name) = (journal.clone(), id.to_owned());
    let (spec, address) = ChildSpec::actor(id, move |own_address| {
        let number = {
            let mut lives = lives.lock().expect("no panic while counting");
            *lives += 1;
            *lives
        };
        let (journal, name, manner) = (journal.clone(), name.clone(), manner.clone());
        async move {
            manner.makes.get(number as usize - 1).copied().unwrap_or_default().perform().await?;
            Ok(Probe { name, number, manner, journal, own_address })
        }
    });
    let spec = spec.backoff(Backoff::none()).shutdown(volery_actors::supervision::Shutdown::After(ms(1000)));
    (spec, address)
}

/// A supervisor spec whose intensity no test reaches by accident.
pub(crate) fn tolerant(id: &str) -> SupervisorSpec {
    SupervisorSpec::new(id).intensity(Intensity { restarts: 1000, within: ms(1) })
}

/// An observer that keeps every event with its time and lets a test wait for one.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    seen: watch::Sender<Vec<(Duration, LifeEvent)>>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), seen: watch::channel(Vec::new()).0 })
    }

    pub(crate) fn events(&self) -> Vec<LifeEvent> {
        self.seen.borrow().iter().map(|(_, event)| event.clone()).collect()
    }

    pub(crate) fn timed(&self) -> Vec<(Duration, LifeEvent)> {
        self.seen.borrow().clone()
    }

    /// Waits for the first event for which `find` has an answer, past ones included.
    pub(crate) async fn until<T>(&self, find: impl Fn(&LifeEvent) -> Option<T>) -> T {
        let mut seen = self.seen.subscribe();
        let found = seen.wait_for(|events| events.iter().any(|(_, event)| find(event).is_some()));
        let events = tokio::time::timeout(LONG, found).await.expect("event in time").expect("sender lives");
        events.iter().find_map(|(_, event)| find(event)).expect("just found")
    }

    /// Waits for the start of a given life.
    pub(crate) async fn until_started(&self, id: &str, number: u64) {
        self.until(|event| match event {
            LifeEvent::Started { child, life } if child.as_str() == id && *life == number => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits for the first end of a child and says how it was.
    pub(crate) async fn until_ended(&self, id: &str) -> Exit {
        self.until(|event| match event {
            LifeEvent::Ended { child, exit, .. } if child.as_str() == id => Some(exit.clone()),
            _ => None,
        })
        .await
    }

    /// The waits announced before restarts, in order.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                LifeEvent::Restarting { after, .. } => Some(after),
                _ => None,
            })
            .collect()
    }
}

impl Observer for Watch {
    fn observe(&self, event: &LifeEvent) {
        let at = self.began.elapsed();
        self.seen.send_modify(|seen| seen.push((at, event.clone())));
    }
}

/// Panics are part of these tests; their messages only hide the interesting ones.
pub(crate) fn hush() {
    use std::sync::Once;
    static HUSH: Once = Once::new();
    HUSH.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if !text.starts_with("told to panic") {
                default(info);
            }
        }));
    });
}

/// Ids by the addresses to reach them.
pub(crate) type Addresses = HashMap<ChildId, Address<Message>>;

/// A root with plain children of the given names, in order.
pub(crate) fn family(names: &[&str], journal: &Journal) -> (SupervisorSpec, Addresses) {
    let mut addresses = Addresses::new();
    let mut spec = tolerant("root");
    for name in names {
        let (child, address) = child(name, journal);
        addresses.insert(ChildId::from(*name), address);
        spec = spec.child(child);
    }
    (spec, addresses)
}

/// Deeds in the order of lives.
pub(crate) fn deeds(list: &[Deed]) -> Vec<Deed> {
    list.to_vec()
}
