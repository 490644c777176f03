//! What a launch did, how good estimates are, and who pays for more. The first two are results of the audit: its verdict is the row that
//! Compliance shows, the figures are of its results; nothing is computed a second time.

use super::Pages;
use super::figure::verdict;
use super::guard::Visitor;
use super::jobs::{Said, at};
use super::live::Ground;
use super::number::grouped;
use super::overview::{group, sum};
use super::piece::audit_sentence;
use super::sheet::Sheet;
use super::shell::{self, Notice, Tone};
use super::view::View;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tally_queries::audit::JobName;

/// The panel of another page that says what each job of the audit says now.
const OF_THE_AUDIT: [&str; 1] = ["verdicts"];

/// `GET /product`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let sheet = match Sheet::ask_with(&pages.api, &visitor, "product", &OF_THE_AUDIT).await {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let said = sheet.answer("verdicts").map(Said::all).unwrap_or_default();
    let of = |job: JobName| said.iter().find(|one| one.text("job") == job.name());
    let (launch, accuracy) = (of(JobName::Repurchase), of(JobName::Accuracy));
    let mut notices = sheet.notices(view);
    if sheet.answer("verdicts").is_some() && (launch.is_none() || accuracy.is_none()) {
        let text = lang.say(
            "The audit has not said everything yet. Run `tally audit all`, or let `tally audit watch` run.",
            "审计尚无完整结论。请运行 `tally audit all`，或让 `tally audit watch` 持续运行。",
        );
        notices.push(Notice { tone: Tone::Plain, text: text.to_owned() });
    }
    let wallets = launch.and_then(|launch| needed(&sheet, launch));
    let body = html! {
        (result(view, ("launch", lang.say("The launch", "上线效果")), launch, &html! {
            @if let Some(wallets) = wallets {
                p class="needed" { b { (grouped(&wallets)) } " " (lang.say("more wallets would tell, at these rates", "个钱包（按当前复购率）即可判定")) }
            }
        }))
        (group(view, &sheet, lang.say("Repurchase", "复购"), &["repurchase", "launch-effect", "launch-difference"]))
        (result(view, ("estimates", lang.say("Estimates", "预估")), accuracy, &pooled(view, &sheet)))
        (group(view, &sheet, lang.say("Estimates against settlements", "预估与结算"), &["estimate-accuracy", "estimate-errors"]))
        (group(view, &sheet, lang.say("Acceleration", "加速"), &["acceleration-over-time", "acceleration"]))
        (group(view, &sheet, lang.say("Supplements", "补扣"), &["supplements-over-time", "supplements"]))
    };
    shell::page(&visitor, lang.say("Product", "产品"), Ground::Range(sheet.window), (&notices, &body))
}

/// How many wallets more would tell, as the audit says it of its measure in that result.
fn needed(sheet: &Sheet, launch: &Said<'_>) -> Option<String> {
    let effect = Said::all(sheet.answer("launch-effect")?);
    let same = effect.iter().find(|one| one.text("result_id") == launch.text("result_id"));
    same.map(|one| one.text("needed").to_owned()).filter(|wallets| !wallets.is_empty())
}

/// Of which windows the figures of estimates are, and how many tasks they cannot count yet.
fn pooled(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let answer = sheet.answer("estimate-accuracy");
    let said = answer.map(Said::all).unwrap_or_default();
    let Some(first) = said.first() else { return html! {} };
    let tasks = |name: &str| grouped(&sum(answer, name).to_string());
    html! {
        p class="pooled" {
            (lang.say("The figures below, of ", "下列图表汇总 ")) b { (grouped(first.text("windows"))) } (lang.say(if first.text("windows") == "1" { " window of " } else { " windows of " }, " 个窗口，")) (at(view, first.number("window_from_us"))) " – " (at(view, first.number("window_to_us"))) (lang.say(": ", "："))
            (lang.say("settled ", "已结算 ")) b { (tasks("tasks")) } (lang.say(", never settled ", "，从未结算 ")) b { (tasks("unsettled")) } (lang.say(", settling yet ", "，结算中 ")) b { (tasks("settling")) } (lang.say(".", "。"))
        }
    }
}

/// What the audit says of its newest window, in its own words.
fn result(view: &View, (id, title): (&str, &str), result: Option<&Said<'_>>, more: &Markup) -> Markup {
    let lang = view.lang;
    html! {
        section class="hint said-by-audit" id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) " " @if let Some(result) = result { (verdict(result.text("verdict"), lang)) } }
            @match result {
                None => p class="soft" { (lang.say("No result is known at the end of this time.", "截至该时段末尚无结论。")) },
                Some(result) => {
                    @let (from_us, to_us) = result.window_us();
                    p { (audit_sentence(result.text("sentence"), view, false)) }
                    p class="soft" {
                        (lang.say("Newest window", "最新窗口")) " " (at(view, from_us)) " – " (at(view, to_us)) " · "
                        (lang.say("known since", "得出于")) " " (at(view, result.number("known_us"))) " · "
                        a href=(view.link(&result.path())) { (lang.say("the whole result", "完整结果")) }
                    }
                }
            }
            (more)
        }
    }
}
