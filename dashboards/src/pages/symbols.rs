//! Symbols and names that programs write, in the reader's language: those of the contracts, and those that panels make.

use super::view::Lang;
use tally_queries::record_in_chinese;
use tally_schemas::Reason;

/// What a symbol is called, in English and in Chinese.
const SYMBOLS: [(&str, &str, &str); 92] = [
    // queues, calls
    ("NORMAL", "Normal queue", "普通队列"),
    ("ACCELERATED", "Accelerated queue", "加速队列"),
    ("MOVED", "Moved between queues", "换过队列"),
    ("CREDITS_ESTIMATE", "/credits/estimate", "/credits/estimate"),
    ("CREDITS_CHARGE", "/credits/charge", "/credits/charge"),
    ("CREDITS_REFUND", "/credits/refund", "/credits/refund"),
    ("LICENSES_CHECK", "/licenses/check", "/licenses/check"),
    ("TASKS_TRANSITIONS", "/tasks/transitions", "/tasks/transitions"),
    ("LICENSES_REVOKE", "/licenses/revoke", "/licenses/revoke"),
    ("ATTEMPTED", "Attempted", "已尝试调用"),
    ("OK", "OK", "成功"),
    ("REJECTED", "Rejected", "被拒绝"),
    ("ERROR", "Error", "出错"),
    ("TIMEOUT", "Timeout", "超时"),
    // who
    ("CREATOR", "Creator", "创作者"),
    ("BUYER", "Buyer", "买家"),
    ("MODERATOR", "Moderator", "审核人"),
    ("ADMIN", "Admin", "管理员"),
    ("SERVICE", "Service", "服务"),
    ("CUSTOMER", "Customer", "客户"),
    ("TEST", "Test", "测试"),
    ("STAFF", "Staff", "内部人员"),
    ("CANARY", "Canary", "金丝雀"),
    // credits
    ("ESTIMATED", "Estimated", "已预估"),
    ("HELD", "Held", "已冻结"),
    ("HOLD_FAILED", "Hold failed", "冻结失败"),
    ("CHARGED", "Charged", "扣费"),
    ("SUPPLEMENT_REQUESTED", "Supplement requested", "请求补扣"),
    ("SUPPLEMENT_CHARGED", "Supplement charged", "补扣"),
    ("SUPPLEMENT_DECLINED", "Supplement declined", "拒绝补扣"),
    ("REFUNDED", "Refunded", "退款"),
    ("ROLLED_BACK", "Rolled back", "已回滚"),
    ("PURCHASED", "Purchased", "购买积分"),
    ("OVERCHARGE", "Overcharge", "多扣退回"),
    ("TASK_FAILED", "Task failed", "任务失败"),
    ("GOODWILL", "Goodwill", "善意退款"),
    ("ROLLBACK", "Rollback", "回滚"),
    // licences
    ("CHECKED", "Checked", "已校验"),
    ("GRANTED", "Granted", "已授权"),
    ("REVOKED", "Revoked", "已撤销"),
    ("EXPIRED", "Expired", "已失效"),
    ("QUOTA_CHANGED", "Quota changed", "额度变更"),
    ("ALLOWED", "Allowed", "允许"),
    ("DENIED", "Denied", "拒绝"),
    ("QUOTA_EXHAUSTED", "Quota exhausted", "额度用尽"),
    // tasks
    ("SUBMITTED", "Submitted", "已提交"),
    ("QUEUED", "Queued", "已排队"),
    ("STARTED", "Started", "已开始"),
    ("PROGRESSED", "Progressed", "进行中"),
    ("ACCELERATION_OFFERED", "Acceleration offered", "已提供加速"),
    ("SUPPLEMENT_REQUIRED", "Supplement required", "需补充积分"),
    ("SUPPLEMENT_SETTLED", "Supplement settled", "积分已补足"),
    ("PAUSED", "Paused", "已暂停"),
    ("RESUMED", "Resumed", "已恢复"),
    ("SUCCEEDED", "Succeeded", "已完成"),
    ("FAILED", "Failed", "失败"),
    ("CANCELLED", "Cancelled", "已取消"),
    // cases
    ("REPORTED", "Reported", "已举报"),
    ("REVIEW_STARTED", "Review started", "审核中"),
    ("DECIDED", "Decided", "已裁定"),
    ("APPEALED", "Appealed", "已申诉"),
    ("ESCALATED", "Escalated", "已升级"),
    ("CLOSED", "Closed", "已结案"),
    ("OPENED", "Opened", "新案例"),
    ("LOW", "Low", "低"),
    ("MEDIUM", "Medium", "中"),
    ("HIGH", "High", "高"),
    ("CRITICAL", "Critical", "严重"),
    ("APPROVED", "Approved", "通过"),
    ("RESTRICTED", "Restricted", "限制"),
    ("REMOVED", "Removed", "下架"),
    ("LICENSE_REVOKED", "Licence revoked", "撤销授权"),
    ("DISMISSED", "Dismissed", "驳回"),
    // what panels make
    ("credits", "Credits", "积分"),
    ("normal, ±10 %", "Normal, ±10 %", "普通队列，±10 %"),
    ("accelerated, ±5 %", "Accelerated, ±5 %", "加速队列，±5 %"),
    ("moved, ±5 %", "Moved, ±5 %", "换过队列，±5 %"),
    ("all", "All", "全部"),
    ("BASELINE", "Four weeks before", "上线前四周"),
    ("LAUNCH", "Launch week", "上线当周"),
    ("RELATIVE", "Launch ÷ baseline", "上线 ÷ 基线"),
    ("ABSOLUTE", "Launch − baseline", "上线 − 基线"),
    ("ACCELERATION", "Acceleration", "加速"),
    ("SUPPLEMENT", "Supplement", "补充积分"),
    ("SHOWN", "Shown", "已显示"),
    ("ACCEPTED", "Accepted", "已接受"),
    ("DECLINED", "Declined", "已拒绝"),
    ("WITHIN", "yes", "是"),
    ("BEYOND", "no", "否"),
    ("yes", "yes", "是"),
    ("no", "no", "否"),
    ("", "–", "–"),
];

