//! What a launch did, how good estimates are, and who pays for more. The first two are results of the audit, as they were known at
//! the end of the time that is shown; nothing is computed a second time.

use super::Pages;
use super::door::Visitor;
use super::figure::verdict;
use super::live::Ground;
use super::overview::group;
use super::sheet::Sheet;
use super::shell::{self, Notice, Tone};
use super::view::View;
use crate::api::Moment;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use tally_queries::audit::JobName;
use tally_queries::audit::history::{Wanted, history};
use tally_queries::audit::result::JobResult;

/// Of so many results the latest of a job is looked for.
const RESULTS_MAX: u64 = 1;

/// `GET /product`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let (_, to_us) = view.range_us();
    let asked = futures::join!(
        Sheet::ask(&pages.api, &visitor, "product"),
        latest(&pages, JobName::Repurchase, to_us),
        latest(&pages, JobName::Accuracy, to_us)
    );
    let (sheet, launch, accuracy) = match asked {
        (Ok(sheet), Ok(launch), Ok(accuracy)) => (sheet, launch, accuracy),
        (Err(problem), ..) | (_, Err(problem), _) | (.., Err(problem)) => return visitor.refused(&problem),
    };
    let mut notices = sheet.notices(view);
    if launch.is_none() || accuracy.is_none() {
        let text = lang.say(
            "The audit has not said everything yet. Run `tally audit all`, or let `tally audit watch` run.",
            "审计尚无完整结论。请运行 `tally audit all`，或让 `tally audit watch` 持续运行。",
        );
        notices.push(Notice { tone: Tone::Plain, text: text.to_owned() });
    }
    let body = html! {
        (result(view, "launch", lang.say("The launch", "上线效果"), launch.as_ref(), launch.as_ref().and_then(needed)))
        (group(view, &sheet, lang.say("Repurchase", "复购"), &["repurchase", "launch-effect", "launch-difference"]))
        (result(view, "estimates", lang.say("Estimates", "估价"), accuracy.as_ref(), None))
        (group(view, &sheet, lang.say("Estimates against settlements", "估价与结算"), &["estimate-accuracy", "estimate-errors"]))
        (group(view, &sheet, lang.say("Acceleration", "加速"), &["acceleration-over-time", "acceleration"]))
        (group(view, &sheet, lang.say("Supplements", "补扣"), &["supplements-over-time", "supplements"]))
    };
    shell::page(&visitor, lang.say("Product", "产品"), Ground::Range(sheet.window), (&notices, &body))
}

async fn latest(pages: &Pages, job: JobName, as_known_at_us: i64) -> Result<Option<JobResult>, Problem> {
    let wanted =
        Wanted { job: job.name().to_owned(), as_known_at_us: Some(as_known_at_us), limit: RESULTS_MAX };
    let _place = pages.api.place().await?;
    let found = history(pages.api.client(), &wanted).await;
    let found = found.map_err(|error| {
        tracing::warn!(error = %crate::chain(&error), "results of the audit cannot be read");
        Problem::new(crate::problem::Code::StoreUnavailable).retry_after(1)
    })?;
    Ok(found.into_iter().next())
}

/// How many wallets more would tell, as the audit says it of its measures.
fn needed(result: &JobResult) -> Option<i64> {
    result.measures.iter().find_map(|measure| measure.needed)
}

/// What the audit said, in its own words, and of which time.
fn result(view: &View, id: &str, title: &str, result: Option<&JobResult>, needed: Option<i64>) -> Markup {
    let lang = view.lang;
    html! {
        section class="hint said-by-audit" id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) " " @if let Some(result) = result { (verdict(result.verdict.name())) } }
            @match result {
                None => p class="soft" { (lang.say("No result is known at the end of this time.", "截至该时段末尚无结论。")) },
                Some(result) => {
                    p { (super::piece::audit_words(&result.sentence, lang)) }
                    @if let Some(wallets) = needed {
                        p class="needed" { b { (super::number::grouped(&wallets.to_string())) } " " (lang.say("more wallets would tell, at these rates", "个钱包（按当前复购率）即可判定")) }
                    }
                    p class="soft" {
                        (lang.say("Window", "窗口")) " " (moment(view, result.window.from_us)) " – " (moment(view, result.window.to_us)) " · "
                        (lang.say("known since", "得出于")) " " (moment(view, result.known_at_us)) " · "
                        a href={ "/api/v1/audit/results/" (result.result_id) } { (lang.say("the whole result", "完整结果")) }
                    }
                }
            }
        }
    }
}

fn moment(view: &View, us: i64) -> Markup {
    html! { time datetime=(Moment(us).text()) { (view.time(us, false)) } }
}
