//! Splits what follows a time stamp into level, component and message.
//!
//! The component is the first of these after the time stamp and the level: `[name]`, `name:`, `name[pid]:`. A
//! name is one word of at most 80 letters, digits and `_-./:@+$()`, and contains a letter. Without one the
//! component is `-`.
//!
//! A level is a level word (see `severity.rs`) in brackets or with a colon, or bare in capitals, or bare in
//! any case before a component; also the busybox form `auth.err` and Apache's `[core:error]`, which gives the
//! component `core`. Process numbers before the component (`[123]`, `123#4:`, `[pid 12:tid 3]`) and single
//! dashes are skipped. Pure: no I/O, no clock.

use super::severity::Severity;

/// The component of a line that names none.
pub(crate) const NO_COMPONENT: &str = "-";

/// Longer words are data, not names.
const NAME_LENGTH_MAX: usize = 80;

/// Level, component and process number are three; more tokens than this are not a prefix but a message.
const PREFIX_TOKENS_MAX: usize = 6;

const FACILITIES: [&str; 21] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "security", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// The parts of a line after its time stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split<'a> {
    /// The level, where the line gives one; the higher of two.
    pub(crate) level: Option<Severity>,
    /// The component, where the line names one.
    pub(crate) component: Option<&'a str>,
    /// Whether the component was written as `name[pid]:`, which only daemons do.
    pub(crate) has_pid: bool,
    /// The rest of the line.
    pub(crate) message: &'a str,
}

/// Splits a text at its level and its component; see the head of this file for the rule.
pub(crate) fn split(text: &str) -> Split<'_> {
    let mut parts = Split { message: text.trim(), ..Split::default() };
    for _ in 0..PREFIX_TOKENS_MAX {
        let Some((token, rest)) = next_token(parts.message) else { break };
        if !take(&mut parts, token, rest) {
            break;
        }
        parts.message = rest.trim_start();
    }
    parts
}

/// Tells whether a word can be a component.
pub(crate) fn is_name(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-./:@+$()".contains(&byte);
    word.len() <= NAME_LENGTH_MAX
        && word.chars().any(char::is_alphabetic)
        && word.bytes().all(allowed)
        && word.starts_with(|c: char| c.is_alphanumeric() || "_/(".contains(c))
}

#[derive(Clone, Copy, Debug)]
enum Token<'a> {
    /// The inside of `[...]`.
    Bracket(&'a str),
    /// A word with a colon at its end, without the colon.
    Label(&'a str),
    /// Any other word.
    Word(&'a str),
}

fn next_token(text: &str) -> Option<(Token<'_>, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        // A bracket that is not closed soon opens data, not a prefix.
        let window = inner.as_bytes().iter().take(2 * NAME_LENGTH_MAX);
        let end = window.into_iter().position(|byte| *byte == b']')?;
        let rest = &inner[end + 1..];
        return Some((Token::Bracket(inner[..end].trim()), rest.strip_prefix(':').unwrap_or(rest)));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    match word.strip_suffix(':') {
        _ if word.is_empty() => None,
        Some(label) => Some((Token::Label(label), rest)),
        None => Some((Token::Word(word), rest)),
    }
}

/// Adds a token to the parts; false where it already belongs to the message.
fn take<'a>(parts: &mut Split<'a>, token: Token<'a>, rest: &str) -> bool {
    match token {
        Token::Bracket(inner) => take_level(parts, inner) || take_bracket(parts, inner),
        Token::Label(label) => take_level(parts, label) || take_label(parts, label),
        Token::Word(word) => take_word(parts, word, rest),
    }
}

fn take_level(parts: &mut Split<'_>, word: &str) -> bool {
    let level = Severity::from_word(word);
    parts.level = parts.level.max(level);
    level.is_some()
}

fn take_bracket<'a>(parts: &mut Split<'a>, inner: &'a str) -> bool {
    if parts.component.is_some() {
        return false;
    }
    if is_number(inner) || inner.starts_with("pid ") {
        return true;
    }
    if let Some((module, level)) = inner.rsplit_once(':')
        && (module.is_empty() || is_name(module))
        && take_level(parts, level)
    {
        parts.component = Some(module).filter(|module| !module.is_empty());
        return true;
    }
    take_name(parts, inner)
}

