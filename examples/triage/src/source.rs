//! Opens inputs and reads them line by line in bounded memory.
//!
//! A line ends at `\n`, `\r\n` or a lone `\r`. Of a line at most 64 KiB are kept; the rest is skipped and the
//! line marked. Invalid UTF-8 is replaced and the line marked; NUL bytes, which a crash leaves in logs, are
//! dropped and counted; a byte order mark is dropped. Gzip is recognised by its first bytes and unpacked
//! while reading. Directories, binary files, UTF-16 and other compressions are refused with what to do
//! instead; an empty input is none of these, it just has no lines. Does not parse lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest part of a line that is kept. Real log lines are far shorter; a longer limit lets a hostile
/// input fill the memory.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1_024;

/// Bytes read at a time; smaller costs system calls, larger only memory.
const BUFFER_BYTES: usize = 64 * 1_024;

/// Bytes looked at to tell text from binary; fewer make a verdict on a few bytes, more delay a slow pipe.
const HEAD_BYTES: u64 = 8 * 1_024;

/// First bytes of files that hold no lines, with their names.
const SIGNATURES: [(&[u8], &str); 11] = [
    (b"\x7fELF", "an ELF program"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\xfd7zXZ\0", "xz data; unpack it with `xz -dc`"),
    (b"\x28\xb5\x2f\xfd", "zstd data; unpack it with `zstd -dc`"),
    (b"BZh", "bzip2 data; unpack it with `bzip2 -dc`"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"LPKSHHRH", "a systemd journal; export it with `journalctl --file`"),
    (b"\xff\xfe", "UTF-16 text; convert it with `iconv -f UTF-16`"),
    (b"\xfe\xff", "UTF-16 text; convert it with `iconv -f UTF-16`"),
];

/// A line as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RawLine {
    /// The name of the input.
    pub(crate) source: String,
    /// Its number there, from 1.
    pub(crate) number: u64,
    /// Its text without the line end.
    pub(crate) text: String,
    /// Whether the line was longer than what is kept of it.
    pub(crate) truncated: bool,
    /// Whether the line was not valid UTF-8.
    pub(crate) lossy: bool,
}

/// Where an input is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Place {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// An input: where it is, and the name it goes by in every result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Input {
    /// The name, for files the path as it was given.
    pub(crate) name: String,
    /// The place.
    pub(crate) place: Place,
}

impl Input {
    /// Names an input by an argument: a path, or `-` for standard input.
    pub(crate) fn from_argument(argument: &str) -> Self {
        let place = if argument == "-" { Place::Stdin } else { Place::File(PathBuf::from(argument)) };
        Self { name: argument.to_owned(), place }
    }

    /// Opens the input for reading.
    ///
    /// # Errors
    /// Where it cannot be opened or holds no lines of text.
    pub(crate) fn open(&self) -> Result<LineReader, SourceError> {
        match &self.place {
            Place::Stdin => LineReader::new(&self.name, Box::new(io::stdin())),
            Place::File(path) => LineReader::new(&self.name, Box::new(self.open_file(path)?)),
        }
    }

    fn open_file(&self, path: &Path) -> Result<File, SourceError> {
        let fail = |error| SourceError::new(&self.name, error);
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fail(Cause::Missing),
            io::ErrorKind::PermissionDenied => fail(Cause::Forbidden),
            _ => fail(Cause::from(error)),
        })?;
        let kind = file.metadata().map_err(|error| fail(Cause::from(error)))?;
        if kind.is_dir() { Err(fail(Cause::Directory)) } else { Ok(file) }
    }
}

/// Why an input cannot be read, or not further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {cause}")]
pub(crate) struct SourceError {
    name: String,
    cause: Cause,
}

impl SourceError {
    fn new(name: &str, cause: Cause) -> Self {
        Self { name: name.to_owned(), cause }
    }
}

