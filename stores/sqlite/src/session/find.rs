//! Finding artifacts: a filter as one statement that names its index.
//!
//! SQLite would choose by statistics that change while a store lives. Here the most telling condition of a
//! filter names the index, and the others are checked row by row. Times become places first, by the table
//! `era`.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use volery_blackboard::store::{Artifacts, Summary, SummaryBy};
use volery_blackboard::{Filter, Offset, Page, Producer, Timestamp, Visibility};

use super::Session;
use crate::block::{Claims, Outcomes};
use crate::fault::Fault;
use crate::row::{self, RUNTIME};
use crate::schema::ERA;

/// A filter as SQL: where rows come from, and what they have to meet.
struct Query {
    from: &'static str,
    /// The column that orders the rows.
    seq: &'static str,
    /// Whether an index was named.
    is_led: bool,
    /// Whether rows come from blocks, which order them before that.
    has_blocks: bool,
    conditions: Vec<String>,
    values: Vec<Value>,
}

/// How facets are numbered in the table `facet`.
pub(crate) const KIND: i64 = 0;
pub(crate) const PRODUCER: i64 = 1;

/// How outcomes are numbered in the table `outcome`.
const OUTCOMES: [&str; 5] = ["consumed", "expired", "discarded", "cancelled", "dead"];

