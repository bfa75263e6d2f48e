//! Decides the year of stamps that name none, from all inputs together, before any line is parsed.
//!
//! The first undated line of every input lies in the base year: the one given, else the year of the latest
//! fully dated stamp seen anywhere, else 1970. Within one input a month that goes back by more than 6 starts
//! the next year. After such a start a month that goes forward by more than 6 is a straggler of the year
//! before, so that lines out of order around New Year do not add years; a log that is silent for over six
//! months after New Year is misread by that rule.
//!
//! Pure: no I/O, no clock. The caller feeds [`YearScan`] every line once, then parses with the [`YearHint`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stamp::{Stamp, StampError, render};

/// A month step above this is a change of year; half a year tells "back" from "forward".
const MONTH_STEP_MAX: i8 = 6;

/// Where the base year came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum YearOrigin {
    /// The `--year` option.
    Given,
    /// The latest fully dated stamp of the inputs.
    Inputs,
    /// Neither: 1970.
    Unknown,
}

/// The years of undated stamps, by input and line number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct YearHint {
    base: i16,
    origin: YearOrigin,
    undated: bool,
    /// Per input the lines at which the distance from the base year changes.
    shifts: BTreeMap<String, Vec<Shift>>,
}

impl YearHint {
    /// Returns a hint with one year for every line.
    #[cfg(test)]
    pub(crate) fn fixed(year: i16) -> Self {
        Self { base: year, origin: YearOrigin::Given, undated: false, shifts: BTreeMap::new() }
    }

    /// Places a stamp that stood on a line.
    ///
    /// # Errors
    /// `OutOfRange` where the year has no such day.
    pub(crate) fn place(&self, source: &str, number: u64, stamp: Stamp) -> Result<i64, StampError> {
        match stamp {
            Stamp::Dated(at) => Ok(at),
            Stamp::Undated(undated) => undated.in_year(self.year_of(source, number)),
        }
    }

    /// Returns a sentence for the report where the year was not given and undated stamps occurred.
    pub(crate) fn note(&self) -> Option<String> {
        let base = self.base;
        match self.origin {
            _ if !self.undated => None,
            YearOrigin::Given => None,
            YearOrigin::Inputs => Some(format!(
                "time stamps without a year were read as {base}, the latest year found in the inputs"
            )),
            YearOrigin::Unknown => Some(format!(
                "time stamps without a year were read as {base}: no input names a year; give one with --year"
            )),
        }
    }

    fn year_of(&self, source: &str, number: u64) -> i16 {
        let shifts = self.shifts.get(source).map_or(&[][..], Vec::as_slice);
        let index = shifts.partition_point(|shift| shift.from_line <= number);
        let years = index.checked_sub(1).map_or(0, |last| shifts[last].years);
        self.base.saturating_add(years)
    }
}

/// Collects what a [`YearHint`] needs; lines of one input must come in their order, inputs in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct YearScan {
    latest: Option<i64>,
    inputs: BTreeMap<String, Months>,
}

impl YearScan {
    /// Takes note of the stamp of one line.
    pub(crate) fn observe(&mut self, source: &str, number: u64, stamp: Stamp) {
        match stamp {
            Stamp::Dated(at) => self.latest = self.latest.max(Some(at)),
            Stamp::Undated(undated) => {
                if !self.inputs.contains_key(source) {
                    self.inputs.insert(source.to_owned(), Months::default());
                }
                if let Some(months) = self.inputs.get_mut(source) {
                    months.observe(number, undated.month());
                }
            }
        }
    }

    /// Decides the years; `given` is the `--year` option.
    pub(crate) fn finish(self, given: Option<i16>) -> YearHint {
        let (base, origin) = match (given, self.latest) {
            (Some(year), _) => (year, YearOrigin::Given),
            (None, Some(at)) => (year_at(at), YearOrigin::Inputs),
            (None, None) => (1970, YearOrigin::Unknown),
        };
        let undated = !self.inputs.is_empty();
        let shifts = self
            .inputs
            .into_iter()
            .filter(|(_, months)| !months.shifts.is_empty())
            .map(|(source, months)| (source, months.shifts))
            .collect();
        YearHint { base, origin, undated, shifts }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Shift {
    from_line: u64,
    years: i16,
}

#[derive(Clone, Debug, Default)]
struct Months {
    previous: Option<i8>,
    years: i16,
    shifts: Vec<Shift>,
}

impl Months {
    fn observe(&mut self, number: u64, month: i8) {
        let step = self.previous.map_or(0, |previous| month - previous);
        self.previous = Some(month);
        if step < -MONTH_STEP_MAX {
            self.years = self.years.saturating_add(1);
        } else if step > MONTH_STEP_MAX && self.years > 0 {
            self.years -= 1;
        } else {
            return;
        }
        self.shifts.push(Shift { from_line: number, years: self.years });
    }
}

fn year_at(at: i64) -> i16 {
    // The stamp was read by the calendar that renders it, so the text starts with its year.
    render(at).split('-').next().and_then(|year| year.parse().ok()).unwrap_or(1970)
}

#[cfg(test)]
mod tests {
    use super::super::stamp::leading;
    use super::*;

    fn stamp(text: &str) -> Stamp {
        leading(text).expect("a stamp").stamp
    }

    fn years(lines: &[&str], given: Option<i16>) -> Vec<String> {
        let mut scan = YearScan::default();
        for (number, line) in (1..).zip(lines) {
            scan.observe("a", number, stamp(line));
        }
        let hint = scan.finish(given);
        (1..).zip(lines).map(|(number, line)| placed(&hint, number, line)).collect()
    }

    fn placed(hint: &YearHint, number: u64, line: &str) -> String {
        let at = hint.place("a", number, stamp(line)).expect("a day of that year");
        render(at)[..7].to_owned()
    }

    #[test]
    fn the_base_year_is_given_or_found_or_1970() {
        let lines =
            ["Nov  5 01:00:00", "2024-03-01T00:00:00Z", "2026-11-20T14:50:00Z", "2025-01-01T00:00:00Z"];
        assert_eq!(years(&lines, Some(2010))[0], "2010-11");
        assert_eq!(years(&lines, None)[0], "2026-11");
        assert_eq!(years(&lines[..1], None)[0], "1970-11");
    }

    #[test]
    fn a_month_far_back_starts_the_next_year() {
        let lines =
            ["Nov 30 01:00:00", "Dec 31 23:00:00", "Jan  1 00:00:00", "Jun 1 00:00:00", "May 31 00:00:00"];
        assert_eq!(years(&lines, Some(2025)), ["2025-11", "2025-12", "2026-01", "2026-06", "2026-05"]);
    }

    #[test]
    fn stragglers_around_new_year_add_no_years() {
        let lines = ["Dec 31 23:00:00", "Jan  1 00:00:00", "Dec 31 23:59:00", "Jan  1 00:00:01"];
        assert_eq!(years(&lines, Some(2025)), ["2025-12", "2026-01", "2025-12", "2026-01"]);
    }

    #[test]
    fn the_note_is_there_only_when_the_year_was_guessed() {
        let mut scan = YearScan::default();
        scan.observe("a", 1, stamp("Nov  5 01:00:00"));
        assert!(scan.clone().finish(Some(2026)).note().is_none());
        assert!(scan.finish(None).note().is_some_and(|note| note.contains("1970")));
        assert!(YearScan::default().finish(None).note().is_none());
        assert!(YearHint::fixed(2026).note().is_none());
    }
}