/// The causes of a [`SourceError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// No such file.
    #[error("no such file")]
    Missing,
    /// No permission to read it.
    #[error("no permission to read it")]
    Forbidden,
    /// A directory.
    #[error("is a directory; name the files in it")]
    Directory,
    /// Not text.
    #[error("holds no lines of text: it looks like {0}")]
    Binary(&'static str),
    /// Damaged or cut gzip data.
    #[error("damaged gzip data after line {after_line}: {detail}")]
    Gzip {
        /// The last whole line before the damage.
        after_line: u64,
        /// The decoder's error.
        detail: String,
    },
    /// Another failure of the system.
    #[error("cannot be read: {0}")]
    Io(String),
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// The record of an input so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReadCounts {
    /// Lines.
    pub(crate) lines: u64,
    /// Lines longer than what is kept.
    pub(crate) truncated: u64,
    /// Lines that were not valid UTF-8.
    pub(crate) lossy: u64,
    /// NUL bytes dropped.
    pub(crate) nul_bytes: u64,
}

/// An iterator over the lines of one input; after an error it ends.
pub(crate) struct LineReader {
    name: String,
    input: Box<dyn BufRead + Send>,
    gzip: bool,
    ended: bool,
    /// The last line ended in `\r`; a `\n` right after it belongs to it.
    after_return: bool,
    counts: ReadCounts,
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LineReader").field("name", &self.name).field("counts", &self.counts).finish()
    }
}

impl LineReader {
    /// Reads lines from any bytes under a name.
    ///
    /// # Errors
    /// Where the first bytes cannot be read or are not text.
    pub(crate) fn new(name: &str, bytes: Box<dyn Read + Send>) -> Result<Self, SourceError> {
        let fail = |cause| SourceError::new(name, cause);
        let mut input: Box<dyn BufRead + Send> = Box::new(prefetched(bytes).map_err(|e| fail(e.into()))?);
        let gzip = input.fill_buf().map_err(|error| fail(error.into()))?.starts_with(b"\x1f\x8b");
        if gzip {
            let unpacked = prefetched(Box::new(MultiGzDecoder::new(input)));
            let damaged = |error: io::Error| fail(Cause::Gzip { after_line: 0, detail: error.to_string() });
            input = Box::new(unpacked.map_err(damaged)?);
        }
        let head = input.fill_buf().map_err(|error| fail(error.into()))?;
        if let Some(kind) = binary_kind(head) {
            return Err(fail(Cause::Binary(kind)));
        }
        if head.starts_with("\u{feff}".as_bytes()) {
            input.consume(3);
        }
        let counts = ReadCounts::default();
        Ok(Self { name: name.to_owned(), input, gzip, ended: false, after_return: false, counts })
    }

    /// Returns what was seen so far.
    pub(crate) fn counts(&self) -> ReadCounts {
        self.counts
    }

    /// Reads one line; `None` at the end.
    fn read_line(&mut self) -> io::Result<Option<RawLine>> {
        let mut kept = Vec::new();
        let (mut length, mut ended) = (0_usize, false);
        while !ended {
            let bytes = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            if bytes.is_empty() {
                break;
            }
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                self.input.consume(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let text = piece.iter().copied().filter(|byte| *byte != 0);
            let before = kept.len();
            kept.extend(text.clone().take(LINE_BYTES_MAX - before));
            let count = text.count();
            self.counts.nul_bytes += (piece.len() - count) as u64;
            length += count;
            if let Some(end) = end {
                self.after_return = bytes[end] == b'\r';
                ended = true;
            }
            let used = piece.len() + usize::from(ended);
            self.input.consume(used);
        }
        Ok((ended || length > 0).then(|| self.line(kept, length)))
    }

    fn line(&mut self, mut kept: Vec<u8>, length: usize) -> RawLine {
        let truncated = length > kept.len();
        if truncated {
            drop_partial_character(&mut kept);
        }
        let (text, lossy) = match String::from_utf8(kept) {
            Ok(text) => (text, false),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
        };
        self.counts.lines += 1;
        self.counts.truncated += u64::from(truncated);
        self.counts.lossy += u64::from(lossy);
        RawLine { source: self.name.clone(), number: self.counts.lines, text, truncated, lossy }
    }
}

impl Iterator for LineReader {
    type Item = Result<RawLine, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read_line() {
            Ok(Some(line)) => Some(Ok(line)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                let cause = if self.gzip {
                    Cause::Gzip { after_line: self.counts.lines, detail: error.to_string() }
                } else {
                    error.into()
                };
                Some(Err(SourceError::new(&self.name, cause)))
            }
        }
    }
}

