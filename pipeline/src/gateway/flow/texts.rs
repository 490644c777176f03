//! What people read: prompts and errors, in English and Chinese. A value that is not known is said to be so; no text has a hole.

use super::machine::Prompt;
use crate::gateway::code::Code;
use crate::gateway::contract::Queue;
use crate::gateway::moment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text before its values are filled in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Text {
    pub(super) en: &'static str,
    pub(super) zh: &'static str,
}

/// A text as it is shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Shown {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// What a text may name. What is not known is said to be so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Values {
    pub(super) amount_micros: Option<i64>,
    pub(super) queue: Option<Queue>,
    pub(super) expires_us: Option<i64>,
}

impl From<Prompt> for Values {
    fn from(prompt: Prompt) -> Values {
        Values { amount_micros: prompt.amount_micros, queue: prompt.queue, expires_us: prompt.expires_us }
    }
}

/// Asks for a supplement.
pub(super) const SUPPLEMENT: Text = Text {
    en: "Your task in the {queue} needs {amount} more than was estimated. Pay them to go on; if there is no answer by {expires_at}, \
         nothing more is taken.",
    zh: "您在{queue}中的任务比预估多需要{amount}。确认支付后继续；如在{expires_at}前未答复，则不再扣除。",
};

/// Offers a place in the accelerated queue.
pub(super) const ACCELERATION: Text = Text {
    en: "Your task can move to the {queue} for {amount} more. The offer stands until {expires_at}.",
    zh: "您的任务可加付{amount}转入{queue}。此报价有效期至{expires_at}。",
};

/// Every prompt.
#[cfg(test)]
const PROMPTS: [Text; 2] = [SUPPLEMENT, ACCELERATION];

impl Text {
    /// With its values.
    pub(super) fn fill(self, values: Values) -> Shown {
        Shown { en: fill(self.en, &english(values)), zh: fill(self.zh, &chinese(values)) }
    }
}

