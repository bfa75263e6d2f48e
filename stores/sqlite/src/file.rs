//! The file: the lock beside it, where it lies, whether it is what it should be, and connections to it.
//!
//! Everything here blocks; the store's own threads and `Options::open` call it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use volery_blackboard::store::StoreError;

use super::Options;
use super::fault::{Fault, Place};
use super::options::Durability;

/// The oldest SQLite that may write: earlier ones can lose a commit when a checkpoint meets it (fixed
/// in 3.51.3).
const LIBRARY_MIN: i32 = 3_051_003;

/// How a database file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long a statement waits for another connection, a backup tool's say. Less would fail commits under a
/// backup; more would keep publishers in the dark.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The last word in the lock file of a store that has been on disk as a whole.
const IN_USE: &str = "used";

/// The lock beside the file, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Lets go by name: closing alone would not do while a process that is just being started still has a
    /// copy of the file.
    fn drop(&mut self) {
        // Should it fail, the close that follows lets go once the last copy is closed.
        drop(self.0.unlock());
    }
}

/// Takes the lock beside the file. It holds until the value is dropped, or the process ends however it ends.
/// Tells also whether the store has been on disk before, as [`mark_used`] has noted.
///
/// # Errors
/// When another store has it, naming its process and host; when the lock file cannot be written.
pub(super) fn lock(place: &Place) -> Result<(Lock, bool), StoreError> {
    let path = place.beside(".lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|error| place.io_error(&error, "opening its lock file"))?;
    let locked = file.try_lock();
    let mut holder = String::new();
    file.read_to_string(&mut holder).map_err(|error| place.io_error(&error, "reading its lock file"))?;
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut words = holder.split_whitespace().map(str::to_owned);
            let mut word = || words.next().unwrap_or_else(|| "unknown".to_owned());
            return Err(StoreError::InUse { store: place.name(), pid: word(), host: word() });
        }
        Err(TryLockError::Error(error)) => return Err(place.io_error(&error, "taking its lock")),
    }
    let was_used = holder.split_whitespace().nth(2) == Some(IN_USE);
    sign(&mut file, if was_used { IN_USE } else { "" }, place)?;
    Ok((Lock(file), was_used))
}

/// Notes in the lock file that the store is on disk as a whole. Before that an empty or half-written file is
/// what is left of a beginning that was cut short, and afterwards it is damage.
///
/// # Errors
/// When the store cannot be brought to disk or the lock file not be written.
pub(super) fn mark_used(lock: &mut Lock, conn: &Connection, place: &Place) -> Result<(), Fault> {
    // Without waiting for the disk at each commit it may all be in the log, and that nowhere.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(sign(&mut lock.0, IN_USE, place)?)
}

/// Writes who holds the lock.
fn sign(file: &mut File, mark: &str, place: &Place) -> Result<(), StoreError> {
    let line = format!("{} {} {mark}", std::process::id(), host());
    let written = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", line.trim_end()))
        .and_then(|()| file.flush());
    written.map_err(|error| place.io_error(&error, "writing its lock file"))
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().replace(char::is_whitespace, "_")
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".to_owned())
}

/// Refuses file systems of other hosts, and those that cannot be told from them. `type_of` gives the number
/// of the file system that a folder lies on.
///
/// # Errors
/// When the folder lies on such a file system, or cannot be asked.
pub(super) fn refuse_network(
    place: &Place,
    type_of: impl FnOnce(&Path) -> std::io::Result<u64>,
) -> Result<(), StoreError> {
    /// File systems by the number in `statfs(2)`. A file system that a program serves over fuse may lie on
    /// another host (sshfs, s3fs) or on this one, and whether a sync brings its files to disk is up to the
    /// program.
    const NETWORK: [(u64, &str); 11] = [
        (0x6969, "nfs"),
        (0x517B, "smb"),
        (0xFE53_4D42, "smb2"),
        (0xFF53_4D42, "cifs"),
        (0x0102_1997, "9p"),
        (0x00C3_6400, "ceph"),
        (0x5346_414F, "afs"),
        (0x0BD0_0BD0, "lustre"),
        (0x0116_1970, "gfs2"),
        (0x7461_636F, "ocfs2"),
        (0x6573_5546, "fuse, which may be one"),
    ];
    let number =
        type_of(folder(place)).map_err(|error| place.io_error(&error, "asking for its file system"))?;
    match NETWORK.iter().find(|(network, _)| *network == number) {
        Some((_, kind)) => {
            Err(StoreError::NetworkFileSystem { store: place.name(), kind: (*kind).to_owned() })
        }
        None => Ok(()),
    }
}

