//! Reduces a message to its template: what varies from case to case is replaced by a placeholder.
//!
//! | Found | Becomes |
//! |---|---|
//! | `"..."`, `'...'`, `` `...` `` | `<str>` |
//! | UUID | `<uuid>` |
//! | IPv4 with or without prefix length, IPv6 | `<ip>` |
//! | MAC address | `<mac>` |
//! | `name@host.domain` | `<email>` |
//! | ISO date with or without time, `hh:mm:ss` | `<time>` |
//! | number with a unit of time: `1.5s`, `1h2m`, `900ms` | `<dur>` |
//! | number with a unit of size: `12MB`, `4KiB` | `<size>` |
//! | number, hexadecimal word of 4 or more with a digit, word with digits elsewhere than only at its end | `<n>` |
//! | digits at the end of a word: `worker12` | `worker<n>` |
//! | what follows `/tmp/`; the next part after `/home/`, `/Users/` | `<path>`; `<name>` |
//! | `?key=value...` up to the next blank or quote | `?<query>` |
//! | blanks and control characters in a row | one blank |
//!
//! Numbers and hexadecimal ids share a placeholder, because an id may happen to consist of digits. Words are
//! separated by anything but letters and digits, so `/srv/app12/job_7` becomes `/srv/app<n>/job_<n>`. A
//! scanner by hand, linear in the message. Pure: no I/O, no clock.

use std::net::Ipv6Addr;

/// A longer template is cut here: the first kilobyte tells messages apart, and clusters are kept per
/// template.
const TEMPLATE_BYTES_MAX: usize = 1_024;

/// A query string names its first key within this many bytes; more would make hostile lines slow.
const QUERY_KEY_BYTES_MAX: usize = 64;

/// The longest text form of an IPv6 address.
const IPV6_BYTES_MAX: usize = 45;

/// Shorter hexadecimal words with a digit are more often names (`b2`, `eth0`) than ids.
const HEX_WORD_BYTES_MIN: usize = 4;

/// Units of one hexadecimal letter (`b`, `B`, `d`) are left out: they would split ids such as `12345d`.
const TIME_UNITS: [&str; 18] = [
    "ns", "us", "µs", "μs", "ms", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minutes",
    "h", "hr", "hours", "days",
];
const SIZE_UNITS: [&str; 14] =
    ["k", "K", "kB", "KB", "KiB", "M", "MB", "MiB", "G", "GB", "GiB", "TB", "TiB", "bytes"];

