//! The report as one HTML file: it loads nothing and runs nothing, and its policy says so to the browser.

use super::number::{bounds, grouped, share, target};
use super::{Report, chart, label, sign};
use crate::audit::result::{JobResult, Measure, Verdict, WindowState, moment};
use crate::visible::html as escaped;
use base64::Engine;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("style.css");

/// Narrow and not broken across lines.
const THIN: char = '\u{202f}';

pub(super) fn render(report: &Report) -> String {
    let style_hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let (verdict, title) = (report.verdict(), "Audit report");
    let summary: String = report.results.iter().enumerate().map(|(i, result)| row_of(i, result)).collect();
    let cards: String = report
        .results
        .iter()
        .enumerate()
        .map(|(i, result)| card(i, result, &earlier(report, result)))
        .collect();
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} · {title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="soft">{window}</p>
<p class="overall">{badge} <span>{tally}</span></p>
</header>
<main>
<div class="scroll"><table><caption>All jobs</caption><thead><tr><th scope="col">Job</th><th scope="col">Verdict</th><th scope="col" class="n">Share</th><th scope="col" class="n">Count</th></tr></thead><tbody>{summary}</tbody></table></div>
{cards}</main>
<footer><p>Generated {at} by <span class="id">{command}</span>. Exit code {code}. Shares come from the integers beside them; times are UTC.</p></footer>
</body>
</html>
"#,
        name = verdict.name(),
        window = windows(report),
        badge = badge(verdict),
        tally = tally(report),
        at = moment(report.generated_at_us),
        command = escaped(&report.command),
        code = report.exit_code(),
    )
}

fn count(n: i64) -> String {
    grouped(i128::from(n), THIN)
}

fn badge(verdict: Verdict) -> String {
    let class = match verdict {
        Verdict::Pass => "good",
        Verdict::Fail | Verdict::Error => "bad",
        Verdict::Warn | Verdict::Pending | Verdict::NotEvaluated | Verdict::Insufficient => "open",
    };
    let name = verdict.name().replace('_', " ");
    format!(
        r#"<span class="verdict {class}"><span aria-hidden="true">{}</span> {name}</span>"#,
        sign(verdict)
    )
}

fn windows(report: &Report) -> String {
    let from = report.results.iter().map(|result| result.window.from_us).min();
    let to = report.results.iter().map(|result| result.window.to_us).max();
    from.zip(to).map_or_else(
        || "No job answered.".to_owned(),
        |(from, to)| format!("{} – {}", moment(from), moment(to)),
    )
}

fn tally(report: &Report) -> String {
    let passed = report.results.iter().filter(|result| result.verdict == Verdict::Pass).count();
    format!("{passed} of {} jobs passed", report.results.len())
}

/// The headline's pair with its target, so that the text keeps to its side of it.
fn headline(result: &JobResult) -> Measure {
    Measure {
        name: String::new(),
        group: String::new(),
        numerator: result.numerator,
        denominator: result.denominator,
        unit: String::new(),
        bounds: None,
        bounds_by: String::new(),
        target: result.measures.iter().find_map(|measure| measure.target),
        verdict: None,
        needed: None,
    }
}

fn row_of(index: usize, result: &JobResult) -> String {
    format!(
        r##"<tr><th scope="row"><a href="#job-{index}">{}</a></th><td>{}</td><td class="n">{}</td><td class="n">{} of {}</td></tr>"##,
        escaped(&result.job),
        badge(result.verdict),
        share(&headline(result)),
        count(result.numerator),
        count(result.denominator),
    )
}

/// Earlier results of the same job and this one, oldest first.
fn earlier<'a>(report: &'a Report, result: &'a JobResult) -> Vec<&'a JobResult> {
    let mut all: Vec<&JobResult> = (report.history.iter())
        .filter(|other| other.job == result.job && other.result_id != result.result_id)
        .chain([result])
        .collect();
    all.sort_by_key(|other| (other.window.to_us, other.known_at_us));
    all
}

