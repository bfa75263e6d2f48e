//! Power failures: a service is recorded system call by system call, and its files are put together as a disk
//! would have left them at a random moment. Every artifact that it had acknowledged by then is there with
//! `Durability::Full`.
//!
//! It needs `strace`. Where that is missing the tests say so and check nothing, except in continuous
//! integration, where they fail.

use std::path::{Path, PathBuf};

use volery::Sqlite;
use volery::sqlite::Durability;

use crate::audit::Audit;
use crate::chance::{Chance, in_ci, times};
use crate::child::{self, Child, say};
use crate::disk::{Disk, Unsynced};
use crate::kills::folder;
use crate::service::{self, Ack, Progress};
use crate::trace::{self, Step};

/// Lives in a recording. All but the first begin with a file that has something in it; each ends with a
/// checkpoint.
const LIVES: u64 = 2;

/// Steps of each publisher in each life.
const STEPS: u64 = 12;

/// Steps that are the beginning: until the file has its tables.
const BEGINNING: u64 = 100;

/// A life that begins when every deadline of the recording has passed.
const LAST_LIFE: u64 = 20;

#[derive(serde::Serialize, serde::Deserialize)]
struct Role {
    path: PathBuf,
    waits_for_disk: bool,
}

async fn live(role: Role) -> volery::Result<()> {
    let durability = if role.waits_for_disk { Durability::Full } else { Durability::OsCrashMayLoseLastMs };
    for life in 0..LIVES {
        let from = Progress { orders: life * STEPS, sides: life * STEPS };
        let volery = service::start(&role.path, durability, life).await?;
        service::publish(&volery, from, life, STEPS).await?;
        // Twice: what is still open is not to be waited for.
        volery.interrupt();
        volery.interrupt();
        volery.stopped().await?;
        drop(volery);
    }
    say("recorded");
    Ok(())
}

/// Tells whether calls can be recorded here.
pub(crate) fn has_strace(test: &str) -> bool {
    let found = std::process::Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !found {
        assert!(!in_ci(), "strace is not there, and continuous integration needs it");
        eprintln!("{test}: strace is not there, so nothing is checked");
    }
    found
}

/// Records a service; `None` where it cannot be.
fn record(test: &str, folder: &Path, waits_for_disk: bool) -> Option<Vec<Step>> {
    if !has_strace(test) {
        return None;
    }
    let files = folder.join("recorded");
    std::fs::create_dir_all(&files).expect("a folder can be made");
    let trace = folder.join("trace");
    let role = Role { path: files.join("shop.db"), waits_for_disk };
    let command = trace::command(&trace);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut child = Child::start_under(&command, test, &serde_json::to_string(&role).expect("it is data"));
    let mut said = String::new();
    while let Some(word) = child.next_word() {
        said = word;
    }
    assert_eq!(said, "recorded", "the service came to its end");
    assert!(child.ended().success(), "strace works here");
    let steps = trace::read(&trace, &files);
    std::fs::remove_file(&trace).expect("it is there");
    Some(steps)
}

/// Cuts the power at random moments. Returns how many acknowledged artifacts were lost in all.
fn cut(test: &str, waits_for_disk: bool) -> Option<usize> {
    let folder = folder(if waits_for_disk { "power-full" } else { "power-normal" });
    let steps = record(test, &folder, waits_for_disk)?;
    let acks = steps.iter().filter(|step| matches!(step, Step::Acknowledged(_))).count();
    let syncs = steps.iter().filter(|step| matches!(step, Step::Synced(_))).count();
    eprintln!("{test}: {} steps, {acks} acknowledged, {syncs} syncs", steps.len());
    assert!(acks as u64 > LIVES * STEPS * 4, "everything was recorded");
    let mut chance = Chance::printed(test);
    let mut lost = 0;
    for number in 0..times("VOLERY_CUTS", 30, 30) {
        // Some of them fall into the beginning, where the file comes into being.
        let range = if number % 5 == 0 { BEGINNING } else { steps.len() as u64 };
        let end = usize::try_from(chance.below(range)).expect("it is an index") + 1;
        let unsynced = if number % 2 == 0 { Unsynced::Lost } else { Unsynced::HalfLost };
        let image = folder.join(format!("cut-{number}"));
        std::fs::create_dir_all(&image).expect("a folder can be made");
        let mut disk = Disk::default();
        steps[..end].iter().for_each(|step| disk.apply(step));
        disk.write(&image, unsynced, &mut chance);
        eprintln!("{test}: cut {number} after step {end}, unsynced: {unsynced:?}");
        let acks: Vec<Ack> = steps[..end].iter().filter_map(acknowledged).collect();
        lost += check(&image.join("shop.db"), &acks);
        std::fs::remove_dir_all(&image).expect("it is there");
    }
    Some(lost)
}

pub(crate) fn acknowledged(step: &Step) -> Option<Ack> {
    match step {
        Step::Acknowledged(ack) => Some(ack.clone()),
        _ => None,
    }
}

/// Opens what the disk left, and has a service go on with it. Returns how many acknowledged artifacts are
/// lost.
fn check(path: &Path, acks: &[Ack]) -> usize {
    let mut progress = Progress::default();
    acks.iter().for_each(|ack| progress.learn(ack));
    child::run(async {
        let store = Sqlite::open(path).expect("it opens without help");
        let audit = Audit::of(&store).await?;
        audit.is_consistent();
        let lost = audit.lost(acks).len();
        drop(store);
        let whole: String = rusqlite::Connection::open(path)
            .and_then(|file| file.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
            .expect("it can be checked");
        assert_eq!(whole, "ok");
        let volery = service::start(path, Durability::OsCrashMayLoseLastMs, LAST_LIFE).await?;
        service::complete(&volery, progress).await?;
        volery.until_idle().await?;
        volery.shutdown().await?;
        let audit = Audit::of(&Sqlite::open(path)?).await?;
        audit.is_consistent();
        audit.is_complete();
        Ok(lost)
    })
}

/// Runs a test, or the child that it records.
fn run(test: &str, waits_for_disk: bool) -> Option<usize> {
    if let Some(role) = child::role() {
        child::run(live(serde_json::from_str(&role).expect("the parent wrote it")));
        return None;
    }
    cut(test, waits_for_disk)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let lost = run("power::nothing_acknowledged_is_lost_when_the_power_fails", true);
    assert!(lost.is_none_or(|lost| lost == 0), "{lost:?} acknowledged artifacts are lost");
}

/// This one shows that the one above can fail, and that the file stays in order all the same.
#[test]
fn what_does_not_wait_for_the_disk_is_lost_when_the_power_fails() {
    let lost = run("power::what_does_not_wait_for_the_disk_is_lost_when_the_power_fails", false);
    assert!(lost.is_none_or(|lost| lost > 0), "nothing is lost although nothing waited for the disk");
}
