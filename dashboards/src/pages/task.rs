//! One task over all topics: what happened, where it was taken, what it cost, and how the sealed log stands to it.

use super::Pages;
use super::compliance::table_of_letters;
use super::controls::when;
use super::guard::Visitor;
use super::live::Ground;
use super::number::shown;
use super::piece::{
    digest, facts, list, moment, or_dash, record_words, section, standing, table, text, trouble_words,
};
use super::shell;
use super::symbols::{field, kind, tag_meaning};
use super::view::{Lang, View};
use crate::api::{Api, answers, letters_of_task, receipts_of_events, segment};
use crate::identity::Role;
use crate::panel::Unit;
use crate::problem::{Code, Problem};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// What is known of a task.
struct Known {
    timeline: Value,
    /// Receipts of what the visitor sees, by event.
    receipts: HashMap<String, Vec<Value>>,
    letters: Vec<Value>,
    evidence: Option<Result<Value, Problem>>,
}

/// `GET /task/{task_id}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(task_id): Path<String>,
) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let known = match known(&pages.api, &visitor, &task_id).await {
        Ok(known) => known,
        Err(problem) => return visitor.refused(&problem),
    };
    let audits = is_auditor(visitor.principal.role);
    let events = list(&known.timeline, "events");
    let is_cut = !known.timeline["next"].is_null();
    let cut = match is_cut {
        true => lang.say(
            "It has more events than are here, the earliest ones; the JSON has the others, and nothing is summed up.",
            "此处仅显示最早的事件，其余见 JSON；不作合计。",
        ),
        false => "",
    };
    let refused = match known.letters.iter().any(|letter| letter["is_settled"] == false) {
        true => lang.say(
            "Task events that bear its key and were refused: it is incomplete until they are replayed.",
            "以此任务为键且被拒收的任务事件：重放之前任务不完整。",
        ),
        false => lang.say(
            "Task events that bear its key and were refused. Each is settled: its bytes were accepted later.",
            "以此任务为键且曾被拒收的任务事件，均已了结：其字节后来已被接收。",
        ),
    };
    // what a verification found says how things were then: a live page leaves it alone
    let found = html! { div id="found" data-own { (evidence(view, known.evidence.as_ref(), events)) } };
    let body = html! {
        (head(view, &known.timeline["task"], (events, is_cut)))
        @if !known.letters.is_empty() {
            (section("letters", lang.say("Dead letters of this task", "此任务的死信"), refused, &table_of_letters(view, ("part-letters", &known.letters))))
        }
        (section("timeline", lang.say("What happened", "时间线"), cut, &timeline(view, &known, events)))
        @if audits { (section("evidence", lang.say("Verify this task", "验证此任务"), "", &found)) }
        p class="more" { a href={ "/api/v1/tasks/" (segment(&task_id)) } { "JSON" } }
    };
    shell::page(&visitor, &task_id, Ground::Task(&task_id), (&[], &body))
}

const fn is_auditor(role: Role) -> bool {
    matches!(role, Role::Admin | Role::Moderator)
}

async fn known(api: &Api, visitor: &Visitor, task_id: &str) -> Result<Known, Problem> {
    let (who, audits) = (&visitor.principal, is_auditor(visitor.principal.role));
    let letters = match audits {
        true => letters_of_task(api, task_id).await?,
        false => Vec::new(),
    };
    let letters = serde_json::to_value(letters).map_err(|_| Problem::new(Code::Internal))?;
    let letters = letters.as_array().cloned().unwrap_or_default();
    let timeline = match answers::task(api, who, task_id).await {
        Ok(timeline) => timeline,
        // nothing of it was accepted, and still something is known of it
        Err(problem) if problem.code() == Code::NotFound && !letters.is_empty() => {
            json!({ "task": null, "events": [] })
        }
        Err(problem) => return Err(problem),
    };
    let mut receipts: HashMap<String, Vec<Value>> = HashMap::new();
    let shown = list(&timeline, "events").iter().map(|event| text(&event["fields"], "event_id"));
    let shown: Vec<&str> = shown.collect();
    for receipt in receipts_of_events(api, task_id, &shown).await? {
        let event_id = receipt.event_id.clone();
        let receipt = serde_json::to_value(receipt).map_err(|_| Problem::new(Code::Internal))?;
        receipts.entry(event_id).or_default().push(receipt);
    }
    let evidence = match audits && visitor.view.filter("verify").is_some() {
        true => Some(answers::task_evidence(api, who, task_id).await),
        false => None,
    };
    Ok(Known { timeline, receipts, letters, evidence })
}

