//! What each job of the audit says now and said before: every one of them has its line, also one that has said nothing.

use super::figure::{figure, framed, verdict};
use super::piece::{audit_sentence, share};
use super::sheet::Sheet;
use super::shell::{Notice, Tone};
use super::symbols::verdict_word;
use super::view::{Lang, View};
use crate::panel::Answer;
use maud::{Markup, html};
use tally_queries::audit::all_jobs;

/// Results of a job that its strip shows, the latest last.
const STRIP_MAX: usize = 24;
/// A window that ended so long before the data ends, beyond its own length, is old: the grace of an hour, and two to judge it in.
const BEHIND_US_MAX: i64 = 3 * 3_600_000_000;
/// A window counts as no longer than this here: the longest that `tally audit watch` has, so that who judges everything at once is old
/// after a week.
const WINDOW_US_MAX: i64 = 7 * 24 * 3_600_000_000;

/// A job of the audit, for people.
pub(super) fn job_title(job: &str, lang: Lang) -> &str {
    match job {
        "offsets" => lang.say("Offsets", "位点"),
        "completeness" => lang.say("Completeness", "完整性"),
        "accuracy" => lang.say("Estimate accuracy", "预估准确度"),
        "stability" => lang.say("Interface stability", "接口稳定性"),
        "repurchase" => lang.say("Repurchase", "复购"),
        "realtime" => lang.say("Realtime", "实时性"),
        "balances" => lang.say("Balances", "余额"),
        "sla" => lang.say("Moderation SLA", "审核时限"),
        other => other,
    }
}

/// Said above the page: which jobs do not hold, which could not be checked, and which have judged nothing for long.
pub(super) fn notices(view: &View, sheet: &Sheet) -> Vec<Notice> {
    let lang = view.lang;
    let Some(now) = sheet.answer("verdicts") else { return Vec::new() };
    let said = in_order(now);
    let names = |wanted: &dyn Fn(&Said<'_>) -> bool| -> Option<String> {
        let jobs =
            said.iter().flatten().filter(|one| wanted(one)).map(|one| job_title(one.text("job"), lang));
        Some(jobs.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
    };
    let reached_us = now.window.as_of_us.map(|as_of| as_of.min(now.to_us));
    let old = |one: &Said<'_>| reached_us.is_some_and(|reached_us| is_old(one.window_us(), reached_us));
    let parts = [
        (lang.say("Does not hold:", "未通过："), names(&|one| one.text("verdict") == "FAIL")),
        (lang.say("Could not be checked:", "无法检查："), names(&|one| one.text("verdict") == "ERROR")),
        (
            lang.say(
                "Judged no window for long, though there is newer data:",
                "数据已有更新，但较长时间未审计：",
            ),
            names(&old),
        ),
    ];
    let notice = |(what, jobs): (&str, Option<String>)| {
        jobs.map(|jobs| Notice { tone: Tone::Warn, text: format!("{what} {jobs}") })
    };
    parts.into_iter().filter_map(notice).collect()
}

/// Whether data has come up to `reached_us` for long without a later window than [from, to).
fn is_old((from_us, to_us): (i64, i64), reached_us: i64) -> bool {
    let length_us = to_us.saturating_sub(from_us).clamp(0, WINDOW_US_MAX);
    reached_us.saturating_sub(to_us) > BEHIND_US_MAX.saturating_add(length_us)
}

/// A place for each job, in the order of METRICS, with its result if it has one.
fn in_order(answer: &Answer) -> Vec<Option<Said<'_>>> {
    let of = |job: &str| Said::all(answer).into_iter().find(|one| one.text("job") == job);
    all_jobs().iter().map(|job| of(job.name())).collect()
}

/// The panel of verdicts: every job, what it says of which window, and what it said before.
pub(super) fn verdicts(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let Some((panel, asked)) = sheet.panel("verdicts") else { return html! {} };
    let Ok(now) = asked else { return figure(view, panel, asked) };
    let before = sheet.answer("verdicts-over-time").map(Said::all).unwrap_or_default();
    let heads = [
        (lang.say("Job", "作业"), ""),
        (lang.say("Now", "当前"), ""),
        (lang.say("Share", "占比"), "n"),
        (lang.say("What it says", "说明"), ""),
        (lang.say("Of the window", "所审时段"), ""),
        (lang.say("Before", "历史"), ""),
        (lang.say("Known at", "得知于"), ""),
    ];
    let body = html! {
        div class="scroll" tabindex="0" role="region" aria-labelledby="verdicts-title" {
            table role="table" {
                thead role="rowgroup" { tr role="row" { @for (head, class) in heads { th scope="col" role="columnheader" class=[Some(class).filter(|class| !class.is_empty())] { (head) } } } }
                tbody role="rowgroup" { @for (job, said) in all_jobs().iter().zip(in_order(now)) { (row(view, job.name(), said.as_ref(), &before)) } }
            }
        }
    };
    framed(view, panel, Some(now), &body)
}