/// The number of the file system that a folder lies on.
///
/// # Errors
/// What the system says.
#[cfg(target_os = "linux")]
pub(super) fn type_of(folder: &Path) -> std::io::Result<u64> {
    let found = rustix::fs::statfs(folder)
        .map_err(|error| std::io::Error::from_raw_os_error(error.raw_os_error()))?;
    Ok(file_system(i128::from(found.f_type)))
}

/// Elsewhere nothing is recognised.
#[cfg(not(target_os = "linux"))]
pub(super) fn type_of(_: &Path) -> std::io::Result<u64> {
    Ok(0)
}

/// The width of the number differs between architectures, and with it its sign.
#[cfg(any(test, target_os = "linux"))]
fn file_system(number: i128) -> u64 {
    u64::try_from(number & 0xFFFF_FFFF).unwrap_or_default()
}

fn folder(place: &Place) -> &Path {
    match place.path().parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Looks at the file before SQLite does: it would take an empty one for new, and tell of a short one only
/// when it comes to the missing part. `was_used` says that it has been on disk as a whole before.
///
/// # Errors
/// When the file is something else, empty although it was in use, or shorter than it says.
pub(super) fn inspect(place: &Place, was_used: bool) -> Result<(), StoreError> {
    let mut file = match File::open(place.path()) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(place.io_error(&error, "opening the file")),
    };
    let length = file.metadata().map_err(|error| place.io_error(&error, "asking for its length"))?.len();
    let wal = std::fs::metadata(place.beside("-wal")).map(|wal| wal.len()).unwrap_or_default();
    let damaged =
        |cause: &str| Err(StoreError::Corrupt { store: place.name(), offset: None, cause: cause.to_owned() });
    if length == 0 {
        let lost = was_used && wal == 0;
        return if lost { damaged("the file is empty, although it has been in use") } else { Ok(()) };
    }
    // SQLite takes back the rest of a beginning that was cut short.
    if !was_used && std::fs::metadata(place.beside("-journal")).is_ok_and(|journal| journal.len() > 0) {
        return Ok(());
    }
    let mut head = [0_u8; 32];
    if file.read_exact(&mut head).is_err() || !head.starts_with(MAGIC) {
        return Err(StoreError::NotADatabase { store: place.name() });
    }
    let size = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u64::from(u32::from_be_bytes([head[28], head[29], head[30], head[31]]));
    // With a log beside it the file may be short: a checkpoint that was cut off is done again from the log.
    if wal == 0 && pages * size > length {
        return damaged("the file is shorter than it says");
    }
    Ok(())
}