/// Kinds of events that are called otherwise than the symbol of that name.
const KINDS: [(&str, &str, &str); 1] = [("ACCELERATED", "Accelerated", "已加速")];

/// Verdicts, of the audit and of verifications. In English they are the words that reports have.
const VERDICTS: [(&str, &str); 11] = [
    ("PASS", "通过"),
    ("FAIL", "未通过"),
    ("WARN", "警告"),
    ("PENDING", "待定"),
    ("NOT_EVALUATED", "未评估"),
    ("INSUFFICIENT", "样本不足"),
    ("ERROR", "出错"),
    ("VERIFIED", "已验证"),
    ("TAMPERED", "被篡改"),
    ("INCOMPLETE", "不完整"),
    ("UNCHECKED", "无法检查"),
];

/// Fields of events as a line says them.
const FIELDS: [(&str, &str); 18] = [
    ("amount_micros", "金额"),
    ("price_minor", "价格"),
    ("currency", "货币"),
    ("balance_after_micros", "余额"),
    ("progress_permille", "进度"),
    ("progress", "进度"),
    ("state_version", "状态版本"),
    ("queue", "队列"),
    ("refund_reason", "退款原因"),
    ("check_result", "校验结果"),
    ("quota_remaining_micros", "剩余额度"),
    ("risk_level", "风险"),
    ("decision", "裁定"),
    ("case_id", "案例"),
    ("endpoint", "接口"),
    ("outcome", "结果"),
    ("error_code", "错误码"),
    ("actor_id", "操作者"),
];

/// Where a figure's definition stands; METRICS and DESIGN are names of documents.
const SOURCES: [(&str, &str); 4] = [
    ("METRICS, dashboard figures", "METRICS 看板指标"),
    ("METRICS, common rules", "METRICS 通用规则"),
    ("our own: METRICS names none", "自定：METRICS 未规定"),
    (
        "chosen for estimates in METRICS 2; METRICS 7 names none",
        "沿用 METRICS 2 为预估所定；METRICS 7 未规定",
    ),
];

fn known(of: &[(&str, &'static str, &'static str)], symbol: &str, lang: Lang) -> Option<&'static str> {
    of.iter().find(|(known, ..)| *known == symbol).map(|(_, en, zh)| lang.say(en, zh))
}

/// A symbol in the reader's language; one that is not known here, as it is. In Chinese a policy tag with what it means, a reason of dead
/// letters by its name, and which part of the log was verified.
pub(crate) fn symbol(value: &str, lang: Lang) -> String {
    if let Some(known) = known(&SYMBOLS, value, lang) {
        return known.to_owned();
    }
    match (lang, tag_meaning(value, lang)) {
        (Lang::En, _) => value.to_owned(),
        (Lang::Zh, Some(meaning)) => format!("{value} {meaning}"),
        (Lang::Zh, None) => {
            let reason = Reason::from_name(value).map(|reason| reason.in_chinese().0);
            reason.map_or_else(|| record_in_chinese(value).into_owned(), str::to_owned)
        }
    }
}

/// A kind of event, or the state of a task or a case, which is the kind of its last event.
pub(super) fn kind(value: &str, lang: Lang) -> String {
    known(&KINDS, value, lang).map_or_else(|| symbol(value, lang), str::to_owned)
}

/// What a policy tag means, by the dictionary.
pub(super) fn tag_meaning(tag: &str, lang: Lang) -> Option<&'static str> {
    let known = tally_schemas::policy_tags().iter().find(|known| known.symbol == tag)?;
    Some(lang.say(&known.en, &known.zh))
}

fn in_chinese(of: &[(&str, &'static str)], text: &str) -> Option<&'static str> {
    of.iter().find(|(known, _)| *known == text).map(|(_, zh)| *zh)
}

/// A verdict as a word.
pub(super) fn verdict_word(name: &str, lang: Lang) -> String {
    let known = in_chinese(&VERDICTS, name).filter(|_| lang == Lang::Zh);
    known.map_or_else(|| name.replace('_', " "), str::to_owned)
}

/// A field of an event, without its unit, which its number has.
pub(super) fn field(name: &str, lang: Lang) -> String {
    let bare = || ["_micros", "_minor", "_permille"].into_iter().find_map(|unit| name.strip_suffix(unit));
    let known = in_chinese(&FIELDS, name).filter(|_| lang == Lang::Zh);
    known.map_or_else(|| bare().unwrap_or(name).replace('_', " "), str::to_owned)
}

/// Where the definition of a figure or of a threshold stands.
pub(super) fn source(text: &str, lang: Lang) -> &str {
    in_chinese(&SOURCES, text).filter(|_| lang == Lang::Zh).unwrap_or(text)
}

#[cfg(test)]
mod tests;
