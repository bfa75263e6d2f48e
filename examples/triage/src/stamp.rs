//! Reads a time stamp at the start of a text, as microseconds since the Unix epoch.
//!
//! Known layouts: RFC 3339 and ISO date-times (`2026-11-20T14:50:00.5+01:00`, `2026-11-20 14:50:00,5`,
//! `2026/11/20 14:50:00`), syslog (`Nov  5 14:50:00`, no year), ctime (`Fri Nov 20 14:50:00 2026`), the
//! access-log form (`20/Nov/2026:14:50:00 +0000`), and epoch seconds, milli-, micro- or nanoseconds (10, 13,
//! 16 or 19 digits).
//!
//! A stamp without a zone is read as UTC; the zone names `Z`, `UTC` and `GMT` and numeric offsets are
//! understood, other zone names are not. A leap second counts as second 59. Does not decide the year of a
//! syslog stamp: see `year.rs`. Pure: no I/O, no clock.

use jiff::{Timestamp, civil, tz::Offset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Microseconds in one second.
pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A stamp as written: complete, or without its year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Stamp {
    /// Microseconds since the Unix epoch.
    Dated(i64),
    /// A syslog stamp, which names no year.
    Undated(Undated),
}

/// Month, day and time of day of a stamp without a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Undated {
    month: i8,
    day: i8,
    clock: Clock,
}

impl Undated {
    /// Returns the month, 1 to 12.
    pub(crate) fn month(self) -> i8 {
        self.month
    }

    /// Completes the stamp with a year.
    ///
    /// # Errors
    /// `OutOfRange` where that year has no such day (29 February).
    pub(crate) fn in_year(self, year: i16) -> Result<i64, StampError> {
        micros(Date { year, month: self.month, day: self.day }, self.clock, 0)
    }
}

/// The layouts whose rest of the line is read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// RFC 3339 or another date-time that starts with the year.
    Iso,
    /// `Nov 20 14:50:00`, after which a host name is expected.
    Syslog,
    /// `Fri Nov 20 14:50:00 2026`, the form of Apache's error log.
    Ctime,
    /// `20/Nov/2026:14:50:00 +0000`, the form of access logs.
    Access,
    /// A plain number.
    Epoch,
}

/// A stamp found at the start of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leading<'a> {
    /// The stamp.
    pub(crate) stamp: Stamp,
    /// How it was written.
    pub(crate) layout: Layout,
    /// The text after it, untrimmed, after the bracket that closes it.
    pub(crate) rest: &'a str,
    /// Whether the bracket opened before the stamp is still open in `rest`:
    /// `[2026-11-20T14:50:00Z ERROR api] text`.
    pub(crate) open_bracket: bool,
}

/// Why a text has no usable stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StampError {
    /// Nothing at the start looks like a stamp.
    #[error("no known time stamp")]
    NotFound,
    /// It looks like a stamp, but names a moment that does not exist.
    #[error("a time stamp with a month, day, hour, minute, second or offset out of range")]
    OutOfRange,
}

/// Finds the stamp that `text` starts with; one opening bracket before it is allowed.
///
/// # Errors
/// `NotFound` or `OutOfRange`.
pub(crate) fn leading(text: &str) -> Result<Leading<'_>, StampError> {
    let (body, bracket) = match text.strip_prefix('[') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (stamp, layout, used) = scan(body)?;
    // A stamp ends at a space or punctuation; `2026-11-20T14:50:00abc` is something else.
    let rest = &body[used..];
    if rest.as_bytes().first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) {
        return Err(StampError::NotFound);
    }
    let closed = if bracket { rest.strip_prefix(']') } else { None };
    Ok(Leading { stamp, layout, rest: closed.unwrap_or(rest), open_bracket: bracket && closed.is_none() })
}

/// Reads a text that is a stamp and nothing else, as found in a JSON or CSV field.
///
/// # Errors
/// `NotFound` where something follows the stamp, else as [`leading`].
pub(crate) fn whole(text: &str) -> Result<Stamp, StampError> {
    let found = leading(text.trim())?;
    if found.rest.is_empty() && !found.open_bracket { Ok(found.stamp) } else { Err(StampError::NotFound) }
}

/// Writes a moment as RFC 3339 in UTC, with as many fractional digits as it has.
pub(crate) fn render(at: i64) -> String {
    Timestamp::from_microsecond(at).map_or_else(|_| format!("{at} microseconds"), |stamp| stamp.to_string())
}