/// Reads the first bytes ahead, so that they can be judged: a pipe may deliver them one by one.
///
/// An error behind the first bytes is kept and comes up where it belongs.
fn prefetched(mut bytes: Box<dyn Read + Send>) -> io::Result<impl BufRead + Send> {
    let mut head = Vec::new();
    let rest: Box<dyn Read + Send> = match bytes.by_ref().take(HEAD_BYTES).read_to_end(&mut head) {
        Err(error) if head.is_empty() => return Err(error),
        Err(error) => Box::new(Failing(Some(error))),
        Ok(_) => bytes,
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(rest)))
}

/// Reads as one error, then as the end.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn binary_kind(head: &[u8]) -> Option<&'static str> {
    if let Some((_, kind)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        return Some(kind);
    }
    let nul = head.iter().filter(|byte| **byte == 0).count();
    let control = head.iter().filter(|byte| is_control(**byte)).count();
    // Random bytes hold 9 % of control characters, text next to none; a block of NUL bytes alone is still a
    // log.
    let binary = control * 20 > head.len() - nul || (nul * 3 > head.len() && control > 0);
    binary.then_some("binary data")
}

/// Control characters that no text contains; blanks, line ends, backspace, form feed, escape and NUL are left
/// out.
fn is_control(byte: u8) -> bool {
    byte == 0x7f || (byte < 0x20 && !matches!(byte, 0 | 0x08..=0x0d | 0x1b))
}

