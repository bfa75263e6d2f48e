//! A model of a disk: what is left of files when the power goes.
//!
//! Synced pages are there. Of later writes nothing is left, or each 4 KiB page by itself is or is not: torn
//! writes, and later ones without earlier ones. Names of files are taken to be durable at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::chance::Chance;
use crate::trace::Step;

const PAGE: u64 = 4_096;

/// The part of the unsynced pages that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    Lost,
    HalfLost,
}

#[derive(Debug, Default)]
pub(crate) struct Disk(BTreeMap<PathBuf, File>);

#[derive(Debug, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    /// Within one page.
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Disk {
    /// Does what was done to a file.
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Opened(path) => {
                self.0.entry(path.clone()).or_default();
            }
            Step::Written { path, at, bytes } => {
                let pending = &mut self.0.entry(path.clone()).or_default().pending;
                let (mut at, mut rest) = (*at, bytes.as_slice());
                while !rest.is_empty() {
                    let room = usize::try_from(PAGE - at % PAGE).expect("a page is small");
                    let (page, after) = rest.split_at(room.min(rest.len()));
                    pending.push(Change::Write(at, page.to_vec()));
                    (at, rest) = (at + page.len() as u64, after);
                }
            }
            Step::Truncated { path, length } => {
                self.0.entry(path.clone()).or_default().pending.push(Change::Truncate(*length));
            }
            Step::Synced(path) => {
                let file = self.0.entry(path.clone()).or_default();
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.synced);
                }
            }
            // The system takes the pages for clean from then on: programs read what they wrote, and it never
            // reaches the disk unless it is written again.
            Step::SyncFailed(path) => self.0.entry(path.clone()).or_default().pending.clear(),
            Step::Removed(path) => {
                self.0.remove(path);
            }
            Step::Acknowledged(_) => {}
        }
    }

    /// Writes what is left of the files into a folder, under their names.
    pub(crate) fn write(&self, folder: &Path, unsynced: Unsynced, chance: &mut Chance) {
        for (path, file) in &self.0 {
            let mut left = file.synced.clone();
            for change in &file.pending {
                if unsynced == Unsynced::HalfLost && chance.coin() {
                    change.apply(&mut left);
                }
            }
            let name = path.file_name().expect("a file has a name");
            std::fs::write(folder.join(name), left).expect("it can be written");
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        let size = |length: u64| usize::try_from(length).expect("the files are small");
        match self {
            Self::Truncate(length) => content.resize(size(*length), 0),
            Self::Write(at, bytes) => {
                let (start, end) = (size(*at), size(*at) + bytes.len());
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(bytes);
            }
        }
    }
}

#[test]
fn what_was_synced_is_left_and_nothing_else() {
    let mut disk = Disk::default();
    let path = PathBuf::from("/d/disk-model");
    let write = |at, bytes: &[u8]| Step::Written { path: path.clone(), at, bytes: bytes.to_vec() };
    disk.apply(&write(0, b"abcd"));
    disk.apply(&Step::Synced(path.clone()));
    disk.apply(&write(1, b"XY"));
    disk.apply(&Step::Truncated { path: path.clone(), length: 2 });
    let folder = crate::kills::folder("disk-model");
    disk.write(&folder, Unsynced::Lost, &mut Chance::printed("disk-model"));
    assert_eq!(std::fs::read(folder.join("disk-model")).expect("it is there"), b"abcd");
    disk.apply(&Step::Synced(path.clone()));
    disk.write(&folder, Unsynced::Lost, &mut Chance::printed("disk-model"));
    assert_eq!(std::fs::read(folder.join("disk-model")).expect("it is there"), b"aX");
    disk.apply(&write(0, b"lost"));
    disk.apply(&Step::SyncFailed(path.clone()));
    disk.apply(&Step::Synced(path));
    disk.write(&folder, Unsynced::Lost, &mut Chance::printed("disk-model"));
    assert_eq!(std::fs::read(folder.join("disk-model")).expect("it is there"), b"aX");
}