fn card(index: usize, result: &JobResult, trend: &[&JobResult]) -> String {
    let state = match result.window.state {
        WindowState::Open => "still open",
        WindowState::Closed => "closed",
        WindowState::Sealed => "closed and sealed",
    };
    let window = format!(
        "{} – {}, {state}; data complete to {}",
        moment(result.window.from_us),
        moment(result.window.to_us),
        moment(result.window.watermark_us)
    );
    [
        format!(r#"<section aria-labelledby="job-{index}"><div class="head"><h2 id="job-{index}">{}</h2>{}</div>"#, escaped(&result.job), badge(result.verdict)),
        format!(r#"<p class="sentence">{}</p><p class="soft">{window}</p>"#, escaped(&result.sentence)),
        measures(result),
        history(trend),
        offenders(result),
        counters(result),
        provenance(result),
        "</section>\n".to_owned(),
    ]
    .concat()
}

/// The drawing of each kind of measure stands above one table with the figures of all.
fn measures(result: &JobResult) -> String {
    if result.measures.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h3>Figures</h3>");
    let mut names: Vec<&str> = Vec::new();
    for m in result.measures.iter().filter(|m| chart::is_drawn(m)) {
        if !names.contains(&m.name.as_str()) {
            names.push(&m.name);
        }
    }
    for name in names {
        let drawn: Vec<&Measure> =
            result.measures.iter().filter(|m| m.name == name && chart::is_drawn(m)).collect();
        let (drawing, legend) = if result.job == "offsets" {
            (chart::tiling(&drawn), "filled: accounted for; hatched: missing")
        } else {
            (chart::shares(&drawn), "dot: share; band: interval; dashed: target")
        };
        out.push_str(&format!(r#"<p class="soft">{} ({legend})</p>{drawing}"#, escaped(name)));
    }
    let rows: String = result.measures.iter().map(measure).collect();
    let head = r#"<th scope="col">Measure</th><th scope="col" class="n">Share</th><th scope="col" class="n">Count</th><th scope="col">Interval</th><th scope="col" class="n">Target</th><th scope="col">Verdict</th>"#;
    out + &table("Every share with the integers it is made of", head, &rows)
}

fn measure(m: &Measure) -> String {
    let interval = bounds(m).map_or_else(String::new, |text| {
        format!(r#"{text}<br><span class="soft">{}</span>"#, escaped(&m.bounds_by))
    });
    format!(
        r#"<tr><th scope="row">{}</th><td class="n">{}</td><td class="n">{} of {}<br><span class="soft">{}</span></td><td>{interval}</td><td class="n">{}</td><td>{}</td></tr>"#,
        escaped(&label(m)),
        share(m),
        count(m.numerator),
        count(m.denominator),
        escaped(&m.unit),
        m.target.map_or_else(String::new, |aim| escaped(&target(aim))),
        m.verdict.map_or_else(String::new, badge),
    )
}

fn history(trend: &[&JobResult]) -> String {
    let Some(drawing) = chart::trend(trend) else { return String::new() };
    let row = |result: &&JobResult| {
        format!(
            r#"<tr><th scope="row">{}</th><td class="n">{}</td><td class="n">{} of {}</td><td>{}</td></tr>"#,
            moment(result.window.to_us),
            share(&headline(result)),
            count(result.numerator),
            count(result.denominator),
            badge(result.verdict)
        )
    };
    let rows: String = trend.iter().map(row).collect();
    let head = r#"<th scope="col">Window to</th><th scope="col" class="n">Share</th><th scope="col" class="n">Count</th><th scope="col">Verdict</th>"#;
    format!("<h3>History</h3>{drawing}{}", folded("The same as a table", &table("Oldest first", head, &rows)))
}

fn offenders(result: &JobResult) -> String {
    if result.offenders_total == 0 {
        return String::new();
    }
    let row = |offender: &crate::audit::result::Offender| {
        format!(
            r#"<tr><th scope="row" class="id"><bdi>{}</bdi></th><td>{}</td><td><bdi>{}</bdi></td></tr>"#,
            escaped(&offender.id),
            escaped(&offender.why),
            escaped(&offender.detail)
        )
    };
    let rows: String = result.offenders.iter().map(row).collect();
    let caption =
        format!("{} of {}", result.offenders.len(), grouped(i128::from(result.offenders_total), THIN));
    let head = r#"<th scope="col">Who</th><th scope="col">Rule</th><th scope="col">What happened</th>"#;
    format!("<h3>Offenders</h3>{}", table(&caption, head, &rows))
}

fn counters(result: &JobResult) -> String {
    let row = |(name, n): (&String, &i64)| pair(&escaped(name), "n", &count(*n));
    let rows: String = result.counters.iter().map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let head = r#"<th scope="col">Counter</th><th scope="col" class="n">Count</th>"#;
    folded("Everything counted", &table("By name", head, &rows))
}

fn provenance(result: &JobResult) -> String {
    let check = &result.cross_check;
    let agreed = match (check.by.is_empty(), check.agrees) {
        (true, _) => "none".to_owned(),
        (false, true) => format!("{} agrees", check.by),
        (false, false) => format!("{} disagrees", check.by),
    };
    let versions = &result.versions;
    let mut rows = [
        ("Result", result.result_id.to_string()),
        ("Known at", moment(result.known_at_us)),
        (
            "Input",
            format!("{}, {} rows", result.input.source, grouped(i128::from(result.input.rows_read), THIN)),
        ),
        ("Took", format!("{} ms", grouped(i128::from(result.duration_ms), THIN))),
        ("Second opinion", agreed),
        (
            "Versions",
            format!(
                "tally {}, DataFusion {}, ClickHouse {}",
                versions.tally, versions.datafusion, versions.clickhouse
            ),
        ),
    ]
    .map(|(name, text)| pair(name, "id", &escaped(&text)))
    .concat();
    let mut more = |name: String, text: String| rows.push_str(&pair(&escaped(&name), "id", &escaped(&text)));
    for d in &check.differences {
        more(format!("Differs: {}", d.figure), format!("{} here, {} there", count(d.before), count(d.after)));
    }
    if let Some(old) = &result.restates {
        let text = format!("{}, {}, known at {}", old.verdict.name(), old.result_id, moment(old.known_at_us));
        more("Restates".to_owned(), text);
        for d in &old.differences {
            more(
                format!("Restated: {}", d.figure),
                format!("{} before, {} now", count(d.before), count(d.after)),
            );
        }
    }
    for bound in &result.input.bounds {
        let text = format!("offsets below {} ({})", count(bound.next), bound.topic_id);
        more(format!("{}/{}", bound.topic, bound.partition), text);
    }
    for (name, value) in &result.settings {
        more(format!("Setting: {name}"), count(*value));
    }
    for (file, hash) in &result.sql_sha256 {
        more(format!("SHA-256 of {file}"), hash.clone());
    }
    let head = r#"<th scope="col">What</th><th scope="col">Value</th>"#;
    folded("Where this comes from", &table("Provenance", head, &rows))
}

/// A row of a name and what it is; the value is HTML already.
fn pair(name: &str, class: &str, value: &str) -> String {
    format!(r#"<tr><th scope="row">{name}</th><td class="{class}">{value}</td></tr>"#)
}

fn table(caption: &str, head: &str, rows: &str) -> String {
    format!(
        r#"<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"#
    )
}

fn folded(summary: &str, content: &str) -> String {
    format!("<details><summary>{summary}</summary>{content}</details>")
}