impl Session<'_> {
    /// Reads artifacts by place, in the order asked for.
    pub(crate) fn read(&self, offsets: &[Offset]) -> Result<Artifacts, Fault> {
        let sql = format!("SELECT {} FROM artifact a WHERE a.seq = ?1", row::ARTIFACT);
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut read = |offset: &Offset| {
            let place = i64::try_from(offset.get()).unwrap_or(i64::MAX);
            match statement.query([place])?.next()? {
                Some(found) => row::artifact(self, found),
                None => Err(self.missing(*offset)),
            }
        };
        offsets.iter().map(&mut read).collect()
    }

    /// Finds one page.
    pub(crate) fn find(&self, filter: &Filter) -> Result<Page, Fault> {
        let Some((sql, values)) = self.find_sql(filter)? else { return Ok(Page::default()) };
        let limit = filter.page_size();
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(row::artifact(self, row)?);
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| last.offset());
        Ok(Page::new(found, next))
    }

    /// Returns the statement for a page, or `None` when nothing can meet the filter.
    pub(crate) fn find_sql(&self, filter: &Filter) -> Result<Option<(String, Vec<Value>)>, Fault> {
        let Some(mut query) = self.query(filter)? else { return Ok(None) };
        if let Some(after) = filter.after {
            let compare = if filter.newest_first { "<" } else { ">" };
            query.meets_seq(compare, place(after));
        }
        let direction = if filter.newest_first { "DESC" } else { "ASC" };
        query.values.push(place(Offset::new(filter.page_size() as u64 + 1)).into());
        let sql = format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {}{} {direction} LIMIT ?",
            row::ARTIFACT,
            query.from,
            query.conditions.join(" AND "),
            if query.has_blocks { format!("f.block {direction}, ") } else { String::new() },
            query.seq,
        );
        Ok(Some((sql, query.values)))
    }

    fn query(&self, filter: &Filter) -> Result<Option<Query>, Fault> {
        let Some(tenants) = self.tenants(filter)? else { return Ok(None) };
        let mut query = Query::new(&tenants);
        let mut facet = None;
        // Each of these that a filter has names an index, and the last one stands: from common conditions to
        // rare ones.
        if let Some(kind) = &filter.kind {
            let Some(kind) = self.name_id(kind)? else { return Ok(None) };
            query.meets("a.kind = ?", kind);
            facet = Some((KIND, kind));
        }
        match &filter.producer {
            None => {}
            Some(Producer::External) => query.conditions.push("a.producer IS NULL".to_owned()),
            Some(Producer::Agent(name)) => {
                let Some(id) = self.name_id(name.as_str())? else { return Ok(None) };
                query.meets("a.producer = ?", id);
                facet = Some((PRODUCER, id));
            }
            Some(_) => {
                query.meets("a.producer = ?", RUNTIME);
                facet = Some((PRODUCER, RUNTIME));
            }
        }
        match &filter.visibility {
            None => {}
            Some(Visibility::Public) => query.conditions.push("a.visibility IS NULL".to_owned()),
            Some(visibility) => {
                let text = serde_json::to_string(visibility)?;
                query.by("artifact a INDEXED BY artifact_visibility").meets("a.visibility = ?", text);
            }
        }
        if let Some(partition) = &filter.partition {
            let text = partition.as_str().to_owned();
            query.by("artifact a INDEXED BY artifact_partition").meets("a.partition = ?", text);
        }
        query.meets_tags(&tenants, filter);
        if let Some(run) = filter.run {
            query
                .by("artifact a INDEXED BY artifact_run")
                .meets("a.run = ?", run.as_uuid().as_bytes().to_vec());
        }
        if let Some(facet) = facet.filter(|_| !query.is_led) {
            query.by_blocks(&tenants, facet);
        }
        if let Some(from) = filter.from {
            query.meets_seq(">=", place(from));
        }
        if let Some(to) = filter.to {
            query.meets_seq("<", place(to));
        }
        self.meet_times(&mut query, filter.since, filter.until)?;
        Ok(Some(query))
    }

    /// The ids of the tenants that a filter takes; `None` when there are none.
    fn tenants(&self, filter: &Filter) -> Result<Option<Vec<i64>>, Fault> {
        if !filter.any_tenant {
            return Ok(self.name_id(filter.tenant.as_str())?.map(|id| vec![id]));
        }
        // A loose scan over the index: one step per tenant, however many artifacts each has.
        let mut statement = self.conn.prepare_cached(
            "WITH RECURSIVE t(id) AS (
                SELECT min(tenant) FROM facet
                UNION ALL SELECT (SELECT min(tenant) FROM facet WHERE tenant > t.id) FROM t WHERE t.id IS NOT NULL
            ) SELECT id FROM t WHERE id IS NOT NULL",
        )?;
        let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok((!ids.is_empty()).then_some(ids))
    }

    /// Turns times into places as far as the eras tell; the times themselves are checked row by row.
    fn meet_times(
        &self,
        query: &mut Query,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(), Fault> {
        let block = |sql: &str, time: i64| -> Result<Option<i64>, Fault> {
            Ok(self.conn.prepare_cached(sql)?.query_row([time], |row| row.get(0))?)
        };
        let era = i64::try_from(ERA).unwrap_or(i64::MAX);
        if let Some(since) = since.map(Timestamp::as_micros_since_epoch) {
            let first =
                block("SELECT min(block) FROM era WHERE at_max >= ?1", since)?.unwrap_or(i64::MAX / era);
            query.meets_seq(">=", first * era);
            query.meets("a.at >= ?", since);
        }
        if let Some(until) = until.map(Timestamp::as_micros_since_epoch) {
            let last = block("SELECT max(block) FROM era WHERE at_min < ?1", until)?.unwrap_or(-1);
            query.meets_seq("<", (last + 1) * era);
            query.meets("a.at < ?", until);
        }
        Ok(())
    }

    /// Counts what a filter accepts.
    pub(crate) fn summary(&self, filter: &Filter, by: SummaryBy) -> Result<Vec<Summary>, Fault> {
        let Some(query) = self.query(filter)? else { return Ok(Vec::new()) };
        let (from, conditions) = (query.from, query.conditions.join(" AND "));
        let count = |columns: &str, more: &str, group: &str| {
            format!("SELECT {columns} FROM {from} {more} WHERE {conditions} GROUP BY {group}")
        };
        let rows = |sql: String, name: &dyn Fn(&Row<'_>) -> Result<String, Fault>| {
            let mut statement = self.conn.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(query.values.iter()))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((name(row)?, row.get::<_, u64>(1)?));
            }
            Ok::<_, Fault>(found)
        };
        let counts = match by {
            SummaryBy::Kind => {
                rows(count("a.kind, count(*)", "", "a.kind"), &|row| Ok(self.name(row.get(0)?)?.to_string()))?
            }
            SummaryBy::Producer => rows(count("a.producer, count(*)", "", "a.producer"), &|row| {
                Ok(match row.get::<_, Option<i64>>(0)? {
                    None => Producer::External.to_string(),
                    Some(RUNTIME) => Producer::Runtime.to_string(),
                    Some(id) => self.name(id)?.to_string(),
                })
            })?,
            SummaryBy::Outcome => {
                let ended = format!("CROSS JOIN outcome o ON {}", Outcomes::OF_ARTIFACT);
                let ended = count(&format!("{}, count(*)", Outcomes::CODE), &ended, "1");
                let mut counts =
                    rows(ended, &|row| Ok(outcome_name(row.get::<_, [u8; 1]>(0)?[0]).to_owned()))?;
                let open = format!("CROSS JOIN subscription s CROSS JOIN claim c ON {}", Claims::OF_ARTIFACT);
                counts.extend(rows(count("0, count(*)", &open, "1"), &|_| Ok("outstanding".to_owned()))?);
                counts
            }
            _ => return Err(Fault::Refused("this store cannot count by that".to_owned())),
        };
        Ok(Summary::sorted(counts))
    }
}