fn row(view: &View, job: &str, said: Option<&Said<'_>>, before: &[Said<'_>]) -> Markup {
    let lang = view.lang;
    let mut strip: Vec<&Said<'_>> =
        before.iter().filter(|one| one.text("job") == job).take(STRIP_MAX).collect();
    strip.reverse();
    html! {
        tr role="row" id={ "job-" (job) } {
            th scope="row" role="rowheader" { (job_title(job, lang)) }
            @if let Some(said) = said {
                @let (from_us, to_us) = said.window_us();
                td role="cell" { (verdict(said.text("verdict"), lang)) }
                td role="cell" class="n" { a class="share" href=(view.link(&said.path())) { (share(said.number("numerator"), said.number("denominator"))) } }
                td role="cell" class="wrap" { (audit_sentence(said.text("sentence"), view, false)) }
                td role="cell" { (at(view, from_us)) " – " br; (at(view, to_us)) }
                td role="cell" { (marks(view, &strip)) }
                td role="cell" { (at(view, said.number("known_us"))) }
            } @else {
                td role="cell" { span class="verdict open" { (lang.say("never ran", "从未运行")) } }
                td role="cell" class="n" { "–" }
                td role="cell" class="wrap soft" { (lang.say("Nothing was judged by the end of this time. Run ", "截至该时段末尚无结论。请运行 ")) code { "tally audit " (job) } (lang.say(", or let ", "，或让 ")) code { "tally audit watch" } (lang.say(" run.", " 持续运行。")) }
                td role="cell" { "–" } td role="cell" { "–" } td role="cell" { "–" }
            }
        }
    }
}

/// One result, as the panels give it.
pub(super) struct Said<'a> {
    row: &'a [Option<String>],
    answer: &'a Answer,
}

impl<'a> Said<'a> {
    pub(super) fn all(answer: &'a Answer) -> Vec<Said<'a>> {
        answer.rows.iter().map(|row| Said { row, answer }).collect()
    }

    pub(super) fn text(&self, name: &str) -> &'a str {
        let at = self.answer.panel.column(name);
        at.and_then(|at| self.row.get(at)?.as_deref()).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// [from, to) of event time that it is about.
    pub(super) fn window_us(&self) -> (i64, i64) {
        (self.number("from_us"), self.number("to_us"))
    }

    pub(super) fn path(&self) -> String {
        format!("/verdict/{}", self.text("result_id"))
    }
}

/// Results, the oldest first: a mark each, whose shape says what its colour does.
fn marks(view: &View, strip: &[&Said<'_>]) -> Markup {
    html! {
        ul class="marks" {
            @for said in strip {
                @let verdict = said.text("verdict");
                @let word = verdict_word(verdict, view.lang);
                @let when = view.time(said.number("known_us"), false);
                li { a class={ "mark " (class_of(verdict)) } href=(view.link(&said.path())) title={ (word) " " (when) } { span class="said" { (word) " " (when) } } }
            }
        }
    }
}

fn class_of(verdict: &str) -> &'static str {
    match verdict {
        "PASS" => "pass",
        "FAIL" | "ERROR" => "fail",
        "WARN" => "warn",
        _ => "open",
    }
}

/// A moment of a panel.
pub(super) fn at(view: &View, us: i64) -> Markup {
    html! { time datetime=(crate::api::Moment(us).text()) { (view.time(us, false)) } }
}

#[cfg(test)]
mod tests {
    use super::is_old;

    /// Scenario: windows of an hour, of a week and of all time, and data that has come to their end and on.
    /// Guarantees: a window that is judged by the rhythm of its length, with its grace, is not old; one that nothing followed is; who
    /// judges everything at once is old after a week, and no end of the world overflows.
    #[test]
    fn a_window_grows_old_by_its_length() {
        const HOUR: i64 = 3_600_000_000;
        let now = 1_000_000 * HOUR;
        assert!(!is_old((now - 5 * HOUR, now - 4 * HOUR), now));
        assert!(is_old((now - 5 * HOUR - 1, now - 4 * HOUR - 1), now));
        let week = 7 * 24 * HOUR;
        assert!(!is_old((now - 2 * week, now - week), now));
        assert!(is_old((0, now - week - 4 * HOUR), now));
        assert!(!is_old((0, now - week), now));
        assert!(!is_old((i64::MIN, i64::MAX), now));
    }
}
