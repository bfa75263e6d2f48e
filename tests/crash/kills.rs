//! SIGKILL at random moments: whatever a life acknowledged, the lives after it have, and all of it comes to
//! its end once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use volery::Sqlite;
use volery::sqlite::Durability;

use crate::audit::Audit;
use crate::chance::{Chance, times};
use crate::child::{self, Child, say};
use crate::service::{self, Ack, Progress};

const TEST: &str = "kills::nothing_acknowledged_is_lost_and_nothing_happens_twice_when_the_process_is_killed";

/// More steps than a life lives for.
const STEPS: u64 = 10_000;

/// Acknowledgements that a life lives for, at most; with two or three times as many, kills would be as
/// telling and rarer.
const ACKS_MAX: u64 = 30;

/// Microseconds within which a life has started and recovered, on a machine that does nothing else.
const STARTING_MAX_US: u64 = 60_000;

/// A folder that no other test uses, and that is empty.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("crash").join(name);
    drop(std::fs::remove_dir_all(&folder).err());
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Role {
    path: PathBuf,
    life: u64,
    progress: Progress,
    /// The life that settles everything.
    last: bool,
}

async fn live(role: Role) -> volery::Result<()> {
    let volery = service::start(&role.path, Durability::Full, role.life).await?;
    if !role.last {
        return service::publish(&volery, role.progress, role.life, STEPS).await;
    }
    service::complete(&volery, role.progress).await?;
    volery.until_idle().await?;
    volery.shutdown().await?;
    say("settled");
    Ok(())
}

/// One life that is killed: after some acknowledgements and a moment. Adds what it acknowledged.
fn kill_once(path: &Path, life: u64, progress: &mut Progress, acks: &mut Vec<Ack>, chance: &mut Chance) {
    let role = Role { path: path.to_owned(), life, progress: *progress, last: false };
    let mut child = Child::start(TEST, &serde_json::to_string(&role).expect("it is data"));
    let moment = |chance: &mut Chance, end| {
        let moment = Duration::from_micros(chance.below(end));
        #[expect(
            clippy::disallowed_methods,
            reason = "the moment is the chance itself; nothing waits for it"
        )]
        std::thread::sleep(moment);
    };
    // One in eight dies while it starts, or recovers, or has just begun.
    let mut left = if chance.below(8) == 0 {
        moment(chance, STARTING_MAX_US);
        child.kill();
        None
    } else {
        Some(chance.below(ACKS_MAX) + 1)
    };
    while let Some(word) = child.next_word() {
        let ack = Ack::read(&word).expect("it says acknowledgements only");
        progress.learn(&ack);
        acks.push(ack);
        left = match left {
            Some(1) => {
                moment(chance, 3_000);
                child.kill();
                None
            }
            other => other.map(|left| left - 1),
        };
    }
    assert!(left.is_none(), "the service ended by itself in life {life}");
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice_when_the_process_is_killed() {
    if let Some(role) = child::role() {
        return child::run(live(serde_json::from_str(&role).expect("the parent wrote it")));
    }
    let mut chance = Chance::printed(TEST);
    let kills = times("VOLERY_KILLS", 20, 200);
    let path = folder("kills").join("shop.db");
    let (mut progress, mut acks) = (Progress::default(), Vec::new());
    for life in 0..kills {
        kill_once(&path, life, &mut progress, &mut acks, &mut chance);
    }
    // Two minutes later every bundle is due.
    let life = kills + 12;
    let role = Role { path: path.clone(), life, progress, last: true };
    let mut last = Child::start(TEST, &serde_json::to_string(&role).expect("it is data"));
    let mut settled = false;
    while let Some(word) = last.next_word() {
        settled = word == "settled";
        acks.extend(Ack::read(&word));
    }
    assert!(settled && last.ended().success(), "the last life settles everything");
    child::run(async {
        let store = Sqlite::open(&path)?;
        let audit = Audit::of(&store).await?;
        audit.nothing_acknowledged_is_lost(&acks);
        audit.is_consistent();
        audit.is_complete();
        let late = audit.parcels_met_their_deadlines();
        eprintln!("{kills} kills, {} acknowledged, the last parcel {late:?} late", acks.len());
        Ok(())
    });
}