/// Returns the template of a message.
pub(crate) fn fingerprint(message: &str) -> String {
    let mut scanner = Scanner {
        text: message,
        bytes: message.as_bytes(),
        at: 0,
        template: String::with_capacity(message.len().min(TEMPLATE_BYTES_MAX)),
        token: 0,
        unclosed: [false; 3],
    };
    scanner.run();
    scanner.finish()
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    template: String,
    /// Where the current blank-separated token starts in the template; an e-mail address is masked back to
    /// it.
    token: usize,
    /// Per kind of quote: no closing one is left, so that it is looked for only once.
    unclosed: [bool; 3],
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.peek(0) {
            if self.template.len() > TEMPLATE_BYTES_MAX {
                return;
            }
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.word_or_address(),
                b'"' | b'\'' | b'`' => self.quote(byte),
                b'/' => self.path(),
                b'?' => self.query(),
                b'@' => self.at_sign(),
                b':' if self.peek(1) == Some(b':') => self.colons(),
                0..=b' ' | 0x7f => self.blank(),
                _ => self.copy(1),
            }
        }
    }

    fn finish(self) -> String {
        let mut template = self.template;
        if template.len() > TEMPLATE_BYTES_MAX {
            template.truncate(template.floor_char_boundary(TEMPLATE_BYTES_MAX));
            template.push('…');
        }
        template.truncate(template.trim_end().len());
        template
    }

    fn word_or_address(&mut self) {
        let masked = self.uuid().or_else(|| self.network_address()).or_else(|| self.date_or_time());
        if let Some((length, placeholder)) = masked {
            return self.mask(length, placeholder);
        }
        if self.bytes[self.at].is_ascii_digit() { self.number() } else { self.word() }
    }

    fn uuid(&self) -> Option<(usize, &'static str)> {
        let window = self.bytes.get(self.at..self.at + 36).filter(|window| window[8] == b'-')?;
        let fits = window.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        (fits && self.ends_word(36)).then_some((36, "<uuid>"))
    }

    fn date_or_time(&self) -> Option<(usize, &'static str)> {
        let time = |start: usize| self.shaped(start, b"00:00:00");
        if time(0) {
            return Some((8 + self.fraction(8), "<time>"));
        }
        if !self.shaped(0, b"0000-00-00") && !self.shaped(0, b"0000/00/00") {
            return None;
        }
        let separated = self.peek(10).is_some_and(|byte| b"T t_".contains(&byte));
        if !separated || !time(11) {
            return Some((10, "<time>"));
        }
        let mut length = 19 + self.fraction(19);
        if self.peek(length).is_some_and(|byte| b"Zz".contains(&byte)) {
            length += 1;
        } else if self.shaped(length, b"+00:00") || self.shaped(length, b"-00:00") {
            length += 6;
        }
        Some((length, "<time>"))
    }

    fn network_address(&self) -> Option<(usize, &'static str)> {
        if !self.bytes[self.at].is_ascii_hexdigit() {
            return None;
        }
        if self.shaped(0, b"xx:xx:xx:xx:xx:xx") || self.shaped(0, b"xx-xx-xx-xx-xx-xx") {
            return Some((17, "<mac>"));
        }
        // An IPv6 group has at most four digits before its colon.
        if (1..=4).any(|ahead| self.peek(ahead) == Some(b':')) {
            return self.ipv6().map(|length| (length, "<ip>"));
        }
        self.ipv4().map(|length| (length, "<ip>"))
    }

    fn ipv4(&self) -> Option<usize> {
        let mut length = 0;
        for group in 0..4 {
            if group > 0 {
                self.peek(length).filter(|byte| *byte == b'.')?;
                length += 1;
            }
            let digits = self.run_of(length, 4, |byte| byte.is_ascii_digit());
            if !(1..=3).contains(&digits) {
                return None;
            }
            length += digits;
        }
        let more =
            self.peek(length) == Some(b'.') && self.peek(length + 1).is_some_and(|b| b.is_ascii_digit());
        (self.ends_word(length) && !more).then(|| length + self.prefix_length(length))
    }

    /// A run of hexadecimal digits, colons and dots that the standard library takes for an address.
    fn ipv6(&self) -> Option<usize> {
        let length =
            self.run_of(0, IPV6_BYTES_MAX + 1, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
        let run = self.text.get(self.at..self.at + length)?;
        // Rust paths such as `a::b` are addresses by shape; real ones contain a digit.
        let digit = run.bytes().any(|byte| byte.is_ascii_digit());
        let trimmed = run.trim_end_matches(['.', ':']);
        let found = [run, trimmed].into_iter().find(|run| digit && run.parse::<Ipv6Addr>().is_ok())?;
        self.ends_word(found.len()).then(|| found.len() + self.prefix_length(found.len()))
    }

    /// `/24` after an address.
    fn prefix_length(&self, start: usize) -> usize {
        let digits = self.run_of(start + 1, 4, |byte| byte.is_ascii_digit());
        let fits =
            self.peek(start) == Some(b'/') && (1..=3).contains(&digits) && self.ends_word(start + 1 + digits);
        if fits { 1 + digits } else { 0 }
    }

    /// Masks a word that starts with a digit.
    fn number(&mut self) {
        let digits = self.digit_groups();
        let unit = self.run_of(digits, usize::MAX, is_word);
        let unit = &self.text[self.at + digits..self.at + digits + unit];
        let placeholder = if unit.is_empty() {
            "<n>"
        } else if is_duration(unit) {
            "<dur>"
        } else if SIZE_UNITS.contains(&unit) {
            "<size>"
        } else {
            "<n>"
        };
        self.mask(digits + unit.len(), placeholder);
    }

    /// The length of `1`, `1.5`, `1,234` or `1.2.3`.
    fn digit_groups(&self) -> usize {
        let mut length = self.run_of(0, usize::MAX, |byte| byte.is_ascii_digit());
        while self.peek(length).is_some_and(|byte| b".,".contains(&byte)) {
            match self.run_of(length + 1, usize::MAX, |byte| byte.is_ascii_digit()) {
                0 => break,
                digits => length += 1 + digits,
            }
        }
        length
    }

    fn word(&mut self) {
        let length = self.run_of(0, usize::MAX, is_word);
        let word = &self.text[self.at..self.at + length];
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        if letters == length && !word.bytes().any(|byte| byte.is_ascii_digit()) {
            return self.copy(length);
        }
        let hex = length >= HEX_WORD_BYTES_MIN && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex || word[..letters].bytes().any(|byte| byte.is_ascii_digit()) {
            return self.mask(length, "<n>");
        }
        self.copy(letters);
        self.mask(length - letters, "<n>");
    }

    fn quote(&mut self, mark: u8) {
        let kind = usize::from(mark == b'\'') + 2 * usize::from(mark == b'`');
        // An apostrophe inside a word opens nothing.
        let inside = mark != b'"' && self.at > 0 && is_word(self.bytes[self.at - 1]);
        if inside || self.unclosed[kind] {
            return self.copy(1);
        }
        match self.closing(mark) {
            Some(length) => self.mask(length, "<str>"),
            None => {
                self.unclosed[kind] = true;
                self.copy(1);
            }
        }
    }

    fn closing(&self, mark: u8) -> Option<usize> {
        let mut length = 1;
        loop {
            match self.peek(length)? {
                b'\\' => length += 2,
                byte if byte == mark && (mark != b'\'' || self.ends_word(length + 1)) => {
                    return Some(length + 1);
                }
                _ => length += 1,
            }
        }
    }

    fn path(&mut self) {
        let rest = &self.bytes[self.at..];
        let part = |byte: u8| byte > b' ' && !b"\"'`()[]{}<>,;:|?".contains(&byte);
        if rest.starts_with(b"/tmp/") {
            self.copy(5);
            let length = self.run_of(0, usize::MAX, part);
            return self.mask(length, "<path>");
        }
        match [&b"/home/"[..], b"/Users/"].into_iter().find(|folder| rest.starts_with(folder)) {
            Some(folder) => {
                self.copy(folder.len());
                let length = self.run_of(0, usize::MAX, |byte| byte != b'/' && part(byte));
                self.mask(length, "<name>");
            }
            None => self.copy(1),
        }
    }

    fn query(&mut self) {
        let part = |byte: u8| byte > b' ' && !b"\"'`<>".contains(&byte);
        let key = self.run_of(1, QUERY_KEY_BYTES_MAX, |byte| byte != b'=' && byte != b'?' && part(byte));
        let opens = self.at > 0 && self.bytes[self.at - 1] > b' ' && key > 0;
        self.copy(1);
        if opens && self.peek(key) == Some(b'=') {
            let length = self.run_of(0, usize::MAX, part);
            self.mask(length, "<query>");
        }
    }

    fn at_sign(&mut self) {
        let domain = self.run_of(1, usize::MAX, |byte| is_word(byte) || b".-".contains(&byte));
        let named = &self.text[self.at + 1..self.at + 1 + domain];
        let host = named.trim_end_matches(['.', '-']);
        if !host.contains('.') || self.template.len() == self.token {
            return self.copy(1);
        }
        self.template.truncate(self.token);
        self.mask(1 + host.len(), "<email>");
    }

    fn colons(&mut self) {
        let opens = self.at == 0 || !is_word(self.bytes[self.at - 1]);
        match self.ipv6().filter(|_| opens) {
            Some(length) => self.mask(length, "<ip>"),
            None => self.copy(2),
        }
    }

    fn blank(&mut self) {
        self.at += 1;
        if !self.template.is_empty() && !self.template.ends_with(' ') {
            self.template.push(' ');
        }
        self.token = self.template.len();
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Counts the bytes from `start` on that fit, at most `most`.
    fn run_of(&self, start: usize, most: usize, fits: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(self.at + start..).unwrap_or_default();
        rest.iter().take(most).take_while(|byte| fits(**byte)).count()
    }

    /// Compares with a shape in which `0` is any digit and `x` any hexadecimal digit; it must end a word.
    fn shaped(&self, start: usize, shape: &[u8]) -> bool {
        let window = self.bytes.get(self.at + start..self.at + start + shape.len());
        let fits = window.is_some_and(|window| {
            window.iter().zip(shape).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'x' => byte.is_ascii_hexdigit(),
                _ => byte == shape,
            })
        });
        fits && !self.peek(start + shape.len()).is_some_and(|byte| byte.is_ascii_digit())
    }

    /// The length of `.123` or `,123`.
    fn fraction(&self, start: usize) -> usize {
        let digits = self.run_of(start + 1, 9, |byte| byte.is_ascii_digit());
        let fits = digits > 0 && self.peek(start).is_some_and(|byte| b".,".contains(&byte));
        if fits { 1 + digits } else { 0 }
    }

    fn ends_word(&self, length: usize) -> bool {
        !self.peek(length).is_some_and(is_word)
    }

    fn copy(&mut self, length: usize) {
        self.template.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
        if matches!(
            self.template.as_bytes().last(),
            Some(b'(' | b'<' | b'[' | b'=' | b',' | b';' | b'"' | b'\'')
        ) {
            self.token = self.template.len();
        }
    }

    fn mask(&mut self, length: usize, placeholder: &str) {
        if length > 0 {
            self.template.push_str(placeholder);
            self.at += length;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// `ms`, or what follows the first number of `1h2m3s`.
fn is_duration(unit: &str) -> bool {
    let mut parts = unit.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
    !unit.ends_with(|c: char| c.is_ascii_digit()) && parts.all(|part| TIME_UNITS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(message: &str, template: &str) {
        assert_eq!(fingerprint(message), template, "{message}");
    }

    #[test]
    fn every_row_of_the_table_holds() {
        check(r#"user "al\"ice" and 'bob' or `eve` can't"#, "user <str> and <str> or <str> can't");
        check("id 123e4567-e89b-12d3-a456-426614174000.", "id <uuid>.");
        check("from 10.0.0.1:8080 to 192.168.0.0/16, ::1", "from <ip>:<n> to <ip>, <ip>");
        check("[2001:db8::7]:80 fe80::1: gone", "[<ip>]:<n> <ip>: gone");
        check("mac 00:1A:2b:3c:4d:5e up", "mac <mac> up");
        check("to a.b+c@example.com failed", "to <email> failed");
        check("to=<bob@example.com>, x", "to=<<email>>, x");
        check("on 2026-11-20 at 2026-11-20T14:50:00.123Z or 14:50:00", "on <time> at <time> or <time>");
        check("took 1.5s, 900ms, 1h2m3s, 12µs", "took <dur>, <dur>, <dur>, <dur>");
        check("read 12MB of 4KiB and 7 bytes", "read <size> of <size> and <n> bytes");
        check("n=-5 x=1,234.5 v1.2.3 0x7ffe1234", "n=-<n> x=<n> v<n>.<n> <n>");
        check("commit 3f2a9c1 job deadbee1 12345678", "commit <n> job <n> <n>");
        check("worker12 eth0 x86_64 k8s utf8", "worker<n> eth<n> x<n>_<n> <n> utf<n>");
        check("/srv/app12/job_7/out.log", "/srv/app<n>/job_<n>/out.log");
        check("open /tmp/ab.cd/x: no /home/bob/x", "open /tmp/<path>: no /home/<name>/x");
        check("GET /a?b=c&d=e 200 why? a=b", "GET /a?<query> <n> why? a=b");
        check("  a\t\tb\u{1}c  ", "a b c");
    }

    #[test]
    fn ordinary_words_stay() {
        for message in [
            "std::io::Error: it's a cafe",
            "don't stop",
            "größe naïve",
            "a::b",
            "99%".trim_start_matches('9'),
        ] {
            check(message, message);
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let template = fingerprint(&"é word ".repeat(10_000));
        assert!(template.len() <= TEMPLATE_BYTES_MAX + '…'.len_utf8() && template.ends_with('…'));
    }

    #[test]
    fn hostile_messages_take_linear_time() {
        for piece in ["\"", "'", "`a", "?a", "a@", "a:", "/tmp", "1.", "::", "\\\"", "a@b-", "0:"] {
            let _ = fingerprint(&piece.repeat(64 * 1024 / piece.len()));
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(message in "\\PC{0,80}", shaped in "[0-9a-f:.@/?='\" -]{0,80}") {
            let _ = fingerprint(&message);
            let _ = fingerprint(&shaped);
        }

        #[test]
        fn ids_of_one_kind_share_a_template(a in 0..u64::MAX, b in 0..u64::MAX, c in "[0-9a-f]{8}", d in "[0-9a-f]{8}") {
            let number = |n: u64| fingerprint(&format!("job {n} of {}:{} in {n}ms", n % 7, n % 65_536));
            prop_assert_eq!(number(a), number(b));
            prop_assume!(c.contains(char::is_numeric) && d.contains(char::is_numeric));
            prop_assert_eq!(fingerprint(&format!("job {c} failed")), fingerprint(&format!("job {d} failed")));
        }
    }
}