/// What each placeholder stands for.
type Named = [(&'static str, String); 3];

fn fill(text: &str, named: &Named) -> String {
    named.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn english(values: Values) -> Named {
    let amount = values.amount_micros.map(|micros| format!("{} credits", credits(micros)));
    let queue = values.queue.map(|queue| match queue {
        Queue::Normal => "normal queue",
        Queue::Accelerated => "accelerated queue",
    });
    [
        ("{amount}", amount.unwrap_or_else(|| "(amount not known)".to_owned())),
        ("{queue}", queue.unwrap_or("(queue not known)").to_owned()),
        ("{expires_at}", values.expires_us.map_or_else(|| "(time not known)".to_owned(), time)),
    ]
}

fn chinese(values: Values) -> Named {
    let amount = values.amount_micros.map(|micros| format!("{} 积分", credits(micros)));
    let queue = values.queue.map(|queue| match queue {
        Queue::Normal => "普通队列",
        Queue::Accelerated => "加速队列",
    });
    [
        ("{amount}", amount.unwrap_or_else(|| "（金额未知）".to_owned())),
        ("{queue}", queue.unwrap_or("（队列未知）").to_owned()),
        ("{expires_at}", values.expires_us.map_or_else(|| "（时间未知）".to_owned(), time)),
    ]
}

/// Micros as credits, to the last digit that is not zero.
fn credits(micros: i64) -> String {
    let (whole, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let sign = if micros < 0 { "-" } else { "" };
    match rest {
        0 => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{}", format!("{rest:06}").trim_end_matches('0')),
    }
}

/// To the second, UTC.
fn time(us: i64) -> String {
    let text = moment::text(us);
    let (date, clock) = (text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default());
    format!("{date} {clock} UTC")
}

/// What an error means for the person whose flow it is.
pub(super) const fn of_code(code: Code) -> Text {
    let (en, zh) = match code {
        Code::InvalidRequest => ("The request was not valid.", "请求无效。"),
        Code::IdempotencyKeyMissing => ("The request came without a key.", "请求缺少幂等键。"),
        Code::IdempotencyConflict => ("The key was used for another request.", "该幂等键已用于另一请求。"),
        Code::TokenMissing => ("You are not signed in.", "您尚未登录。"),
        Code::TokenInvalid => ("Your sign-in is no longer valid.", "您的登录已失效。"),
        Code::ScopeMissing => ("You may not do this.", "您没有此操作的权限。"),
        Code::NotFound => ("There is no such thing.", "未找到相应内容。"),
        Code::MethodNotAllowed => ("This cannot be done here.", "此处不支持该操作。"),
        Code::TooLarge => ("The request was too long.", "请求内容过长。"),
        Code::UnsupportedMediaType => ("The request was not JSON.", "请求不是 JSON 格式。"),
        Code::InsufficientBalance => (
            "The wallet does not hold the {amount} that are needed. Top it up, then try again.",
            "钱包余额不足，需要{amount}。请充值后重试。",
        ),
        Code::HoldFailed => (
            "{amount} could not be set aside for the task in the {queue}. Top the wallet up or choose another queue.",
            "无法为{queue}中的任务预留{amount}。请充值或选择其他队列。",
        ),
        Code::WalletUnknown => ("There is no such wallet.", "钱包不存在。"),
        Code::WalletFrozen => {
            ("The wallet is frozen: nothing can be taken from it.", "钱包已冻结，暂时无法扣款。")
        }
        Code::EstimateUnknown => ("There is no such estimate.", "预估不存在。"),
        Code::EstimateExpired => ("The estimate has expired. Ask for a new one.", "预估已过期，请重新获取。"),
        Code::RefundExceedsCharge => {
            ("No more can be given back than was charged.", "退还金额不能超过已扣金额。")
        }
        Code::LicenseUnknown => ("There is no such licence.", "授权不存在。"),
        Code::LicenseDenied => ("The licence is another's.", "该授权不属于您。"),
        Code::LicenseExpired => ("The licence has expired.", "授权已过期。"),
        Code::LicenseRevoked => ("The licence was revoked.", "授权已被撤销。"),
        Code::LicenseQuotaExhausted => ("The licence's quota is used up.", "授权额度已用完。"),
        Code::FlowConflict => ("This is not possible at this step.", "当前步骤无法执行此操作。"),
        Code::HoldExpired => (
            "The task was not finished in time. What was set aside for it is free again.",
            "任务未在规定时间内完成，为其预留的积分已释放。",
        ),
        Code::PlatformRefused => {
            ("The platform has refused it. Nothing was taken.", "平台已拒绝，未扣除任何积分。")
        }
        Code::RateLimited => ("Too many requests. Try again later.", "请求过于频繁，请稍后重试。"),
        Code::Overloaded => ("Too much is going on. Try again later.", "系统繁忙，请稍后重试。"),
        Code::CircuitOpen => ("The platform is not well. Try again later.", "平台暂时异常，请稍后重试。"),
        Code::OutboxFull => ("Nothing can be recorded now. Try again later.", "暂时无法记录，请稍后重试。"),
        Code::IdentityUnavailable => {
            ("Your sign-in cannot be checked now. Try again later.", "暂时无法验证登录，请稍后重试。")
        }
        Code::UpstreamUnavailable => {
            ("The platform does not answer. It is asked again.", "平台无响应，正在重试。")
        }
        Code::UpstreamTimeout => {
            ("The platform did not answer in time. It is asked again.", "平台响应超时，正在重试。")
        }
        Code::UpstreamInvalid => {
            ("The platform's answer was not understood. It is asked again.", "平台响应无法识别，正在重试。")
        }
        Code::AdapterStopped => {
            ("The service was restarted. It goes on by itself.", "服务已重启，流程将自动继续。")
        }
        Code::Internal => ("Something went wrong here.", "系统内部错误。"),
    };
    Text { en, zh }
}

#[cfg(test)]
mod tests {
    use super::{PROMPTS, Text, Values, of_code};
    use crate::gateway::code::Code;
    use crate::gateway::contract::Queue;

    const KNOWN: [&str; 3] = ["{amount}", "{queue}", "{expires_at}"];

    fn every() -> Vec<Text> {
        let codes = Code::ALL.iter().map(|code| of_code(*code));
        PROMPTS.into_iter().chain(codes).collect()
    }

    /// The placeholders of a text, sorted.
    fn placeholders(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> = text
            .match_indices('{')
            .map(|(at, _)| {
                let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
                &text[at..end]
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Scenario: somebody adds a code or a prompt, or translates one without its values.
    /// Guarantees: every prompt and every code has both languages, the Chinese one in Chinese, with the same placeholders, each of
    /// them one that is known; no two codes read the same.
    #[test]
    fn every_text_has_both_languages_and_known_placeholders() {
        for text in every() {
            assert!(text.en.is_ascii() && text.en.len() > 10, "{}", text.en);
            assert!(text.zh.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter)), "{}", text.zh);
            assert_eq!(placeholders(text.en), placeholders(text.zh), "{}", text.en);
            assert!(placeholders(text.en).iter().all(|name| KNOWN.contains(name)), "{}", text.en);
        }
        let mut english: Vec<&str> = every().iter().map(|text| text.en).collect();
        english.sort_unstable();
        english.dedup();
        assert_eq!(english.len(), PROMPTS.len() + Code::ALL.len());
        for prompt in PROMPTS {
            assert_eq!(placeholders(prompt.en), ["{amount}", "{expires_at}", "{queue}"]);
        }
    }

    /// Scenario: a prompt with all its values, and one with none.
    /// Guarantees: values stand where their names were; what is missing is said to be missing, in the language of the text; no
    /// brace is left in any text either way.
    #[test]
    fn values_are_filled_in_and_missing_ones_are_named() {
        let values = Values {
            amount_micros: Some(12_500_000),
            queue: Some(Queue::Accelerated),
            expires_us: Some(1_790_000_000_000_000),
        };
        let full = super::ACCELERATION.fill(values);
        assert_eq!(
            full.en,
            "Your task can move to the accelerated queue for 12.5 credits more. The offer stands until 2026-09-21 14:13:20 UTC."
        );
        assert_eq!(full.zh, "您的任务可加付12.5 积分转入加速队列。此报价有效期至2026-09-21 14:13:20 UTC。");
        let none = super::SUPPLEMENT.fill(Values::default());
        for missing in ["(amount not known)", "(queue not known)", "(time not known)"] {
            assert!(none.en.contains(missing), "{}", none.en);
        }
        for missing in ["（金额未知）", "（队列未知）", "（时间未知）"] {
            assert!(none.zh.contains(missing), "{}", none.zh);
        }
        for shown in every().into_iter().flat_map(|text| [text.fill(values), text.fill(Values::default())]) {
            assert!(!shown.en.contains(['{', '}']) && !shown.zh.contains(['{', '}']), "{shown:?}");
        }
    }

    /// Scenario: amounts with and without a fraction, and below zero.
    /// Guarantees: every digit that counts, and no other.
    #[test]
    fn amounts_are_exact() {
        for (micros, text) in
            [(0, "0"), (1, "0.000001"), (2_000_000, "2"), (-1_250_000, "-1.25"), (10_100_000, "10.1")]
        {
            assert_eq!(super::credits(micros), text);
        }
    }
}
