//! Turns one raw line into time, level, component and message, or says why it cannot.
//!
//! Read are JSON objects, access-log lines, syslog lines with or without a host name, RFC 5424 lines, and
//! plain lines that start with a time stamp, before which only `<priority>` and a level word may stand.
//! Terminal colours are removed. Of JSON objects these fields count, the first that is there:
//!
//! * time: `timestamp`, `time`, `ts`, `@timestamp`, `at`, `datetime`, `date`, `asctime`,
//!   `__REALTIME_TIMESTAMP`;
//! * level: `level`, `severity`, `lvl`, `levelname`, `loglevel`, `log_level`, `PRIORITY`;
//! * component: `component`, `service`, `logger`, `target`; else as in a plain line, from the message;
//! * message: `message`, `msg`, `event`, `text`, `error`, `MESSAGE`, and `message` inside `fields`; else the
//!   whole object without its time and level.
//!
//! Does not judge severity and does not repair anything. Pure: no I/O, no clock.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::component::{NO_COMPONENT, Split, split};
use super::severity::Severity;
use super::source::RawLine;
use super::stamp::{Layout, Leading, Stamp, StampError, leading, whole};
use super::year::YearHint;

const TIME_FIELDS: [&str; 9] =
    ["timestamp", "time", "ts", "@timestamp", "at", "datetime", "date", "asctime", "__REALTIME_TIMESTAMP"];
const LEVEL_FIELDS: [&str; 7] =
    ["level", "severity", "lvl", "levelname", "loglevel", "log_level", "PRIORITY"];
const COMPONENT_FIELDS: [&str; 4] = ["component", "service", "logger", "target"];
const MESSAGE_FIELDS: [&str; 6] = ["message", "msg", "event", "text", "error", "MESSAGE"];

/// The part of a line that is kept as an example of an incident; a longer one would swell every artifact.
const TEXT_BYTES_MAX: usize = 4_096;

/// A line that says when, and as far as it does, how bad, where and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ParsedLine {
    /// The input it came from.
    pub(crate) source: String,
    /// Its number there, from 1.
    pub(crate) number: u64,
    /// Its own time, in microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The level it gives itself.
    pub(crate) level: Option<Severity>,
    /// The HTTP status of an access-log line.
    pub(crate) status: Option<u16>,
    /// The component, or `-`.
    pub(crate) component: String,
    /// The rest without time, level and component.
    pub(crate) message: String,
    /// The line as it was, at most 4 KiB of it.
    pub(crate) text: String,
    /// Whether the line was longer than what is kept of it.
    pub(crate) truncated: bool,
}

/// Why a line could not be parsed; the text is the cause of its dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParseError {
    /// Nothing but blanks.
    #[error("blank line")]
    Blank,
    /// Starts with a blank and carries no stamp, like the lines of a stack trace.
    #[error("continuation line without a time stamp")]
    Continuation,
    /// Plain text that starts with no stamp.
    #[error(
        "no time stamp: looked at the start of the line for RFC 3339, ISO date-time, syslog, ctime, access-log and epoch forms"
    )]
    NoStamp,
    /// A stamp of a moment that does not exist.
    #[error("time stamp out of range: month, day, hour, minute, second or offset names no real moment")]
    BadStamp,
    /// Starts like a JSON object and is none.
    #[error("not a JSON object: {0}")]
    BadJson(String),
    /// A JSON object that was cut at the limit of a line.
    #[error("a JSON object longer than what is kept of a line")]
    CutJson,
    /// A JSON object without a usable time.
    #[error("no time stamp: looked for the JSON fields {}", TIME_FIELDS.join(", "))]
    NoStampField,
}

impl ParseError {
    /// Returns a short stable name, for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Continuation => "continuation",
            Self::NoStamp => "no_stamp",
            Self::BadStamp => "bad_stamp",
            Self::BadJson(_) => "bad_json",
            Self::CutJson => "cut_json",
            Self::NoStampField => "no_stamp_field",
        }
    }
}

