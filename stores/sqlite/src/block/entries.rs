//! Entries: what a block has of each of its places, one after the other, each with a checksum.
//!
//! An entry is its place, the length of its body, the body, and the checksum over the block's key, the place
//! and the body. Pure: no I/O, no clock.

use std::ops::Range;

use crc32fast::Hasher;

use super::bytes::{Cursor, put_number};
use super::slot;

pub(super) struct Entry<'a> {
    /// The bytes that it takes.
    pub(super) range: Range<usize>,
    pub(super) place: u8,
    pub(super) body: &'a [u8],
    checksum: u32,
}

impl Entry<'_> {
    /// Tells whether it is what was written.
    pub(super) fn is_sound(&self, key: i64) -> bool {
        checksum(key, self.place, self.body) == self.checksum
    }
}

/// Goes through the entries from a byte on, as far as they can be told apart.
pub(super) fn entries(bytes: &[u8], from: usize) -> impl Iterator<Item = Entry<'_>> {
    let mut at = from;
    std::iter::from_fn(move || {
        let mut rest = Cursor(bytes.get(at..)?);
        let place = rest.byte()?;
        let length = usize::try_from(rest.number()?).ok()?;
        let body = rest.take(length)?;
        let checksum = u32::from_le_bytes(rest.array()?);
        let range = at..bytes.len() - rest.0.len();
        at = range.end;
        Some(Entry { range, place, body, checksum })
    })
}

/// Removes the entries that are not to be kept, and whatever follows the last that can be told from the next;
/// tells whether there was some of that.
pub(super) fn sift(bytes: &mut Vec<u8>, from: usize, mut keeps: impl FnMut(&Entry<'_>) -> bool) -> bool {
    let (mut end, mut removed) = (from, Vec::new());
    for entry in entries(bytes, from) {
        end = entry.range.end;
        if !keeps(&entry) {
            removed.push(entry.range);
        }
    }
    let is_cut = bytes.len() > end;
    bytes.truncate(end);
    for range in removed.into_iter().rev() {
        bytes.drain(range);
    }
    is_cut
}

pub(super) fn find(bytes: &[u8], from: usize, seq: u64) -> Option<Entry<'_>> {
    entries(bytes, from).find(|entry| entry.place == slot(seq))
}

pub(super) fn put(bytes: &mut Vec<u8>, (key, seq): (i64, u64), body: &[u8]) {
    bytes.push(slot(seq));
    put_number(bytes, body.len() as u64);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&checksum(key, slot(seq), body).to_le_bytes());
}

fn checksum(key: i64, place: u8, body: &[u8]) -> u32 {
    let mut head = [0; 9];
    head[..8].copy_from_slice(&key.to_le_bytes());
    head[8] = place;
    let mut hasher = Hasher::new();
    hasher.update(&head);
    hasher.update(body);
    hasher.finalize()
}