fn take_label<'a>(parts: &mut Split<'a>, label: &'a str) -> bool {
    if parts.component.is_some() {
        return false;
    }
    if label.split('#').all(is_number) {
        return true;
    }
    let tagged = label.strip_suffix(']').and_then(|tag| tag.rsplit_once('['));
    match tagged.filter(|(_, pid)| is_number(pid)) {
        Some((name, _)) => {
            parts.has_pid = true;
            take_name(parts, name)
        }
        None => take_name(parts, label),
    }
}

fn take_word(parts: &mut Split<'_>, word: &str, rest: &str) -> bool {
    if word == "-" || word == "|" {
        return parts.component.is_none();
    }
    let unbraced = word.strip_prefix(['<', '(']).and_then(|word| word.strip_suffix(['>', ')']));
    if let Some(inner) = unbraced {
        return take_level(parts, inner);
    }
    if let Some((facility, priority)) = word.split_once('.')
        && FACILITIES.contains(&facility)
    {
        return take_level(parts, priority);
    }
    // MySQL writes a thread number before the bracketed level.
    if is_number(word) {
        return parts.component.is_none() && rest.trim_start().starts_with('[');
    }
    let capitals = word.bytes().all(|byte| byte.is_ascii_uppercase());
    let unnamed = parts.component.is_none() && parts.level.is_none();
    (capitals || (unnamed && opens_with_component(rest))) && take_level(parts, word)
}

fn opens_with_component(text: &str) -> bool {
    match next_token(text.trim_start()) {
        Some((Token::Bracket(inner), _)) => is_name(inner),
        Some((Token::Label(label), _)) => is_name(label.split('[').next().unwrap_or(label)),
        Some((Token::Word(_), _)) | None => false,
    }
}

fn take_name<'a>(parts: &mut Split<'a>, name: &'a str) -> bool {
    let fits = is_name(name);
    if fits {
        parts.component = Some(name);
    }
    fits
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, level: Option<Severity>, component: Option<&str>, message: &str) {
        let parts = split(text);
        assert_eq!((parts.level, parts.component, parts.message), (level, component, message), "{text}");
    }

    #[test]
    fn the_component_stands_after_the_level() {
        let error = Some(Severity::Error);
        check(" ERROR api: it broke: badly", error, Some("api"), "it broke: badly");
        check(" [error] [api] it broke", error, Some("api"), "it broke");
        check(" error api[7]: it broke", error, Some("api"), "it broke");
        check(" api[7]: error: it broke", error, Some("api"), "it broke");
        check(" auth.err sshd[5642]: error: kex", error, Some("sshd"), "kex");
        check(" [api] ERROR it broke", error, Some("api"), "it broke");
        check(" ERROR volery::bus: it broke", error, Some("volery::bus"), "it broke");
        check(
            " [core:error] [pid 12:tid 3] [client ::1] x",
            error,
            Some("core"),
            "[pid 12:tid 3] [client ::1] x",
        );
        check(" [error] 12#13: *4 open() failed", error, None, "*4 open() failed");
        check(" [12] ERROR:  relation", error, None, "relation");
        check(" 0 [Warning] [MY-010] [Server] x", Some(Severity::Warning), Some("MY-010"), "[Server] x");
        check(" <info> api: x", Some(Severity::Info), Some("api"), "x");
        check(" [INFO]: x", Some(Severity::Info), None, "x");
        check("", None, None, "");
    }

    #[test]
    fn what_is_no_name_is_part_of_the_message() {
        check(" status installed a:amd64", None, None, "status installed a:amd64");
        check(" https://a.b: x", None, Some("https://a.b"), "x");
        check(" 10.0.0.1: x", None, None, "10.0.0.1: x");
        check(" [two words] x", None, None, "[two words] x");
        check(" [open x", None, None, "[open x");
        check(" error reading it", None, None, "error reading it");
        check(" a=b: x", None, None, "a=b: x");
        check(&format!(" {}: x", "n".repeat(81)), None, None, &format!("{}: x", "n".repeat(81)));
    }

    proptest! {
        #[test]
        fn the_message_is_a_tail_of_the_text(text in "[ -~é]{0,60}") {
            let parts = split(&text);
            prop_assert!(text.trim().ends_with(parts.message));
            prop_assert!(parts.component.is_none_or(is_name));
        }
    }
}
