//! Reads deployment files: JSON lines or CSV with `at`, `component` and `summary`.
//!
//! The columns of a CSV file may stand in any order, further ones are ignored; fields may be quoted, a
//! doubled quote is one quote, and a quoted field ends on its line. Lines that start with `#` are comments.
//! `at` is any complete time stamp of `stamp.rs`; a missing summary is empty, a missing component is an
//! error. Pure: no I/O, no clock.

use serde_json::{Map, Value};

use super::changes::{ChangeFile, dated};
use super::source::RawLine;

/// Where the three columns stand in a CSV file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    at: usize,
    component: usize,
    summary: usize,
}

impl Columns {
    /// Reads a header; `None` where a column is missing.
    pub(crate) fn from_header(line: &str) -> Option<Self> {
        let names = fields(line).ok()?;
        let index = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
        Some(Self { at: index("at")?, component: index("component")?, summary: index("summary")? })
    }
}

/// Reads JSON lines.
pub(crate) fn read_json_lines(lines: &[RawLine]) -> ChangeFile {
    let mut file = ChangeFile::default();
    for line in content(lines) {
        match json_entry(&line.text) {
            Ok((at, component, summary)) => file.push(line, at, &component, summary, false),
            Err(cause) => file.refuse(line, cause),
        }
    }
    file
}

/// Reads CSV; the first line that is no comment is the header.
pub(crate) fn read_csv(lines: &[RawLine]) -> ChangeFile {
    let mut file = ChangeFile::default();
    let mut columns = None;
    for line in content(lines) {
        let Some(columns) = columns else {
            columns = Columns::from_header(&line.text);
            if columns.is_none() {
                file.refuse(line, "expected the header at,component,summary");
            }
            continue;
        };
        match csv_entry(&line.text, columns) {
            Ok((at, component, summary)) => file.push(line, at, &component, summary, false),
            Err(cause) => file.refuse(line, cause),
        }
    }
    file
}

fn content(lines: &[RawLine]) -> impl Iterator<Item = &RawLine> {
    lines.iter().filter(|line| !line.text.trim().is_empty() && !line.text.starts_with('#'))
}

fn json_entry(text: &str) -> Result<(i64, String, String), String> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))?;
    let at = match object.get("at") {
        Some(Value::String(at)) => dated(at)?,
        Some(Value::Number(at)) => dated(&at.to_string())?,
        Some(_) | None => return Err("no `at`: expected a time stamp".to_owned()),
    };
    let word = |name: &str| object.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    entry(at, word("component"), word("summary"))
}

fn csv_entry(text: &str, columns: Columns) -> Result<(i64, String, String), String> {
    let fields = fields(text)?;
    let field = |index: usize| fields.get(index).map(|field| field.trim()).unwrap_or_default();
    entry(dated(field(columns.at))?, field(columns.component), field(columns.summary))
}

fn entry(at: i64, component: &str, summary: &str) -> Result<(i64, String, String), String> {
    if component.is_empty() {
        return Err("no `component`: expected the name of what was deployed".to_owned());
    }
    Ok((at, component.to_owned(), summary.to_owned()))
}

/// Splits a CSV line.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().ok_or("no field")?;
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted { Err("a quoted field that does not end on its line".to_owned()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::super::changes::read_changes;
    use super::super::changes::tests::lines;

    fn check(text: &str, expected: &[(&str, &str)], errors: &[u64]) {
        let file = read_changes(&lines(text));
        let changes: Vec<_> =
            file.changes.iter().map(|c| (c.component.as_str(), c.summary.as_str())).collect();
        assert_eq!(changes, expected);
        assert_eq!(file.errors.iter().map(|error| error.line).collect::<Vec<_>>(), errors);
        assert!(file.changes.iter().all(|change| change.at == 1_795_186_200_000_000 && !change.package));
    }

    #[test]
    fn json_lines_are_read() {
        check(
            r#"{"at": "2026-11-20T14:50:00Z", "component": "api", "summary": "v2"}
{"at": 1795186200, "component": "bus"}
{"at": "Nov 20 14:50:00", "component": "api"}
{"at": "2026-11-20T14:50:00Z"}
{broken"#,
            &[("api", "v2"), ("bus", "")],
            &[3, 4, 5],
        );
    }

    #[test]
    fn csv_is_read_with_quotes_and_any_order_of_columns() {
        check(
            "# made by hand
Summary, at ,component,by
\"v2, \"\"final\"\"\",2026-11-20T15:50:00+01:00,api,me
v3,2026-11-20 14:50:00,bus
v4,yesterday,bus
v5,2026-11-20 14:50:00,
\"open,2026-11-20 14:50:00,bus",
            &[("api", "v2, \"final\""), ("bus", "v3")],
            &[5, 6, 7],
        );
    }
}
