//! Decisions and clocks: notes, and how far the log has come. A record of them that is damaged keeps nobody
//! from the others.

use volery_blackboard::store::{Damage, Note, Subject};
use volery_blackboard::{Marks, SubscriptionIndex};

use super::Session;
use crate::fault::Fault;

/// Readable records, and damaged ones.
type Sifted<T> = (Vec<T>, Vec<Damage>);

impl Session<'_> {
    pub(crate) fn notes(&self) -> Result<Vec<Note>, Fault> {
        Ok(self.all_notes()?.0)
    }

    /// Reads every note; for one that is damaged, what it must be taken for, if that can be told.
    pub(crate) fn all_notes(&self) -> Result<Sifted<Note>, Fault> {
        let mut statement = self.conn.prepare_cached("SELECT subject, topic, value FROM note")?;
        let mut rows = statement.query([])?;
        let (mut notes, mut damage) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let text = |column: usize| row.get::<_, String>(column).map_err(Fault::from);
            let whole = || -> Result<Note, Fault> {
                let (subject, topic, note) = (text(0)?, text(1)?, serde_json::from_str::<Note>(&text(2)?)?);
                if (subject.as_str(), topic.as_str())
                    == (subject_text(&note.subject()).as_str(), note.topic())
                {
                    return Ok(note);
                }
                Err(Fault::Damaged(None, "it is about something else than its key says".to_owned()))
            };
            let cause = match whole() {
                Ok(note) => {
                    notes.push(note);
                    continue;
                }
                Err(fault) => fault.damage()?,
            };
            let (subject, topic) = (text(0).unwrap_or_default(), text(1).unwrap_or_default());
            let cautious = read_subject(&subject).and_then(|subject| Note::cautious(subject, &topic));
            let done = match &cautious {
                Some(Note::AgentPaused { .. } | Note::AgentQuarantined { .. }) => {
                    "the agent is held until it is resumed"
                }
                Some(Note::RunDeadline { .. }) => "the deadline of the run is taken to be over",
                Some(_) => "what it says is taken from its key",
                None => "it is left out",
            };
            let what = format!("the note `{topic}` of `{subject}`");
            damage.push(Damage { what, cause, done: done.to_owned() });
            notes.extend(cautious);
        }
        Ok((notes, damage))
    }

    /// How far the log has come, by the file's id of each subscription. Damaged marks begin anew.
    pub(crate) fn all_marks(&self) -> Result<Sifted<(i64, Marks)>, Fault> {
        let mut statement = self.conn.prepare_cached("SELECT sub, value FROM marks")?;
        let mut rows = statement.query([])?;
        let (mut marks, mut damage) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let sub: i64 = row.get(0)?;
            let whole = || -> Result<Marks, Fault> { Ok(serde_json::from_str(&row.get::<_, String>(1)?)?) };
            match whole() {
                Ok(found) => marks.push((sub, found)),
                Err(fault) => damage.push(Damage {
                    what: format!("how far the log has come for subscription {sub}"),
                    cause: fault.damage()?,
                    done: "it begins anew, and inputs of a join may wait longer than its window".to_owned(),
                }),
            }
        }
        Ok((marks, damage))
    }

    pub(crate) fn marks(&self) -> Result<Vec<(SubscriptionIndex, Marks)>, Fault> {
        let map = self.shared.map();
        let known = self.all_marks()?.0.into_iter().filter(|(sub, _)| map.keeps_marks(*sub));
        Ok(known.filter_map(|(sub, marks)| Some((map.index_of(sub)?, marks))).collect())
    }
}

/// How the column `subject` names what a note is about.
pub(crate) fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::Agent(agent) => format!("agent:{agent}"),
        Subject::Run(run) => format!("run:{run}"),
        Subject::Span(place) => format!("shown:{place}"),
        Subject::Runtime => "runtime".to_owned(),
    }
}

fn read_subject(text: &str) -> Option<Subject> {
    match text.split_once(':') {
        Some(("agent", name)) => Some(Subject::Agent(name.into())),
        Some(("shown", place)) => Some(Subject::Span(place.into())),
        Some(("run", id)) => id.parse().ok().map(Subject::Run),
        _ => (text == "runtime").then_some(Subject::Runtime),
    }
}