/// Parses a line; stamps without a year take it from the hint.
///
/// # Errors
/// See [`ParseError`].
pub(crate) fn parse(raw: &RawLine, years: &YearHint) -> Result<ParsedLine, ParseError> {
    let clean = without_colours(&raw.text);
    let parts = read(&clean, raw.truncated)?;
    let at = years.place(&raw.source, raw.number, parts.stamp).map_err(|_| ParseError::BadStamp)?;
    Ok(ParsedLine {
        source: raw.source.clone(),
        number: raw.number,
        at,
        level: parts.level,
        status: parts.status,
        component: parts.component.unwrap_or_else(|| NO_COMPONENT.to_owned()),
        message: parts.message,
        text: kept(&raw.text),
        truncated: raw.truncated,
    })
}

/// Finds only the stamp of a line, for the scan that decides the years.
pub(crate) fn stamp_of(raw: &RawLine) -> Option<Stamp> {
    let clean = without_colours(&raw.text);
    read(&clean, raw.truncated).ok().map(|parts| parts.stamp)
}

struct Parts {
    stamp: Stamp,
    level: Option<Severity>,
    status: Option<u16>,
    component: Option<String>,
    message: String,
}

impl Parts {
    fn new(stamp: Stamp, level: Option<Severity>, split: Split<'_>) -> Self {
        Self {
            stamp,
            level: level.max(split.level),
            status: None,
            component: split.component.map(str::to_owned),
            message: split.message.to_owned(),
        }
    }
}

fn read(text: &str, truncated: bool) -> Result<Parts, ParseError> {
    let line = text.trim();
    if line.is_empty() {
        return Err(ParseError::Blank);
    }
    if line.starts_with('{') {
        return read_json(line, truncated);
    }
    let (priority, version, body) = without_priority(line);
    if version && let Some(parts) = read_rfc5424(body, priority) {
        return Ok(parts);
    }
    match leading(body) {
        Ok(found) => Ok(read_plain(found, priority)),
        Err(StampError::OutOfRange) => Err(ParseError::BadStamp),
        Err(StampError::NotFound) => match read_level_first(body).or_else(|| read_access(body)) {
            Some(parts) => Ok(parts),
            None if text.starts_with([' ', '\t']) => Err(ParseError::Continuation),
            None => Err(ParseError::NoStamp),
        },
    }
}

/// Takes `<34>` and the version digit of RFC 5424 from the start.
fn without_priority(line: &str) -> (Option<Severity>, bool, &str) {
    let found = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    let Some((priority, rest)) = found.filter(|(digits, _)| (1..=3).contains(&digits.len())) else {
        return (None, false, line);
    };
    match priority.parse::<u16>() {
        Err(_) => (None, false, line),
        Ok(priority) => {
            let body = rest.strip_prefix("1 ");
            (Some(Severity::from_syslog(priority)), body.is_some(), body.unwrap_or(rest))
        }
    }
}

/// `STAMP HOST APP PROCID MSGID DATA MESSAGE`.
fn read_rfc5424(body: &str, level: Option<Severity>) -> Option<Parts> {
    let found = leading(body).ok()?;
    let mut fields = found.rest.trim_start().splitn(5, ' ');
    let (_host, app, _pid, _id) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let rest = fields.next().unwrap_or_default();
    let message = match rest.strip_prefix('[') {
        Some(data) => data.split_once("] ").map_or("", |(_, message)| message),
        None => rest.strip_prefix('-').unwrap_or(rest),
    };
    let mut parts = Parts::new(found.stamp, level, Split { message, ..Split::default() });
    parts.message = message.trim_start_matches('\u{feff}').trim().to_owned();
    parts.component = (app != "-").then(|| app.to_owned());
    Some(parts)
}

fn read_plain(found: Leading<'_>, priority: Option<Severity>) -> Parts {
    if found.open_bracket {
        return read_bracketed(found, priority);
    }
    let rest = found.rest.trim_start_matches([' ', '\t', ':', ',', ';', '|']);
    let plain = split(rest);
    let named = plain.component.is_some() || plain.level.is_some();
    let chosen = if named { plain } else { without_host(rest, found.layout).unwrap_or(plain) };
    Parts::new(found.stamp, priority, chosen)
}