fn scan(body: &str) -> Result<(Stamp, Layout, usize), StampError> {
    let bytes = body.as_bytes();
    match bytes.first() {
        Some(byte) if byte.is_ascii_alphabetic() => scan_named_month(bytes),
        Some(byte) if byte.is_ascii_digit() => {
            match bytes.iter().take_while(|b| b.is_ascii_digit()).count() {
                4 => scan_iso(bytes),
                1 | 2 => scan_access(bytes),
                count => scan_epoch(bytes, count),
            }
        }
        _ => Err(StampError::NotFound),
    }
}

fn scan_iso(bytes: &[u8]) -> Result<(Stamp, Layout, usize), StampError> {
    let mut cursor = Cursor::new(bytes);
    let (date, clock) = iso_date_time(&mut cursor).ok_or(StampError::NotFound)?;
    let offset = cursor.zone();
    Ok((Stamp::Dated(micros(date, clock, offset)?), Layout::Iso, cursor.at))
}

fn iso_date_time(cursor: &mut Cursor<'_>) -> Option<(Date, Clock)> {
    let year = cursor.digits(4, 4)?;
    let separator = cursor.one_of(b"-/")?;
    let month = cursor.digits(2, 2)?;
    cursor.one_of(&[separator])?;
    let day = cursor.digits(2, 2)?;
    if cursor.one_of(b"Tt").is_none() {
        cursor.spaces()?;
    }
    let clock = cursor.clock()?;
    Some((Date { year: year as i16, month: month as i8, day: day as i8 }, clock))
}

fn scan_named_month(bytes: &[u8]) -> Result<(Stamp, Layout, usize), StampError> {
    let mut cursor = Cursor::new(bytes);
    let weekday = cursor.name(&WEEKDAYS).is_some();
    if weekday {
        cursor.one_of(b",");
        cursor.spaces().ok_or(StampError::NotFound)?;
    }
    named_month_and_day(&mut cursor, weekday).ok_or(StampError::NotFound)?
}

type Scanned = Result<(Stamp, Layout, usize), StampError>;

/// `None` where the shape is not that of a stamp; an inner error where its values are out of range.
fn named_month_and_day(cursor: &mut Cursor<'_>, weekday: bool) -> Option<Scanned> {
    let month = cursor.name(&MONTHS)? as i8 + 1;
    cursor.spaces()?;
    let day = cursor.digits(1, 2)? as i8;
    cursor.spaces()?;
    let mut year = cursor.year_before_clock();
    let clock = cursor.clock()?;
    let mut offset = 0;
    if weekday && year.is_none() {
        let mut ahead = *cursor;
        offset = ahead.zone();
        if ahead.spaces().is_some()
            && let Some(number) = ahead.digits(4, 4)
        {
            year = Some(number as i16);
            *cursor = ahead;
        }
    }
    let layout = if weekday { Layout::Ctime } else { Layout::Syslog };
    let stamp = match year {
        Some(year) => micros(Date { year, month, day }, clock, offset).map(Stamp::Dated),
        // 2000 is a leap year, so that 29 February is refused only by a year that lacks it.
        None => micros(Date { year: 2000, month, day }, clock, 0)
            .map(|_| Stamp::Undated(Undated { month, day, clock })),
    };
    Some(stamp.map(|stamp| (stamp, layout, cursor.at)))
}

fn scan_access(bytes: &[u8]) -> Result<(Stamp, Layout, usize), StampError> {
    let mut cursor = Cursor::new(bytes);
    let (date, clock) = access_date_time(&mut cursor).ok_or(StampError::NotFound)?;
    let offset = cursor.zone();
    Ok((Stamp::Dated(micros(date, clock, offset)?), Layout::Access, cursor.at))
}

fn access_date_time(cursor: &mut Cursor<'_>) -> Option<(Date, Clock)> {
    let day = cursor.digits(1, 2)? as i8;
    cursor.one_of(b"/")?;
    let month = cursor.name(&MONTHS)? as i8 + 1;
    cursor.one_of(b"/")?;
    let year = cursor.digits(4, 4)? as i16;
    cursor.one_of(b":")?;
    Some((Date { year, month, day }, cursor.clock()?))
}

/// Epoch numbers are told apart by their count of digits, which holds for the years 2001 to 2286.
fn scan_epoch(bytes: &[u8], count: usize) -> Result<(Stamp, Layout, usize), StampError> {
    let mut cursor = Cursor::new(bytes);
    let number = cursor.digits(count, count).ok_or(StampError::NotFound)?;
    let at = match count {
        10 => {
            let fraction = cursor.fraction();
            number * MICROS_PER_SECOND + i64::from(fraction)
        }
        13 => number * 1_000,
        16 => number,
        19 => number / 1_000,
        _ => return Err(StampError::NotFound),
    };
    Ok((Stamp::Dated(at), Layout::Epoch, cursor.at))
}