/// Opens the connection that writes.
///
/// # Errors
/// What SQLite says, or that the library is too old.
pub(super) fn open_writer(place: &Place, options: &Options) -> Result<Connection, Fault> {
    if rusqlite::version_number() < LIBRARY_MIN {
        let cause = format!("SQLite {} can lose commits; link 3.51.3 or later", rusqlite::version());
        return Err(place.unavailable(cause).into());
    }
    let conn = Connection::open_with_flags(
        place.path(),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Before the first table: later it would need a whole vacuum.
    conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;")?;
    conn.execute_batch(match options.durability {
        Durability::Full => "PRAGMA synchronous = FULL;",
        Durability::OsCrashMayLoseLastMs => "PRAGMA synchronous = NORMAL;",
    })?;
    // A log of 4,000 pages is checkpointed 4 times less often than by default, and is still read back in
    // milliseconds.
    conn.execute_batch(
        "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
    )?;
    if let Some(bytes) = options.size_max {
        let size: u64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        conn.execute_batch(&format!("PRAGMA max_page_count = {}", (bytes / size).max(1)))?;
    }
    Ok(conn)
}

/// Writes what a process before left in the log once more, over itself, and waits for the disk. Called with
/// the lock for writing.
///
/// If the disk failed to take it then, the system may show it all the same, as if it were there: commits
/// behind it would be lost with it when the power goes. Written again, it has to be brought to disk again. A
/// log in order is put away when a store is closed, and there is nothing to write.
///
/// # Errors
/// What the file system says.
#[cfg(unix)]
pub(super) fn write_log_again(place: &Place) -> Result<(), StoreError> {
    use std::os::unix::fs::FileExt;

    /// Large enough for the disk to be quick, small enough to hold in memory.
    const CHUNK: usize = 1 << 20;

    let rewrite = |log: &File| -> std::io::Result<()> {
        let (mut chunk, mut at) = (vec![0; CHUNK], 0);
        loop {
            let read = log.read_at(&mut chunk, at)?;
            if read == 0 {
                return log.sync_data();
            }
            log.write_all_at(&chunk[..read], at)?;
            at += read as u64;
        }
    };
    let log = match File::options().read(true).write(true).open(place.beside("-wal")) {
        Ok(log) => log,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(place.io_error(&error, "opening its log")),
    };
    let length =
        log.metadata().map_err(|error| place.io_error(&error, "asking for the length of its log"))?;
    if length.len() == 0 {
        return Ok(());
    }
    rewrite(&log).map_err(|error| place.io_error(&error, "bringing its log to disk"))
}

#[cfg(not(unix))]
pub(super) fn write_log_again(_: &Place) -> Result<(), StoreError> {
    Ok(())
}

/// Opens a connection that only reads.
///
/// # Errors
/// What SQLite says.
pub(super) fn open_reader(place: &Place) -> Result<Connection, Fault> {
    let conn = Connection::open_with_flags(
        place.path(),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.execute_batch("PRAGMA cache_size = -4096; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_hosts_are_refused_by_their_names() {
        let place = Place::new(Path::new("somewhere/store.db"));
        let judge = |number: i128| {
            refuse_network(&place, |asked| {
                assert_eq!(asked, Path::new("somewhere"), "the folder is asked");
                Ok(file_system(number))
            })
        };
        let refused = [
            (0x6969, "nfs"),
            (0x517B, "smb"),
            (0xFE53_4D42, "smb2"),
            (0xFF53_4D42, "cifs"),
            // As a signed number of 32 bits, which some architectures have.
            (-0x1AC_B2BE, "smb2"),
            (-0xAC_B2BE, "cifs"),
            (0x0102_1997, "9p"),
            (0x00C3_6400, "ceph"),
            (0x5346_414F, "afs"),
            (0x0BD0_0BD0, "lustre"),
            (0x0116_1970, "gfs2"),
            (0x7461_636F, "ocfs2"),
            (0x6573_5546, "fuse, which may be one"),
        ];
        for (number, name) in refused {
            match judge(number) {
                Err(StoreError::NetworkFileSystem { kind, .. }) => assert_eq!(kind, name),
                other => panic!("{name} is refused: {other:?}"),
            }
        }
        // ext4, xfs, btrfs, tmpfs, overlayfs, zfs, and one that nobody knows.
        for number in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0] {
            judge(number).unwrap_or_else(|error| panic!("{number:x} is local: {error}"));
        }
    }

    #[test]
    fn a_file_system_that_cannot_be_asked_is_an_error() {
        let place = Place::new(Path::new("store.db"));
        let asked = refuse_network(&place, |folder| {
            assert_eq!(folder, Path::new("."));
            Err(std::io::ErrorKind::NotFound.into())
        });
        assert!(matches!(asked, Err(StoreError::Unavailable { .. })), "{asked:?}");
    }
}