/// Skips a host name, where what follows it is surely a syslog tag.
fn without_host(rest: &str, layout: Layout) -> Option<Split<'_>> {
    let (host, after) = rest.split_once(' ')?;
    let fits = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    let found = split(after);
    // With a full date a first word is more often part of the message; only a process number makes it a host.
    let tagged = match layout {
        Layout::Syslog => found.component.is_some(),
        Layout::Iso => found.has_pid || found.component == Some("kernel"),
        Layout::Ctime | Layout::Access | Layout::Epoch => false,
    };
    (fits && tagged).then_some(found)
}

/// `[2026-11-20T14:50:00Z ERROR api] message`: level and component stand inside the bracket.
fn read_bracketed(found: Leading<'_>, priority: Option<Severity>) -> Parts {
    let (inside, message) = found.rest.split_once(']').unwrap_or((found.rest, ""));
    let mut words = inside.split_whitespace().peekable();
    let level = words.peek().and_then(|word| Severity::from_word(word));
    if level.is_some() {
        words.next();
    }
    let mut parts = Parts::new(found.stamp, priority.max(level), split(message));
    if let Some(name) = words.next().filter(|word| super::component::is_name(word)) {
        parts.component = Some(name.to_owned());
        parts.message = message.trim().to_owned();
    }
    parts
}

/// `ERROR 2026-11-20 14:50:00 api: message`.
fn read_level_first(body: &str) -> Option<Parts> {
    let (first, rest) = body.split_once(' ')?;
    let level = Severity::from_word(first.trim_matches(['[', ']', ':', '<', '>']))?;
    leading(rest.trim_start()).ok().map(|found| read_plain(found, Some(level)))
}

/// `10.0.0.1 - - [20/Nov/2026:14:50:00 +0000] "GET /a HTTP/1.1" 502 157 "-" "agent"`.
///
/// The message is method, path, status and its reason phrase, so that a template without numbers still tells
/// a bad gateway from an internal error.
fn read_access(body: &str) -> Option<Parts> {
    let open = body.find(" [")? + 1;
    let found = leading(&body[open..]).ok().filter(|found| found.layout == Layout::Access)?;
    let mut parts = Parts::new(found.stamp, None, Split { message: found.rest.trim(), ..Split::default() });
    let quoted = found.rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once("\" "));
    let (request, rest) = quoted.unwrap_or_default();
    if let Some(status) = rest.split(' ').next().and_then(|word| word.parse::<u16>().ok()) {
        let request = request.split(" HTTP/").next().unwrap_or(request);
        parts.status = Some(status);
        parts.message = format!("{request} {status} {}", reason_phrase(status)).trim().to_owned();
    }
    Some(parts)
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

fn read_json(line: &str, truncated: bool) -> Result<Parts, ParseError> {
    let mut object: Map<String, Value> = match serde_json::from_str(line) {
        Ok(object) => object,
        Err(_) if truncated => return Err(ParseError::CutJson),
        Err(error) => return Err(ParseError::BadJson(error.to_string())),
    };
    let time = first_of(&object, &TIME_FIELDS).ok_or(ParseError::NoStampField)?;
    let stamp = stamp_in(time).map_err(|error| match error {
        StampError::NotFound => ParseError::NoStampField,
        StampError::OutOfRange => ParseError::BadStamp,
    })?;
    let level = first_of(&object, &LEVEL_FIELDS).and_then(level_in);
    let component =
        COMPONENT_FIELDS.iter().find_map(|name| object.get(*name).and_then(nonempty)).map(str::to_owned);
    let nested = object.get("fields").and_then(|fields| fields.get("message"));
    let message = MESSAGE_FIELDS.iter().find_map(|name| object.get(*name)).or(nested).and_then(Value::as_str);
    let message = match message {
        Some(message) => message.to_owned(),
        None => {
            object.retain(|name, _| {
                !TIME_FIELDS.contains(&name.as_str()) && !LEVEL_FIELDS.contains(&name.as_str())
            });
            Value::Object(object).to_string()
        }
    };
    if component.is_some() {
        return Ok(Parts { stamp, level, status: None, component, message });
    }
    Ok(Parts::new(stamp, level, split(&message)))
}