fn credits(view: &View, micros: i128) -> String {
    shown(Some(&micros.to_string()), Unit::CreditsMicros, None, view)
}

/// Amounts of a task's money by kind, micros.
fn sums(events: &[Value]) -> [(&'static str, i128); 4] {
    let sum = |kind: &str| -> i128 {
        let of = events.iter().filter(|event| text(event, "kind") == kind);
        of.filter_map(|event| text(&event["fields"], "amount_micros").parse::<i128>().ok()).sum()
    };
    [
        ("HELD", sum("HELD")),
        ("CHARGED", sum("CHARGED")),
        ("SUPPLEMENT_CHARGED", sum("SUPPLEMENT_CHARGED")),
        ("REFUNDED", sum("REFUNDED")),
    ]
}

fn head(view: &View, task: &Value, (events, is_cut): (&[Value], bool)) -> Markup {
    let lang = view.lang;
    if task.is_null() {
        let none = lang.say("No event says that this task was submitted.", "没有事件表明此任务已提交。");
        return html! { p class="notice warn" { (none) } };
    }
    let link = |name: &str| or_dash(text(task, name));
    let progress = task["progress_permille"].as_i64();
    let [_, (_, charged), (_, supplements), (_, refunded)] = sums(events);
    let has_money = events.iter().any(|event| text(event, "topic") == "credit-events");
    let rows = [
        (
            lang.say("State", "状态"),
            html! { strong title=(text(task, "state")) { (kind(text(task, "state"), lang)) } @if !text(task, "error_code").is_empty() { " " code { (text(task, "error_code")) } } },
        ),
        (
            lang.say("Progress", "进度"),
            html! {
                @if let Some(permille) = progress { progress max="1000" value=(permille) aria-label=(lang.say("Progress", "进度")) {} " " (permille / 10) "." (permille % 10) " %" } @else { "–" }
            },
        ),
        (lang.say("Queue", "队列"), html! { (super::number::symbol(text(task, "queue"), lang)) }),
        (lang.say("Policy tag", "政策标签"), html! { code { (text(task, "policy_tag")) } }),
        (lang.say("Submitted", "提交于"), moment(view, text(task, "opened_at"), false)),
        (lang.say("Template", "模板"), link("template_id")),
        (lang.say("Licence", "授权"), link("license_id")),
        (lang.say("Buyer", "买家"), link("user_id")),
        (lang.say("Wallet", "钱包"), link("wallet_id")),
        (
            lang.say("Credits", "积分"),
            html! {
                @if is_cut { "–" } @else if has_money {
                    (lang.say("charged", "扣除")) " " strong { (credits(view, charged)) } ", " (lang.say("supplements", "补扣")) " " (credits(view, supplements)) ", "
                    (lang.say("refunded", "退回")) " " (credits(view, refunded)) ", " (lang.say("net", "净额")) " " strong { (credits(view, charged + supplements - refunded)) }
                } @else { "–" }
            },
        ),
    ];
    html! { div class="card" { (facts(&rows)) } }
}

/// Fields of an event that its line says, and how.
const TOLD: [(&str, Unit); 16] = [
    ("amount_micros", Unit::CreditsMicros),
    ("price_minor", Unit::CurrencyMinor),
    ("balance_after_micros", Unit::CreditsMicros),
    ("progress_permille", Unit::Ratio),
    ("state_version", Unit::Count),
    ("queue", Unit::Symbol),
    ("refund_reason", Unit::Symbol),
    ("check_result", Unit::Symbol),
    ("quota_remaining_micros", Unit::CreditsMicros),
    ("risk_level", Unit::Symbol),
    ("decision", Unit::Symbol),
    ("case_id", Unit::Text),
    ("endpoint", Unit::Symbol),
    ("outcome", Unit::Symbol),
    ("error_code", Unit::Text),
    ("actor_id", Unit::Text),
];

/// What an event says, in a line.
pub(super) fn told(view: &View, fields: &Value) -> Markup {
    let value = |name: &str| match &fields[name] {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let currency = fields["currency"].as_str();
    html! {
        @for (name, unit) in TOLD {
            @if let Some(value) = value(name) {
                span class="pair" {
                    span class="soft" { (field(name, view.lang)) } " "
                    @if name == "case_id" { a href=(view.link(&format!("/case/{}", segment(&value)))) { (value) } }
                    @else if unit == Unit::Ratio { (per_cent(&value)) }
                    @else if unit == Unit::CurrencyMinor { (shown(Some(&value), unit, currency, view)) " " (currency.unwrap_or_default()) }
                    @else { (shown(Some(&value), unit, None, view)) }
                } " "
            }
        }
    }
}

/// Thousandths as per cent, exact.
fn per_cent(permille: &str) -> String {
    permille
        .parse::<u32>()
        .map_or_else(|_| permille.to_owned(), |permille| format!("{}.{} %", permille / 10, permille % 10))
}

/// The names of the fields that a line says.
#[cfg(test)]
pub(super) fn told_fields() -> impl Iterator<Item = &'static str> {
    TOLD.iter().map(|(name, _)| *name)
}

/// What an event is about, by its topic.
fn topic_word(topic: &str, lang: Lang) -> &str {
    match topic.trim_end_matches("-events") {
        "credit" => lang.say("credit", "积分"),
        "license" => lang.say("license", "授权"),
        "task" => lang.say("task", "任务"),
        "moderation" => lang.say("moderation", "审核"),
        other => other,
    }
}

/// What became of a record.
fn disposition(name: &str, lang: Lang) -> String {
    match name {
        "ACCEPTED" => lang.say("accepted", "已接收").to_owned(),
        "DEAD" => lang.say("dead", "死信").to_owned(),
        other => other.to_lowercase(),
    }
}

fn timeline(view: &View, known: &Known, events: &[Value]) -> Markup {
    let lang = view.lang;
    let row = |event: &Value| {
        let fields = &event["fields"];
        let receipts = known.receipts.get(text(fields, "event_id")).map_or(&[][..], Vec::as_slice);
        let tag = text(fields, "policy_tag");
        vec![
            moment(view, text(event, "occurred_at"), true),
            html! { span class={ "topic " (text(event, "topic")) } { (topic_word(text(event, "topic"), lang)) } },
            html! { strong title=(text(event, "kind")) { (kind(text(event, "kind"), lang)) } @if event["masked"] == true { " " span class="soft" { (lang.say("masked", "已脱敏")) } } },
            html! { div class="told" { (told(view, fields)) } },
            html! { @if tag.is_empty() { "–" } @else { code title=[tag_meaning(tag, lang)] { (tag) } } },
            html! {
                @for (at, receipt) in receipts.iter().enumerate() {
                    @if at > 0 { br; }
                    code { (text(receipt, "topic")) "/" (receipt["partition"]) "/" (receipt["offset"]) }
                    @if at > 0 { " " span class="soft" { (lang.say("duplicate", "重复")) } }
                }
                @if receipts.is_empty() { span class="verdict fail" { (lang.say("no receipt", "无回执")) } }
            },
            html! { @if let Some(receipt) = receipts.first() { (digest(text(receipt, "digest"))) } @else { "–" } },
        ]
    };
    let rows: Vec<Vec<Markup>> = events.iter().map(row).collect();
    let heads = [
        &when(view),
        lang.say("Topic", "主题"),
        lang.say("Kind", "类型"),
        lang.say("What it says", "内容"),
        lang.say("Policy tag", "政策标签"),
        lang.say("Taken at", "位置"),
        lang.say("Content digest", "内容摘要"),
    ];
    let none = lang.say(
        "No event of this task was accepted, or none that you may see.",
        "此任务没有已接收的（或您可见的）事件。",
    );
    table(("part-timeline", &[], none), &heads, &rows)
}

/// What a verification found. Proofs are of `events` that the visitor sees whole, since a proof holds all of one.
fn evidence(view: &View, evidence: Option<&Result<Value, Problem>>, events: &[Value]) -> Markup {
    let lang = view.lang;
    let explained = lang.say(
        "Each receipt and dead letter is hashed again and held against the signed trees; each fact's content is digested again. Dead letters are those of task events under this key: one of another topic is not found by it.",
        "重新计算每张回执和死信的哈希并与已签名的树核对，同时重新计算每条事实的内容摘要。死信仅指以此任务为键的任务事件；其他主题的死信不在此列。",
    );
    let button = html! {
        p class="act" { a class="button" href=(format!("{}#part-evidence", view.link_with(&view.path, &[("verify", "yes")]))) { (lang.say("Verify this task", "验证此任务")) } " " span class="soft" { (explained) } }
    };
    let evidence = match evidence {
        None => return button,
        Some(Err(problem)) => {
            return html! { (button) p class="unanswered" role="alert" { (trouble_words(problem, lang)) } };
        }
        Some(Ok(evidence)) => evidence,
    };
    let whole: HashSet<&str> = events
        .iter()
        .filter(|event| event["masked"] != true)
        .map(|event| text(&event["fields"], "event_id"))
        .collect();
    let proof = |record: &Value| {
        let event_id = text(record, "event_id");
        let has_one = text(record, "state") == "sealed" && whole.contains(event_id);
        has_one.then(|| format!("/api/v1/proofs/{}", segment(event_id)))
    };
    let row = |record: &Value| {
        vec![
            html! { code { (text(record, "topic")) "/" (record["partition"]) "/" (record["offset"]) } },
            html! { @if text(record, "disposition") == "NONE" { strong class="bad" { (lang.say("no receipt", "无回执")) } } @else { (disposition(text(record, "disposition"), lang)) } @if record["is_settled"] == true { " " span class="soft" { (lang.say("settled", "已了结")) } } },
            html! { (kind(text(record, "kind"), lang)) },
            standing(text(record, "state"), lang),
            html! { @if text(record, "disposition") != "DEAD" { @if record["facts"] == 1 { (lang.say("there", "存在")) } @else { strong class="bad" { (record["facts"]) } } } @else { "–" } },
            digest(text(record, "raw_sha256")),
            html! {
                @if let Some(proof) = proof(record) { a href=(proof) download={ (text(record, "event_id")) ".proof.json" } { (lang.say("Proof", "证明文件")) } " " }
                span class="cut" { (or_dash(&record_words(text(record, "said"), lang))) }
            },
        ]
    };
    let rows: Vec<Vec<Markup>> = list(evidence, "records").iter().map(row).collect();
    let heads = [
        lang.say("Record", "记录"),
        lang.say("Disposition", "处置"),
        lang.say("Kind or reason", "类型或原因"),
        lang.say("Sealed log", "封印日志"),
        lang.say("Fact", "事实"),
        lang.say("Bytes, SHA-256", "字节 SHA-256"),
        lang.say("Proof", "证明"),
    ];
    let signers: Vec<&str> = list(evidence, "signers").iter().filter_map(Value::as_str).collect();
    html! {
        @let open = list(evidence, "records").iter().filter(|record| record["state"] != "sealed").count();
        p class="lead" id="verified" {
            (standing(text(evidence, "verdict"), lang)) ": " (rows.len() - open) " / " (rows.len()) " " (lang.say("records sealed as they are", "条记录已原样封印")) @if !signers.is_empty() { ", " (lang.say("signed by", "签名者")) " " code { (signers.join(", ")) } }
        }
        @if evidence["more"] == true {
            p class="notice warn" { (lang.say("This task has more records than were looked at: the first ", "此任务的记录多于此处所验：仅验证了前 ")) (rows.len()) (lang.say(". All of them are verified by ", " 条。验证全部记录请运行 ")) code { "tally verify" } "." }
        }
        @for uneven in list(evidence, "uneven").iter().filter_map(Value::as_str) {
            p class="notice warn" { (record_words(uneven, lang)) (lang.say(". ", "。")) (lang.say("Whether one of this task is among them cannot be said here: ask ", "此处无法判断其中是否有此任务的记录，请运行 ")) code { "tally verify" } "." }
        }
        (table(("part-evidence", &[], lang.say("No record names this task.", "没有记录提到此任务。")), &heads, &rows))
        (button)
    }
}

#[cfg(test)]
mod tests {
    use super::{evidence, told};
    use crate::pages::view::View;
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    fn view() -> View {
        View::read("lang=en", &HeaderMap::new()).expect("a view").at("/task/t")
    }

    /// What stands in a markup, without its tags.
    fn plain(markup: &str) -> String {
        let parts = markup.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Scenario: events that say prices in currencies with and without minor units, progress, and a call.
    /// Guarantees: money is that of its currency, progress per cent, the call by its address; no number bears a unit that is not its own.
    #[test]
    fn events_say_their_numbers_in_their_units() {
        for (fields, expected) in [
            (json!({ "price_minor": "1999", "currency": "EUR" }), "price 19.99 EUR"),
            (json!({ "price_minor": "1999", "currency": "JPY" }), "price 1,999 JPY"),
            (json!({ "progress_permille": 505 }), "progress 50.5 %"),
            (
                json!({ "amount_micros": "2500000", "endpoint": "CREDITS_CHARGE" }),
                "amount 2.50 endpoint /credits/charge",
            ),
            (
                json!({ "balance_after_micros": "1000000", "state_version": 3 }),
                "balance after 1.00 state version 3",
            ),
        ] {
            assert_eq!(plain(&told(&view(), &fields).0), expected);
        }
    }

    /// Scenario: a verification of a task with more records than are looked at: two sealed events, one of which the visitor sees masked,
    /// one that is not sealed yet, and a dead letter; and of a task of which all was looked at.
    /// Guarantees: what was cut is said; a proof is offered of what is sealed and seen whole, and of nothing else.
    #[test]
    fn evidence_says_what_was_cut_and_offers_its_proofs() {
        let record = |event_id: &str, state: &str| {
            let disposition = if event_id.is_empty() { "DEAD" } else { "ACCEPTED" };
            json!({ "topic": "task-events", "partition": 0, "offset": 1, "disposition": disposition, "kind": "STARTED",
                "event_id": event_id, "raw_sha256": "ab", "facts": 1, "state": state, "said": "" })
        };
        let event =
            |event_id: &str, masked: bool| json!({ "masked": masked, "fields": { "event_id": event_id } });
        let events = [event("whole", false), event("masked", true), event("fresh", false)];
        let records = [("whole", "sealed"), ("masked", "sealed"), ("fresh", "unsealed"), ("", "sealed")];
        let records: Vec<Value> = records.map(|(event_id, state)| record(event_id, state)).to_vec();
        for more in [false, true] {
            let found = json!({ "verdict": "incomplete", "more": more, "records": records, "signers": [], "uneven": [] });
            let page = evidence(&view(), Some(&Ok(found)), &events).0;
            assert_eq!(page.matches("/api/v1/proofs/").count(), 1, "{page}");
            assert!(page.contains("href=\"/api/v1/proofs/whole\""), "{page}");
            assert_eq!(
                plain(&page).contains("the first 4. All of them are verified by tally verify"),
                more,
                "{page}"
            );
        }
    }
}
