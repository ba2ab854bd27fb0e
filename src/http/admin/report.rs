//! `GET /admin/v1/report`: the numbers that a support lead asks for, by hour or day of a time zone, as JSON or as CSV.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::{Admin, deliveries};
use crate::{
    domain::{
        Timestamp,
        ids::FrontendName,
        report::{Histogram, Period, Step, Sums, periods},
        spreadsheet::safe_cell,
    },
    http::problem::{Code, FieldError, Problem},
};

/// The most rows of a report.
const MOST: usize = 5_000;
/// A day in seconds.
const DAY: u64 = 24 * 60 * 60;

pub(super) async fn report(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::read(&admin, query.as_deref().unwrap_or_default())?;
    let (Some(first), Some(last)) = (asked.periods.first(), asked.periods.last()) else {
        return Err(Problem::new(Code::InvalidRequest));
    };
    let found = admin.store.sums(asked.frontend.as_ref(), first.from, last.to).await?;
    let mut found = found.into_iter().peekable();
    let (mut rows, mut total) = (Vec::with_capacity(asked.periods.len()), Sums::default());
    for period in &asked.periods {
        let mut sums = Sums::default();
        while let Some((_, more)) = found.next_if(|(slot, _)| *slot < period.to) {
            sums.add(&more);
        }
        total.add(&sums);
        rows.push(asked.row(*period, &sums));
    }
    if asked.is_csv {
        return csv(&rows);
    }
    let total = asked.row(Period { from: first.from, to: last.to }, &total);
    let rows: Vec<Value> = rows.into_iter().map(object).collect();
    let frontend = asked.frontend.as_ref().map(FrontendName::as_str);
    let by = if asked.step == Step::Hour { "hour" } else { "day" };
    Ok(Json(json!({
        "by": by, "tz": asked.zone.iana_name(), "frontend": frontend, "rows": rows, "total": object(total),
    }))
    .into_response())
}

/// A row, by column in their order.
type Row = [(&'static str, Value); 17];

/// A parsed request for a report.
struct Asked {
    periods: Vec<Period>,
    step: Step,
    zone: TimeZone,
    frontend: Option<FrontendName>,
    is_csv: bool,
}

impl Asked {
    fn read(admin: &Admin, query: &str) -> Result<Self, Problem> {
        let (mut from, mut to, mut step, mut is_csv) = (None, None, Step::Day, false);
        let (mut zone, mut frontend) = (TimeZone::UTC, None);
        let mut errors = Vec::new();
        let mut fault = |field: &str, message: String| errors.push(FieldError::new(field.to_owned(), message));
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match (name.as_ref(), value.as_ref()) {
                ("from", value) => from = Some(value.to_owned()),
                ("to", value) => to = Some(value.to_owned()),
                ("by", "hour") => step = Step::Hour,
                ("by", "day") => step = Step::Day,
                ("by", _) => fault("by", "must be hour or day".to_owned()),
                ("format", "json") => is_csv = false,
                ("format", "csv") => is_csv = true,
                ("format", _) => fault("format", "must be json or csv".to_owned()),
                ("tz", value) => match TimeZone::get(value) {
                    Ok(found) => zone = found,
                    Err(_) => fault("tz", "is no time zone's name, such as Europe/Berlin".to_owned()),
                },
                ("frontend", value) => match admin.frontend(value) {
                    Ok(found) => frontend = Some(found.clone()),
                    Err(_) => fault("frontend", "there is no such frontend".to_owned()),
                },
                (name, _) => fault(name, "is not known; there are from, to, by, tz, frontend and format".to_owned()),
            }
        }
        let mut time = |field: &str, text: Option<String>| {
            let text = text?;
            let at = time(&text, &zone);
            if at.is_none() {
                fault(field, "must be a date, RFC 3339 or epoch milliseconds".to_owned());
            }
            at
        };
        let length = std::time::Duration::from_secs(if step == Step::Day { 7 * DAY } else { DAY });
        let to = time("to", to).unwrap_or_else(|| admin.wall.now().point());
        let from = time("from", from).unwrap_or_else(|| to.minus(length));
        if from >= to {
            fault("to", "must be later than from; the day or hour that it names is not part of the report".to_owned());
        }
        let invalid = |errors| Err(Problem::new(Code::InvalidRequest).errors(errors));
        if !errors.is_empty() {
            return invalid(errors);
        }
        match periods(from, to, step, &zone, MOST) {
            Some(periods) => Ok(Self { periods, step, zone, frontend, is_csv }),
            None => invalid(vec![FieldError::new("from", format!("asks for more than {MOST} rows"))]),
        }
    }

    fn row(&self, period: Period, sums: &Sums) -> Row {
        let time = |at: Timestamp| Value::from(self.shown(at));
        // The budget is the workspace's, which all frontends share.
        let budget = if self.frontend.is_none() { sums.requests.into() } else { Value::Null };
        [
            ("from", time(period.from.start())),
            ("to", time(period.to.start())),
            ("frontend", self.frontend.as_ref().map_or(Value::Null, |frontend| frontend.as_str().into())),
            ("messages", sums.messages.into()),
            ("answered", sums.answered.into()),
            ("escalated", sums.escalated.into()),
            ("resolved", sums.resolved.into()),
            ("failed", sums.failed.into()),
            ("dead_letters", sums.dead_letters.into()),
            ("budget_used", budget),
            ("first_answers", sums.first_answers.total().into()),
            ("first_answer_median_seconds", quantile(&sums.first_answers, 50)),
            ("first_answer_p95_seconds", quantile(&sums.first_answers, 95)),
            ("humans", sums.humans.total().into()),
            ("human_median_seconds", quantile(&sums.humans, 50)),
            ("human_p95_seconds", quantile(&sums.humans, 95)),
            ("tz", self.zone.iana_name().unwrap_or("UTC").into()),
        ]
    }

    /// Returns the time as RFC 3339 with the zone's offset.
    fn shown(&self, at: Timestamp) -> String {
        let instant = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let offset = self.zone.to_offset(instant);
        if offset.is_zero() { instant.to_string() } else { instant.display_with_offset(offset).to_string() }
    }
}

fn quantile(histogram: &Histogram, percent: u64) -> Value {
    histogram.quantile(percent).map_or(Value::Null, |took| took.as_secs_f64().into())
}

fn object(row: Row) -> Value {
    Value::Object(row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// Parses a point in time; a date is the midnight with which it begins in the zone.
fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(at) = deliveries::time(text) {
        // A time that no calendar has cannot be cut into days.
        return jiff::Timestamp::from_millisecond(at.as_millis()).is_ok().then_some(at);
    }
    let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text)?;
    let midnight = date.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_millis(midnight.timestamp().as_millisecond()))
}

fn csv(rows: &[Row]) -> Result<Response, Problem> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let header = rows.iter().take(1).map(|row| row.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    let cells = rows.iter().map(|row| row.iter().map(|(_, value)| cell(value)).collect());
    for record in header.chain(cells) {
        writer.write_record(record).map_err(|_| Problem::new(Code::Internal))?;
    }
    let body = writer.into_inner().map_err(|_| Problem::new(Code::Internal))?;
    let named = "attachment; filename=\"fini-bridge-report.csv\"";
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, named)], body)
        .into_response())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => safe_cell(text.clone()),
        other => other.to_string(),
    }
}