fn first_of<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| object.get(*name).filter(|value| !value.is_null()))
}

/// Reads a JSON value as a stamp: text in any known form, or a number of the epoch.
fn stamp_in(value: &Value) -> Result<Stamp, StampError> {
    match value {
        Value::String(text) => whole(text),
        Value::Number(number) => whole(&number.to_string()),
        _ => Err(StampError::NotFound),
    }
}

fn level_in(value: &Value) -> Option<Severity> {
    match value {
        Value::String(word) => {
            Severity::from_word(word).or_else(|| Severity::from_number(word.parse().ok()?))
        }
        Value::Number(number) => Severity::from_number(number.as_u64()?),
        _ => None,
    }
}

fn nonempty(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|name| !name.is_empty())
}

/// Removes escape sequences such as `ESC [ 31 m`.
fn without_colours(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split("\u{1b}[");
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let mut rest = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').chars();
        // The letter that ends the sequence.
        rest.next();
        clean.push_str(rest.as_str());
    }
    Cow::Owned(clean)
}

fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::stamp::render;
    use super::*;

    fn raw(text: &str) -> RawLine {
        RawLine { source: "a".into(), number: 1, text: text.into(), truncated: false, lossy: false }
    }

    fn check(text: &str, level: Option<Severity>, component: &str, message: &str) {
        let line =
            parse(&raw(text), &YearHint::fixed(2026)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(render(line.at), "2026-11-20T14:50:00Z", "{text}");
        assert_eq!(
            (line.level, line.component.as_str(), line.message.as_str()),
            (level, component, message),
            "{text}"
        );
        assert_eq!(line.text, text);
    }

    const ERROR: Option<Severity> = Some(Severity::Error);

    #[test]
    fn plain_lines_are_read() {
        check("2026-11-20T14:50:00Z ERROR api: it broke", ERROR, "api", "it broke");
        check("2026-11-20 14:50:00 status installed a:amd64 1", None, "-", "status installed a:amd64 1");
        check("2026-11-20 14:50:00,000 - api - ERROR - it broke", None, "-", "api - ERROR - it broke");
        check("[2026-11-20T14:50:00Z ERROR volery::bus] it broke", ERROR, "volery::bus", "it broke");
        check("ERROR 2026-11-20 14:50:00 api: it broke", ERROR, "api", "it broke");
        check("[ERROR] [2026-11-20 14:50:00] [api] it broke", ERROR, "api", "it broke");
        check("1795186200 [api] it broke", None, "api", "it broke");
        check("2026/11/20 14:50:00 [error] 7#8: *9 open() failed", ERROR, "-", "*9 open() failed");
        check(
            "[Fri Nov 20 14:50:00.000000 2026] [core:error] [pid 7:tid 8] x",
            ERROR,
            "core",
            "[pid 7:tid 8] x",
        );
        check("\u{1b}[2m2026-11-20T14:50:00Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m api: x", ERROR, "api", "x");
        check("2026-11-20 14:50:00.000 UTC [7] FATAL:  no role", Some(Severity::Critical), "-", "no role");
    }

    #[test]
    fn syslog_lines_are_read_with_and_without_host() {
        check("Nov 20 14:50:00 host sshd[7]: error: kex", ERROR, "sshd", "kex");
        check("Nov 20 14:50:00 sshd[7]: it broke", None, "sshd", "it broke");
        check("Nov 20 14:50:00 host auth.err sshd[7]: error: kex", ERROR, "sshd", "kex");
        check("Nov 20 14:50:00 host kernel: [1.0] oops", None, "kernel", "[1.0] oops");
        check("Nov 20 14:50:00 it broke", None, "-", "it broke");
        check("2026-11-20T14:50:00.000000+00:00 host sshd[7]: it broke", None, "sshd", "it broke");
        check("2026-11-20T14:50:00Z reading config: it broke", None, "-", "reading config: it broke");
        check("<11>Nov 20 14:50:00 host api: it broke", ERROR, "api", "it broke");
        check("<11>1 2026-11-20T14:50:00Z host api 7 ID [a b=\"c\"] it broke", ERROR, "api", "it broke");
        check("<11>1 2026-11-20T14:50:00Z host - - - - it broke", ERROR, "-", "it broke");
    }

    #[test]
    fn access_lines_give_their_status() {
        let text =
            r#"10.0.0.1 - bob [20/Nov/2026:14:50:00 +0000] "GET /a/7?x=y HTTP/1.1" 502 157 "-" "curl""#;
        check(text, None, "-", "GET /a/7?x=y 502 Bad Gateway");
        let status = |text: &str| parse(&raw(text), &YearHint::fixed(2026)).map(|line| line.status);
        assert_eq!(status(text), Ok(Some(502)));
        assert_eq!(status(r#"::1 - - [20/Nov/2026:14:50:00 +0000] "" 400 0"#), Ok(Some(400)));
        assert_eq!(status("::1 - - [20/Nov/2026:14:50:00 +0000] cut"), Ok(None));
    }

    #[test]
    fn json_fields_are_read() {
        check(
            r#"{"at":1795186200,"level":"error","component":"api","msg":"it: broke"}"#,
            ERROR,
            "api",
            "it: broke",
        );
        check(
            r#"{"time":"2026-11-20T14:50:00Z","level":50,"target":"b","service":"a","message":"x"}"#,
            ERROR,
            "a",
            "x",
        );
        check(
            r#"{"timestamp":"2026-11-20T14:50:00Z","level":"ERROR","fields":{"message":"x"}}"#,
            ERROR,
            "-",
            "x",
        );
        check(r#"{"ts":1795186200.0,"PRIORITY":"3","message":"api: x"}"#, ERROR, "api", "x");
        check(
            r#"{"ts":1795186200,"component":"","level":4}"#,
            Some(Severity::Warning),
            "-",
            r#"{"component":""}"#,
        );
    }

    #[test]
    fn every_refusal_has_its_cause() {
        let check = |text: &str, expected: &str| {
            let error = parse(&raw(text), &YearHint::fixed(2026)).expect_err(text);
            assert_eq!(error.kind(), expected, "{text}");
        };
        check("", "blank");
        check(" \t", "blank");
        check("\tat com.example.Main(Main.java:7)", "continuation");
        check("hello", "no_stamp");
        check("é", "no_stamp");
        check("<999999>x", "no_stamp");
        check("2026-13-20 14:50:00 x", "bad_stamp");
        check("Feb 29 14:50:00 host x", "bad_stamp");
        check("{broken", "bad_json");
        check("{\"a\":1}", "no_stamp_field");
        check("{\"ts\":\"soon\"}", "no_stamp_field");
        check(&"{\"a\":".repeat(1_000), "bad_json");
        let cut = RawLine { truncated: true, ..raw("{\"a\":\"") };
        assert_eq!(parse(&cut, &YearHint::fixed(2026)), Err(ParseError::CutJson));
    }

    #[test]
    fn what_is_kept_of_a_line_is_bounded() {
        let text = format!("2026-11-20T14:50:00Z {}", "é".repeat(60_000));
        let line = parse(&raw(&text), &YearHint::fixed(2026)).expect("parses");
        assert!(line.text.len() <= TEXT_BYTES_MAX && line.message.len() == 120_000);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}", stamped in "[ -~\u{1b}é]{0,60}") {
            let _ = parse(&raw(&text), &YearHint::fixed(2026));
            let _ = parse(&raw(&format!("2026-11-20 14:50:00 {stamped}")), &YearHint::fixed(2026));
            let _ = parse(&raw(&format!("<1>1 2026-11-20T14:50:00Z {stamped}")), &YearHint::fixed(2026));
        }
    }
}
