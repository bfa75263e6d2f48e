//! W3C baggage that may pass: the allowed keys of a caller's header. Pure: no I/O, no clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use opentelemetry::baggage::KeyValueMetadata;

/// A header longer than this is cut by the specification's own limit.
const HEADER_MAX: usize = 8192;

/// Allowed members, as they came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Baggage {
    members: Vec<(String, String)>,
}

impl Baggage {
    /// The members of a header that may pass; `None` when none may. Malformed members are passed over.
    pub(crate) fn allowed(header: &str, keys: &BTreeSet<String>) -> Option<Arc<Self>> {
        if keys.is_empty() || header.len() > HEADER_MAX {
            return None;
        }
        let member = |member: &str| {
            // Properties after a semicolon say something about the member and are not passed on.
            let (key, value) = member.split(';').next()?.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            keys.contains(key).then(|| decode(value)).flatten().map(|value| (key.to_owned(), value))
        };
        let members: Vec<_> = header.split(',').filter_map(member).collect();
        (!members.is_empty()).then(|| Arc::new(Self { members }))
    }

    /// For the context of an engine.
    pub(crate) fn members(&self) -> impl Iterator<Item = KeyValueMetadata> + '_ {
        self.members.iter().map(|(key, value)| KeyValueMetadata::new(key.clone(), value.clone(), ""))
    }

    /// The header for the next service.
    pub(crate) fn header(&self) -> String {
        let member = |(key, value): &(String, String)| format!("{key}={}", encode(value));
        self.members.iter().map(member).collect::<Vec<_>>().join(",")
    }
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn encode(value: &str) -> String {
    let plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b',' | b';' | b'\\' | b'%');
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_allowed_baggage_passes() {
        let header = "tenant=a%20b;prop=1, secret=x ,region = eu,broken,bad=%G1";
        let passed = Baggage::allowed(header, &keys(&["tenant", "region", "broken", "bad"]));
        assert_eq!(passed.map(|baggage| baggage.header()), Some("tenant=a%20b,region=eu".to_owned()));
        assert_eq!(Baggage::allowed(header, &keys(&[])), None, "nothing is allowed by default");
    }

    proptest! {
        #[test]
        fn a_value_survives_its_encoding(value in ".{0,40}") {
            prop_assert_eq!(decode(&encode(&value)), Some(value));
        }
    }
}