#[derive(Clone, Copy, Debug)]
struct Date {
    year: i16,
    month: i8,
    day: i8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Clock {
    hour: i8,
    minute: i8,
    second: i8,
    micros: i32,
}

fn micros(date: Date, clock: Clock, offset_seconds: i32) -> Result<i64, StampError> {
    let second = if clock.second == 60 { 59 } else { clock.second };
    let moment = civil::DateTime::new(
        date.year,
        date.month,
        date.day,
        clock.hour,
        clock.minute,
        second,
        clock.micros * 1_000,
    );
    let offset = Offset::from_seconds(offset_seconds);
    match (moment, offset) {
        (Ok(moment), Ok(offset)) => {
            offset.to_timestamp(moment).map(Timestamp::as_microsecond).map_err(|_| StampError::OutOfRange)
        }
        _ => Err(StampError::OutOfRange),
    }
}

/// A position in the bytes being read; every method leaves it in place when it does not match.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| set.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    /// One or two blanks: syslog pads the day, apt's history the time.
    fn spaces(&mut self) -> Option<()> {
        self.one_of(b" ")?;
        self.one_of(b" ");
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let rest = &self.bytes[self.at..];
        let count = rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let more = rest.get(count).is_some_and(u8::is_ascii_digit);
        if count < least || more || count > 19 {
            return None;
        }
        let number = rest[..count]
            .iter()
            .try_fold(0_i64, |n, b| n.checked_mul(10)?.checked_add(i64::from(b - b'0')))?;
        self.at += count;
        Some(number)
    }

