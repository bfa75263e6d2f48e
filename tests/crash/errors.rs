//! Errors of the disk: waits for it fail, as `strace` has them do, and what was acknowledged is on disk all
//! the same.
//!
//! After such a failure Linux takes the pages that it could not write for clean: a program reads what it
//! wrote, another wait succeeds, and the power takes it. The model of the disk does the same. It needs
//! `strace`, like `power`.

use std::path::{Path, PathBuf};

use volery::Sqlite;
use volery::artifact::{Body, Kinds};
use volery::sqlite::Durability;
use volery::store::{Catalogue, Few, Log, NewArtifact, Stored, Write, Written};
use volery::{ArtifactId, Kind, RunId, Timestamp};

use crate::audit::Audit;
use crate::chance::Chance;
use crate::child::{self, Child, say};
use crate::disk::{Disk, Unsynced};
use crate::kills::folder;
use crate::power::{acknowledged, has_strace};
use crate::service::{self, Ack, Item, Order};
use crate::trace::{self, Step};

/// Publishes of a life.
const STEPS: u64 = 30;

/// Which waits for the disk fail, counted in each thread: one, several in a row, so that what is done about
/// the first fails as well, in the store's first moments, and from some moment on to the end of the process.
const FAILING: [&str; 6] = ["1..2", "3", "6..8", "12..20", "5+6", "15+"];

/// The part of a child process.
#[derive(serde::Serialize, serde::Deserialize)]
struct Role {
    path: PathBuf,
    life: u64,
}

fn item(n: u64) -> Write {
    let (id, run) = (uuid::Uuid::from_u128(1_000 + u128::from(n)), uuid::Uuid::from_u128(1));
    let (id, run) = (ArtifactId::from_uuid(id), RunId::from_uuid(run));
    let body = Body::typed(std::sync::Arc::new(Item { n }));
    let artifact = volery::Artifact::new(id, Kind::of::<Item>(), body, run, Timestamp::default());
    let publish =
        NewArtifact { artifact: artifact.into(), workflow: "test".into(), claims: std::sync::Arc::from([]) };
    Write::Publish(Few::from([publish]))
}

