//! Panels against each other and against the figures of the API: one rule, several views of it.

use super::{Demo, SOON};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_tests::eventually;

/// A minute, seconds.
const MINUTE: u64 = 60;

struct Asker<'a> {
    demo: &'a Demo,
    token: String,
}

impl Asker<'_> {
    fn json(&self, path: &str) -> Value {
        let (status, body) = self.demo.get(path, &self.token);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The rows of a panel, as columns' names and texts.
    fn rows(&self, panel: &str, range: &str) -> Vec<BTreeMap<String, String>> {
        let said = self.json(&format!("/api/v1/panels/{panel}?{range}"));
        let columns = said["panel"]["columns"].as_array().expect("columns").clone();
        let row = |row: &Value| {
            let cells = row.as_array().expect("a row").iter().zip(&columns);
            let cells = cells.filter_map(|(value, column)| {
                Some((column["name"].as_str()?.to_owned(), value.as_str()?.to_owned()))
            });
            cells.collect()
        };
        said["rows"].as_array().expect("rows").iter().map(row).collect()
    }
}

fn number(row: &BTreeMap<String, String>, name: &str) -> i64 {
    row.get(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} in {row:?}"))
}

/// Sums of a column by the name of its row.
fn sums(rows: &[BTreeMap<String, String>], by: &str, name: &str) -> BTreeMap<String, i64> {
    rows.iter().fold(BTreeMap::new(), |mut sums, row| {
        *sums.entry(row[by].clone()).or_default() += number(row, name);
        sums
    })
}

/// Scenario: figures of a demo over the same time: as a panel's table, as a panel over time, and by the route of the API that was there
/// before panels were.
/// Guarantees: all agree to the unit: money by currency, attempts and errors by interface, ends by queue; the depth at the end of the
/// last stretch is the depth of the queues. CSV has the same rows as JSON.
#[test]
fn every_view_of_a_figure_is_the_same() {
    let demo = &Demo::shared();
    let asker = Asker { demo, token: demo.token("admin", "looker") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    // it ends now, so events of it still come: the views are asked again until nothing came between them
    let range = format!("from={}&to={}", text(now - 90 * 24 * 60 * MINUTE), text(now - 5));
    let agree = || {
        let figure = |name: &str| {
            asker.json(&format!("/api/v1/figures/{name}?{range}"))["groups"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        };
        let of = |groups: &[Value], value: &str| -> BTreeMap<String, i64> {
            let groups = groups.iter().filter_map(|group| {
                Some((group["name"].as_str()?.to_owned(), group["values"][value].as_str()?.parse().ok()?))
            });
            groups.collect()
        };
        let money = [
            of(&figure("revenue"), "net_minor"),
            sums(&asker.rows("revenue", &range), "currency", "net_minor"),
            sums(&asker.rows("revenue-over-time", &range), "currency", "net_minor"),
        ];
        let errors = [
            of(&figure("endpoints"), "errors"),
            sums(&asker.rows("endpoint-errors", &range), "endpoint", "errors"),
            sums(&asker.rows("endpoint-errors-over-time", &range), "endpoint", "errors"),
        ];
        let ends = [
            of(&figure("task-success"), "terminal"),
            sums(&asker.rows("task-success", &range), "queue", "terminal"),
            sums(&asker.rows("task-success-over-time", &range), "queue", "terminal"),
        ];
        let depth = asker.rows("queue-depth", &range);
        let last = depth.last().map(|row| number(row, "at_us"))?;
        let at_end: Vec<_> = depth.into_iter().filter(|row| number(row, "at_us") == last).collect();
        let depths = [
            of(&figure("queues"), "depth"),
            sums(&asker.rows("queues", &range), "queue", "depth"),
            sums(&at_end, "queue", "depth"),
        ];
        let whole = [&money, &errors, &ends, &depths]
            .iter()
            .all(|views| !views[0].is_empty() && views.iter().all(|view| *view == views[0]));
        whole.then_some(money)
    };
    let money = eventually(SOON, "views that agree", agree);
    assert!(money[0].len() > 1 && money[0].values().all(|net| *net > 0), "{money:?}");

    let (status, csv) = demo.get(&format!("/api/v1/panels/endpoint-errors?{range}&form=csv"), &asker.token);
    assert_eq!(status, 200);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("endpoint,attempts,errors,"), "{csv}");
    assert_eq!(lines.len(), 5, "a head and four interfaces: {csv}");
    for row in asker.rows("endpoint-errors", &range) {
        let share = |name: &str| row[name].parse::<f64>().expect("a share");
        assert!(share("low") <= share("rate") && share("rate") <= share("high"), "{row:?}");
    }
}

/// Scenario: panels that are not there, not theirs, over no time, over too long a time, in too small steps.
/// Guarantees: each is refused by its code; the list has what the role may ask, and no more.
#[test]
fn panels_are_refused_by_name() {
    let demo = Demo::shared();
    let (admin, buyer) = (demo.token("admin", "looker"), demo.token("buyer", "looker"));
    for (path, token, status, code) in [
        ("/api/v1/panels/nothing", &admin, 404, "not_found"),
        ("/api/v1/panels/revenue", &buyer, 403, "forbidden"),
        (
            "/api/v1/panels/revenue?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            &admin,
            400,
            "invalid_parameter",
        ),
        (
            "/api/v1/panels/revenue?from=2020-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            &admin,
            400,
            "invalid_parameter",
        ),
        ("/api/v1/panels/queue-depth?step=1", &admin, 400, "invalid_parameter"),
        ("/api/v1/panels/queue-depth?step=0", &admin, 400, "invalid_parameter"),
        ("/api/v1/panels/revenue?color=red", &admin, 400, "invalid_parameter"),
    ] {
        let (found, body) = demo.get(path, token);
        assert!(found == status && body.contains(code), "{path}: {found} {body}");
    }
    let ids = |token: &str| -> Vec<String> {
        let (_, body) = demo.get("/api/v1/panels", token);
        let list: Value = serde_json::from_str(&body).expect("JSON");
        list["items"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|panel| Some(panel["id"].as_str()?.to_owned()))
            .collect()
    };
    assert!(ids(&admin).contains(&"revenue".to_owned()));
    assert!(!ids(&buyer).contains(&"revenue".to_owned()));
}

/// RFC 3339 of seconds since 1970 UTC.
pub(super) fn text(seconds: u64) -> String {
    let days = i64::try_from(seconds / 86_400).expect("a day");
    let (mut year, mut left) = (1970, days);
    let length = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let months = [31, length(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    let of_day = seconds % 86_400;
    format!(
        "{year}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        month + 1,
        left + 1,
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}