    fn name(&mut self, names: &[&str]) -> Option<usize> {
        let word = self.bytes.get(self.at..self.at + 3)?;
        let index = names.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(word))?;
        self.at += 3;
        Some(index)
    }

    /// `2026 ` in `Nov 20 2026 14:50:00`.
    fn year_before_clock(&mut self) -> Option<i16> {
        let mut ahead = *self;
        let year = ahead.digits(4, 4)?;
        ahead.spaces()?;
        *self = ahead;
        Some(year as i16)
    }

    /// `hh:mm` with optional seconds and fraction; the values are checked by the calendar.
    fn clock(&mut self) -> Option<Clock> {
        let mut ahead = *self;
        let hour = ahead.digits(2, 2)? as i8;
        ahead.one_of(b":")?;
        let minute = ahead.digits(2, 2)? as i8;
        let mut clock = Clock { hour, minute, second: 0, micros: 0 };
        *self = ahead;
        if ahead.one_of(b":").is_some()
            && let Some(second) = ahead.digits(2, 2)
        {
            clock.second = second as i8;
            clock.micros = ahead.fraction();
            *self = ahead;
        }
        Some(clock)
    }

    /// Microseconds of `.5` or `,500`; finer digits are dropped.
    fn fraction(&mut self) -> i32 {
        let mut ahead = *self;
        if ahead.one_of(b".,").is_none() {
            return 0;
        }
        let rest = &ahead.bytes[ahead.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return 0;
        }
        let digits = rest[..count].iter().copied().chain(std::iter::repeat(b'0')).take(6);
        self.at = ahead.at + count;
        digits.fold(0, |number, byte| number * 10 + i32::from(byte - b'0'))
    }

    /// Seconds east of UTC; 0 where no zone is written.
    fn zone(&mut self) -> i32 {
        let mut ahead = *self;
        let spaced = ahead.one_of(b" ").is_some();
        let found = ahead.zone_name().or_else(|| ahead.zone_offset(spaced));
        if found.is_some() {
            *self = ahead;
        }
        found.unwrap_or(0)
    }

    fn zone_name(&mut self) -> Option<i32> {
        let rest = &self.bytes[self.at..];
        let name = ["UTC", "GMT", "Z", "z"].into_iter().find(|name| rest.starts_with(name.as_bytes()))?;
        if rest.get(name.len()).is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        self.at += name.len();
        Some(0)
    }

    /// `+01:00` and `+0100`; `+01` only directly after the time, since ` -12` may begin a message.
    fn zone_offset(&mut self, spaced: bool) -> Option<i32> {
        let mut ahead = *self;
        let sign = if ahead.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let (hours, minutes) = match ahead.digits(4, 4) {
            Some(number) => (number / 100, number % 100),
            None => {
                let hours = ahead.digits(2, 2)?;
                let mut colon = ahead;
                match colon.one_of(b":").and_then(|_| colon.digits(2, 2)) {
                    Some(minutes) => {
                        ahead = colon;
                        (hours, minutes)
                    }
                    None if spaced => return None,
                    None => (hours, 0),
                }
            }
        };
        *self = ahead;
        Some(sign * (hours * 3_600 + minutes * 60) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str, rest: &str) {
        let found = leading(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let Stamp::Dated(at) = found.stamp else { panic!("{text}: no year") };
        assert_eq!((render(at).as_str(), found.rest), (expected, rest), "{text}");
    }

    #[test]
    fn every_documented_layout_is_read() {
        let noon = "2026-11-20T14:50:00Z";
        check("2026-11-20T14:50:00Z x", noon, " x");
        check("2026-11-20t14:50:00z", noon, "");
        check("2026-11-20T15:50:00+01:00 x", noon, " x");
        check("2026-11-20T15:50:00+0100 x", noon, " x");
        check("2026-11-20T15:50:00+01 x", noon, " x");
        check("2026-11-20 14:50:00 status", noon, " status");
        check("2026-11-20  14:50:00", noon, "");
        check("2026-11-20 14:50 x", noon, " x");
        check("2026-11-20 14:50:00 UTC [7] LOG", noon, " [7] LOG");
        check("2026-11-20 09:50:00 -0500", noon, "");
        check("2026-11-20 14:50:00 - api", noon, " - api");
        check("2026-11-20 14:50:00 -12 items", noon, " -12 items");
        check("2026/11/20 14:50:00 [error] 1#1: x", noon, " [error] 1#1: x");
        check("2026-11-20 14:50:00,123 x", "2026-11-20T14:50:00.123Z", " x");
        check("2026-11-20T14:50:00.123456789Z", "2026-11-20T14:50:00.123456Z", "");
        check("[2026-11-20 14:50:00] x", noon, " x");
        check("[Fri Nov 20 14:50:00.25 2026] [core:error]", "2026-11-20T14:50:00.25Z", " [core:error]");
        check("Fri Nov 20 14:50:00 UTC 2026", noon, "");
        check("Nov 20 2026 14:50:00 host x", noon, " host x");
        check("[20/Nov/2026:15:50:00 +0100] \"GET", noon, " \"GET");
        check("1795186200 x", noon, " x");
        check("1795186200.5 x", "2026-11-20T14:50:00.5Z", " x");
        check("1795186200000 x", noon, " x");
        check("1795186200000000 x", noon, " x");
        check("1795186200000000000 x", noon, " x");
        check("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z", "");
    }

    #[test]
    fn an_open_bracket_is_told() {
        let found = leading("[2026-11-20T14:50:00Z ERROR api] x").expect("a stamp");
        assert!(found.open_bracket);
        assert_eq!(found.rest, " ERROR api] x");
    }

    #[test]
    fn syslog_stamps_take_their_year_from_outside() {
        let found = leading("Nov  5 01:02:03 host sshd[1]: x").expect("a stamp");
        let Stamp::Undated(undated) = found.stamp else { panic!("dated") };
        assert_eq!(undated.month(), 11);
        assert_eq!(undated.in_year(2026).map(render).as_deref(), Ok("2026-11-05T01:02:03Z"));
        let leap = leading("Feb 29 00:00:00 h x").expect("a stamp");
        let Stamp::Undated(leap) = leap.stamp else { panic!("dated") };
        assert_eq!(leap.in_year(2027), Err(StampError::OutOfRange));
        assert!(leap.in_year(2028).is_ok());
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        for text in
            ["", "[", "hello", "May the force", "12 monkeys", "2026", "2026-11", "12345", "é", "Nov", "-1"]
        {
            assert_eq!(leading(text), Err(StampError::NotFound), "{text}");
        }
        assert_eq!(leading("2026-11-20T14:50:00abc"), Err(StampError::NotFound));
        for text in ["2026-13-20T14:50:00Z", "2026-02-30 14:50:00", "2026-11-20 25:00:00", "Nov 31 10:00:00"]
        {
            assert_eq!(leading(text), Err(StampError::OutOfRange), "{text}");
        }
        assert_eq!(whole("2026-11-20T14:50:00Z x"), Err(StampError::NotFound));
    }

    proptest! {
        #[test]
        fn rendering_reads_back(at in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
            prop_assert_eq!(whole(&render(at)), Ok(Stamp::Dated(at)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", shape in "[A-Za-z0-9:/ .,+-]{0,40}") {
            let _ = leading(&text);
            let _ = leading(&shape);
        }
    }
}