/// Publishes into a store that nobody reads from, and says what was acknowledged and what was refused.
async fn live(Role { path, life }: Role) -> volery::Result<()> {
    let mut kinds = Kinds::new();
    kinds.register::<Item>()?;
    let store = loop {
        let opened = match Sqlite::open(&path) {
            Ok(store) => {
                store.open(Catalogue { kinds: kinds.clone(), ..Catalogue::default() }).await.map(|()| store)
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(store) => break store,
            Err(error) => say(&format!("refused {error}")),
        }
    };
    for n in life * STEPS..(life + 1) * STEPS {
        match store.commit(vec![item(n)]).wait().await.as_deref() {
            Ok([Written::Done(stored)]) => match &stored[..] {
                [Stored::New(new)] => say(&format!("ack item {n} {} {}", new.id(), new.offset())),
                other => panic!("it is new: {other:?}"),
            },
            Ok(other) => panic!("one write was done: {other:?}"),
            Err(error) => say(&format!("refused {n}: {error}")),
        }
    }
    say("recorded");
    // Without a close, and with it without the last chance to mend something.
    std::process::abort()
}

/// Runs a life in which some waits for the disk fail, if any. Returns what happened, and how much was
/// refused.
fn record(test: &str, folder: &Path, life: u64, failing: Option<&str>) -> (Vec<Step>, usize) {
    let files = folder.join("recorded");
    std::fs::create_dir_all(&files).expect("a folder can be made");
    let trace = folder.join("trace");
    let mut command = trace::command(&trace);
    let inject = |when| ["-e".to_owned(), format!("inject=fsync,fdatasync:error=EIO:when={when}")];
    command.extend(failing.into_iter().flat_map(inject));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let role = Role { path: files.join("shop.db"), life };
    let mut child = Child::start_under(&command, test, &serde_json::to_string(&role).expect("it is data"));
    let (mut last, mut refused) = (String::new(), 0);
    while let Some(word) = child.next_word() {
        refused += usize::from(word.starts_with("refused"));
        last = word;
    }
    assert_eq!(last, "recorded", "the life came to its end");
    assert!(!child.ended().success(), "it died");
    (trace::read(&trace, &files), refused)
}

/// Opens what is left, and looks for what had been acknowledged.
fn has_all(path: &Path, acks: &[Ack], when: &str) {
    child::run(async {
        let store =
            Sqlite::open(path).unwrap_or_else(|error| panic!("{when}, it opens without help: {error}"));
        let audit = Audit::of(&store).await?;
        let lost = audit.lost(acks);
        assert!(lost.is_empty(), "{when}, {} of {} acknowledged are lost: {lost:?}", lost.len(), acks.len());
        Ok(())
    });
    let whole: String = rusqlite::Connection::open(path)
        .and_then(|file| file.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .expect("it can be checked");
    assert_eq!(whole, "ok", "{when}");
}

/// Has the power go, after each of these numbers of steps.
fn cut(folder: &Path, steps: &[Step], ends: &[usize], chance: &mut Chance) {
    for end in ends {
        let mut disk = Disk::default();
        steps[..*end].iter().for_each(|step| disk.apply(step));
        let image = folder.join(format!("cut-{end}"));
        std::fs::create_dir_all(&image).expect("a folder can be made");
        disk.write(&image, Unsynced::Lost, chance);
        let acks: Vec<Ack> = steps[..*end].iter().filter_map(acknowledged).collect();
        has_all(&image.join("shop.db"), &acks, &format!("{}: power cut after step {end}", folder.display()));
    }
}

#[test]
fn nothing_is_acknowledged_that_a_failed_wait_for_the_disk_left_out() {
    let test = "errors::nothing_is_acknowledged_that_a_failed_wait_for_the_disk_left_out";
    if let Some(role) = child::role() {
        return child::run(live(serde_json::from_str(&role).expect("the parent wrote it")));
    }
    if !has_strace(test) {
        return;
    }
    let mut chance = Chance::printed(test);
    for (number, failing) in FAILING.into_iter().enumerate() {
        let folder = folder(&format!("errors-{number}"));
        let (mut steps, refused) = record(test, &folder, 0, Some(failing));
        let failed = steps.iter().filter(|step| matches!(step, Step::SyncFailed(_))).count();
        let acks: Vec<Ack> = steps.iter().filter_map(acknowledged).collect();
        eprintln!("{test}: {failing}: {failed} waits failed, {refused} refused, {} acknowledged", acks.len());
        assert!(failed > 0 && refused > 0, "waits fail, and their commits with them");
        let places: Vec<String> = acks.iter().map(|ack| ack.offset.clone()).collect();
        let expected: Vec<String> = (1..=acks.len()).map(|place| place.to_string()).collect();
        assert_eq!(places, expected, "{failing}: what was refused is not there");
        let random = |chance: &mut Chance, steps: &[Step]| {
            let end = usize::try_from(chance.below(steps.len() as u64)).expect("an index") + 1;
            [end, steps.len()]
        };
        cut(&folder, &steps, &random(&mut chance, &steps), &mut chance);
        // The next process finds what the last one wrote as it is, and cannot tell what of it is on disk.
        steps.extend(record(test, &folder, 1, None).0);
        cut(&folder, &steps, &random(&mut chance, &steps), &mut chance);
        let acks: Vec<Ack> = steps.iter().filter_map(acknowledged).collect();
        has_all(&folder.join("recorded/shop.db"), &acks, &format!("{failing}: at the end"));
    }
}

/// How often a publish is tried again. Each try is a commit, and takes the place of one wait that fails.
const TRIES: usize = 20;

/// A service whose disk fails for a while: says how it is whenever a publish was refused.
async fn serve(path: PathBuf) -> volery::Result<()> {
    let volery = service::start(&path, Durability::Full, 0).await?;
    for n in 0..STEPS {
        for _ in 0..TRIES {
            match volery.publish(Order { n }).idempotency_key(format!("order {n}")).await {
                Ok(published) => {
                    say(&format!("ack order {n} {} {}", published.id, published.offset));
                    break;
                }
                Err(error) => {
                    let health = volery.health().await;
                    let store = health.reasons.iter().find(|reason| reason.part == "store");
                    let store = store.map(|reason| reason.what.as_str()).unwrap_or_default();
                    say(&format!("refused {:?} ready={} {store}", error.kind(), health.ready));
                }
            }
        }
    }
    volery.until_idle().await?;
    say(&format!("idle ready={}", volery.health().await.ready));
    volery.shutdown().await?;
    Ok(())
}

#[test]
fn a_service_says_that_its_disk_fails_and_goes_on_when_it_works() {
    let test = "errors::a_service_says_that_its_disk_fails_and_goes_on_when_it_works";
    if let Some(path) = child::role() {
        return child::run(serve(path.into()));
    }
    if !has_strace(test) {
        return;
    }
    let folder = folder("errors-service");
    let path = folder.join("shop.db");
    let inject = "inject=fsync,fdatasync:error=EIO:when=20..26";
    let strace =
        ["strace", "--seccomp-bpf", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject];
    let mut child = Child::start_under(&strace, test, &path.display().to_string());
    let (mut acks, mut refused, mut told, mut idle) = (Vec::new(), 0, false, false);
    while let Some(word) = child.next_word() {
        if word.starts_with("refused ") {
            refused += 1;
            assert!(word.starts_with("refused Retry "), "{word}");
            // The end of a job may have found the disk working again by then.
            let down = word.contains("ready=false");
            assert!(!down || word.contains("shop.db") && word.contains("disk I/O error"), "{word}");
            told |= down;
        }
        acks.extend(Ack::read(&word));
        idle |= word == "idle ready=true";
    }
    assert!(child.ended().success() && idle, "it goes on, and ends in order");
    assert!(refused > 0 && told, "some publishes were refused, and health said why");
    assert_eq!(acks.len() as u64, STEPS, "and were accepted when they were tried again");
    child::run(async {
        let audit = Audit::of(&Sqlite::open(&path)?).await?;
        audit.nothing_acknowledged_is_lost(&acks);
        audit.is_consistent();
        audit.is_complete();
        Ok(())
    });
}