fn outcome_name(code: u8) -> &'static str {
    OUTCOMES.get(usize::from(code).wrapping_sub(1)).copied().unwrap_or("unknown")
}

impl Query {
    fn new(tenants: &[i64]) -> Self {
        let from = "artifact a NOT INDEXED";
        let (conditions, values) = (Vec::new(), Vec::new());
        let mut query = Self { from, seq: "a.seq", is_led: false, has_blocks: false, conditions, values };
        match tenants {
            [only] => query.meets("a.tenant = ?", *only),
            several => query.meets_any("a.tenant", several.iter().map(|tenant| Value::from(*tenant))),
        }
        query
    }

    /// Names the index; a later call is more telling.
    fn by(&mut self, from: &'static str) -> &mut Self {
        self.from = from;
        self.is_led = true;
        self
    }

    /// Looks only where artifacts with a kind or a producer lie.
    fn by_blocks(&mut self, tenants: &[i64], (facet, name): (i64, i64)) {
        self.by("facet f CROSS JOIN artifact a ON a.seq BETWEEN f.block * 32 AND f.block * 32 + 31");
        self.has_blocks = true;
        match tenants {
            [only] => self.meets("f.tenant = ?", *only),
            several => {
                self.meets_any("f.tenant", several.iter().map(|tenant| Value::from(*tenant)));
                self.conditions.push("a.tenant = f.tenant".to_owned());
            }
        }
        self.meets("f.facet = ?", facet);
        self.meets("f.name = ?", name);
    }

    fn meets(&mut self, condition: impl Into<String>, value: impl Into<Value>) {
        self.conditions.push(condition.into());
        self.values.push(value.into());
    }

    fn meets_seq(&mut self, compare: &str, place: i64) {
        self.meets(format!("{} {compare} ?", self.seq), place);
        if self.has_blocks {
            let compare = if compare.starts_with('<') { "<=" } else { ">=" };
            self.meets(format!("f.block {compare} ? / 32"), place);
        }
    }

    fn meets_any(&mut self, column: &str, values: impl IntoIterator<Item = Value>) {
        let before = self.values.len();
        self.values.extend(values);
        let places = vec!["?"; self.values.len() - before].join(", ");
        self.conditions.push(format!("{column} IN ({places})"));
    }

    /// Without a run, which tells more, a tag that has to be there leads, or else the tags of which one has
    /// to be there.
    fn meets_tags(&mut self, tenants: &[i64], filter: &Filter) {
        let tenants = || tenants.iter().map(|tenant| Value::from(*tenant));
        let leads = filter.run.is_none();
        let mut all = &filter.tags_all[..];
        if leads && let [first, others @ ..] = all {
            self.by("tag t CROSS JOIN artifact a ON a.seq = t.seq").seq = "t.seq";
            self.meets_any("t.tenant", tenants());
            self.meets("t.tag = ?", first.clone());
            all = others;
        }
        for tag in all {
            let has = "SELECT 1 FROM tag x WHERE x.tenant = a.tenant AND x.seq = a.seq AND x.tag = ?";
            self.meets(format!("EXISTS ({has})"), tag.clone());
        }
        let any = || filter.tags_any.iter().map(|tag| Value::from(tag.clone()));
        if filter.tags_any.is_empty() {
            return;
        }
        let places = |count: usize| vec!["?"; count].join(", ");
        if leads && filter.tags_all.is_empty() {
            self.by("artifact a NOT INDEXED");
            let (tenant, tag) = (places(tenants().count()), places(any().count()));
            let of = format!("SELECT x.seq FROM tag x WHERE x.tenant IN ({tenant}) AND x.tag IN ({tag})");
            self.conditions.push(format!("a.seq IN ({of})"));
            self.values.extend(tenants().chain(any()));
        } else {
            let has = "SELECT 1 FROM tag x WHERE x.tenant = a.tenant AND x.seq = a.seq AND x.tag IN";
            self.conditions.push(format!("EXISTS ({has} ({}))", places(any().count())));
            self.values.extend(any());
        }
    }
}

fn place(offset: Offset) -> i64 {
    i64::try_from(offset.get()).unwrap_or(i64::MAX)
}
