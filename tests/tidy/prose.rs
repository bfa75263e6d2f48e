//! The prose of comments: every sentence begins with its subject, and comments are as wide as the code.

use super::{Source, none, sources};

/// Longest line of a comment: `max_width` of rustfmt.toml, which wraps code and no comment.
const COLUMNS_MAX: usize = 110;

/// Words that stand for a subject without naming it.
const OPENINGS: [&str; 6] = ["What ", "Whatever ", "Whoever ", "Who ", "One that ", "One which "];

/// A line of a comment.
struct Prose<'a> {
    number: usize,
    /// The line with its indent and its slashes.
    line: &'a str,
    text: &'a str,
    /// Whether a sentence begins with the line.
    begins: bool,
}

/// Lists the lines of comments that stand by themselves, without examples of code.
fn prose(file: &Source) -> Vec<Prose<'_>> {
    let (mut found, mut example, mut ended) = (Vec::new(), false, true);
    for (number, line) in (1..).zip(file.text.lines()) {
        let Some(text) = line.trim_start().strip_prefix("//") else {
            (example, ended) = (false, true);
            continue;
        };
        let text = text.trim_start_matches(['/', '!']).trim();
        if text.starts_with("```") {
            (example, ended) = (!example, true);
        } else if !example {
            let item = ["* ", "- ", "| "].iter().find_map(|mark| text.strip_prefix(mark));
            found.push(Prose { number, line, text: item.unwrap_or(text), begins: ended || item.is_some() });
            ended = text.is_empty() || text.ends_with(['.', ':', '!', '?', '|']);
        }
    }
    found
}

fn lacks_a_subject(prose: &Prose<'_>) -> bool {
    let opens = |text: &str| OPENINGS.iter().any(|opening| text.starts_with(opening));
    let later = |end: &str| prose.text.split(end).skip(1).any(opens);
    prose.begins && opens(prose.text) || [". ", "! ", "? ", "| "].into_iter().any(later)
}

/// Rows of tables cannot be wrapped.
fn is_too_wide(prose: &Prose<'_>) -> bool {
    !prose.text.ends_with('|') && prose.line.chars().count() > COLUMNS_MAX
}

fn places(breaks: impl Fn(&Prose<'_>) -> bool) -> Vec<String> {
    let of = |file: &Source| -> Vec<String> {
        let lines = prose(file).into_iter().filter(&breaks);
        lines.map(|prose| format!("{}:{}: {}", file.path, prose.number, prose.text)).collect()
    };
    sources().iter().flat_map(of).collect()
}

#[test]
fn sentences_of_comments_begin_with_their_subject() {
    none("name the thing that the sentence is about", places(lacks_a_subject));
}

#[test]
fn comments_are_as_wide_as_code() {
    none("wrap it", places(is_too_wide));
}

#[test]
fn a_sentence_without_a_subject_is_found_wherever_it_begins() {
    let wide = format!("/// {}", "word ".repeat(30));
    let text = format!(
        "/// What it is.\n/// It is. Whoever asks\n/// what it is knows.\n/// ```\n/// // What\n/// ```\n{wide}"
    );
    let file = Source { path: String::new(), text };
    let prose = prose(&file);
    let found = |breaks: fn(&Prose<'_>) -> bool| -> Vec<usize> {
        prose.iter().filter(|prose| breaks(prose)).map(|prose| prose.number).collect()
    };
    assert_eq!(found(lacks_a_subject), [1, 2]);
    assert_eq!(found(is_too_wide), [7]);
}