/// Removes the first bytes of a character whose rest was skipped, so that a cut line stays valid UTF-8.
fn drop_partial_character(kept: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(kept)
        && error.error_len().is_none()
    {
        kept.truncate(error.valid_up_to());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn reader(bytes: impl Into<Vec<u8>>) -> Result<LineReader, SourceError> {
        LineReader::new("a", Box::new(io::Cursor::new(bytes.into())))
    }

    fn read(bytes: impl Into<Vec<u8>>) -> (Vec<RawLine>, ReadCounts) {
        let mut lines = reader(bytes).expect("text");
        let read = lines.by_ref().map(|line| line.expect("readable")).collect();
        (read, lines.counts())
    }

    fn texts(bytes: impl Into<Vec<u8>>) -> Vec<String> {
        read(bytes).0.into_iter().map(|line| line.text).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn lines_end_at_any_line_end() {
        assert_eq!(texts("a\nb\r\nc\rd\n\n\r\n\re"), ["a", "b", "c", "d", "", "", "", "e"]);
        assert_eq!(texts("a\r\n"), ["a"]);
        assert_eq!(texts("a\r"), ["a"]);
        assert_eq!(texts(""), Vec::<String>::new());
        let numbers: Vec<u64> = read("a\nb\nc").0.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn a_line_end_across_two_buffers_is_one() {
        for before in BUFFER_BYTES - 2..BUFFER_BYTES + 2 {
            let bytes = format!("{}\r\nb", "\n".repeat(before));
            assert_eq!(texts(bytes).len(), before + 2);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let long = "é".repeat(10 * LINE_BYTES_MAX);
        let (lines, counts) = read(format!("x{long}\nnext"));
        assert!(lines[0].truncated && !lines[0].lossy);
        assert_eq!(lines[0].text.len(), LINE_BYTES_MAX - 1);
        assert_eq!((lines[1].text.as_str(), lines[1].truncated), ("next", false));
        assert_eq!(counts, ReadCounts { lines: 2, truncated: 1, lossy: 0, nul_bytes: 0 });
        assert!(!read("x".repeat(LINE_BYTES_MAX)).0[0].truncated);
    }

    #[test]
    fn a_line_of_100_megabytes_is_never_held_whole() {
        let bytes = io::repeat(b'x').take(100_000_000).chain(&b"\nnext"[..]);
        let lines: Vec<_> = LineReader::new("a", Box::new(bytes)).expect("text").flatten().collect();
        assert_eq!(lines[0].text.capacity().max(lines[0].text.len()) / (4 * LINE_BYTES_MAX), 0);
        assert_eq!(lines[1].text, "next");
    }

    #[test]
    fn damage_is_repaired_and_counted() {
        let (lines, counts) = read(&b"\xef\xbb\xbfa\0\0b\nlatin \xe9\n"[..]);
        assert_eq!((lines[0].text.as_str(), lines[1].text.as_str()), ("ab", "latin \u{fffd}"));
        assert!(lines[1].lossy && !lines[0].lossy);
        assert_eq!(counts, ReadCounts { lines: 2, truncated: 0, lossy: 1, nul_bytes: 2 });
        assert_eq!(texts(&b"a\n\0\0\0\0\0\0\0\0\0"[..]), ["a"]);
    }

    #[test]
    fn gzip_is_unpacked_in_all_its_members() {
        let packed = [gzip(b"a\nb\n"), gzip(b"c\n")].concat();
        assert_eq!(texts(packed), ["a", "b", "c"]);
        assert_eq!(texts(gzip(b"")), Vec::<String>::new());
    }

    #[test]
    fn damaged_gzip_gives_the_lines_before_the_damage_and_one_error() {
        let noise: Vec<String> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
        let packed = gzip(noise.join("\n").as_bytes());
        for damaged in [&packed[..packed.len() / 2], &packed[..packed.len() - 3]] {
            let results: Vec<_> = reader(damaged).expect("text").collect();
            let error = results.last().and_then(|last| last.as_ref().err()).expect("an error at the end");
            assert!(matches!(error.cause, Cause::Gzip { after_line: 1.., .. }), "{error}");
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        }
        let cause = |bytes: &[u8]| reader(bytes).expect_err("damaged").cause;
        assert!(matches!(cause(&packed[..5]), Cause::Gzip { after_line: 0, .. }));
    }

    #[test]
    fn what_is_not_text_is_refused_with_its_kind() {
        let check = |bytes: &[u8], expected: &str| {
            let error = reader(bytes).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"\x7fELF\x02\x01", "ELF");
        check(b"PK\x03\x04xx", "zip");
        check(b"\xff\xfea\0", "UTF-16");
        check(b"\x01\x02\x03\x04", "binary data");
        check(&gzip(b"\x7fELF\x02\x01"), "ELF");
        let noise: Vec<u8> = (0..9_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        check(&noise, "binary data");
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let check = |argument: &str, expected: &str| {
            let error = Input::from_argument(argument).open().expect_err(argument).to_string();
            assert_eq!(error, format!("{argument}: {expected}"));
        };
        check("/no/such/file.log", "no such file");
        check("/", "is a directory; name the files in it");
        assert_eq!(Input::from_argument("-").place, Place::Stdin);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_naive_split(
            pieces in proptest::collection::vec(prop_oneof!["[a-zé ]{0,6}", Just("\n".into()), Just("\r\n".into()), Just("\r".into())], 0..30),
        ) {
            let text: String = pieces.concat();
            let unix = text.replace("\r\n", "\n").replace('\r', "\n");
            let expected: Vec<String> = unix.split_terminator('\n').map(str::to_owned).collect();
            prop_assert_eq!(texts(text), expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(lines) = reader(bytes) {
                prop_assert!(lines.flatten().count() <= 200);
            }
        }
    }
}
