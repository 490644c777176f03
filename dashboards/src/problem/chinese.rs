//! Problems in Chinese, for pages; documents for programs are in English.

use super::{Code, Problem};
use std::borrow::Cow;
use tally_queries::{Book, record_in_chinese};

/// Every detail that a page can show.
const DETAILS: Book = Book::new(
    &[&[
        ("the address is not what this page takes", "该地址不是此页所接受的"),
        ("the query string is not what this route takes", "查询参数不是此接口所接受的"),
        ("the path is not what this route takes", "路径不是此接口所接受的"),
        ("the body is not what this route takes", "请求体不是此接口所接受的"),
        ("the result was written by another version", "该结果由其他版本写入"),
        ("{name} is not a time as in RFC 3339", "{name} 不是 RFC 3339 格式的时间"),
        ("from is not before to", "from 必须早于 to"),
        ("from is before to, by 366 days at most", "from 必须早于 to，且最多相差 366 天"),
        ("to without from", "只有 to 而没有 from"),
        ("there is no such {name} in that zone", "该时区中没有这一 {name} 时间"),
        ("a range is 366 days at most", "时间范围最长 366 天"),
        ("range is 15m, 1h, 24h, 7d, 30d or 90d", "range 只能是 15m、1h、24h、7d、30d 或 90d"),
        ("tz is local, UTC or a name of the tz database", "tz 只能是 local、UTC 或时区数据库中的名称"),
        ("lang is en or zh", "lang 只能是 en 或 zh"),
        ("theme is auto, light or dark", "theme 只能是 auto、light 或 dark"),
        ("step is at least a second", "step 至少为一秒"),
        ("step leaves more than 1000 stretches", "按此 step 将超过 1000 段"),
        ("limit is 1 to {#most}", "limit 为 1 至 {most}"),
        ("{name} has 1 to {#most} bytes", "{name} 为 1 至 {most} 字节"),
        ("ask for a shorter time or for less at once", "请缩短时间范围或减少一次查询的内容"),
        ("this service was given no seals", "此服务未配置封印"),
        (
            "what was sealed cannot be read or does not match: ask tally verify",
            "封印的内容无法读取或不相符：请运行 tally verify",
        ),
        ("the event is not sealed yet", "该事件尚未封印"),
        (
            "the sealed log cannot be read or is not signed: ask tally verify",
            "封印日志无法读取或没有签名：请运行 tally verify",
        ),
        (
            "this service was not told that it may publish: tally serve --replays",
            "此服务未获准发布：请用 tally serve --replays 启动",
        ),
        (
            "somebody publishes it just now: see who in the list of its replays",
            "正有人在发布它：请在重放记录中查看操作者",
        ),
        ("it would die again: see the dry run", "它将再次成为死信：请查看试运行"),
        ("it was asked for a moment ago, and may be on its way", "刚刚已请求重放，可能正在途中"),
        (
            "it was replayed already: see the dry run, and say again",
            "已经重放过：请查看试运行；确需再次重放请注明 again",
        ),
        (
            "Kafka has not said yet whether it took the record: it will stand in the list of the letter's replays",
            "Kafka 尚未确认是否接收：结果将出现在该死信的重放记录中",
        ),
        ("somebody else asked for it at the same moment", "同一时刻另有人请求了重放"),
        ("what a letter is held against does not answer", "校验死信所需的服务没有应答"),
        ("Kafka did not take the record", "Kafka 未接收该记录"),
        ("Kafka did not say whether it took the record", "Kafka 未确认是否接收该记录"),
        (
            "the form is not one of our pages, or of another session",
            "该表单不是本服务页面的表单，或属于另一会话",
        ),
        ("the form is not one of our pages", "该表单不是本服务页面的表单"),
        (
            "too many access tokens that are not valid here came from this address",
            "此地址提交了过多无效的访问令牌",
        ),
    ]],
    20_000,
);

impl Code {
    /// Its title in Chinese.
    pub(crate) const fn title_in_chinese(self) -> &'static str {
        match self {
            Code::InvalidParameter => "参数无效",
            Code::InvalidCursor => "游标不属于此接口",
            Code::InvalidBody => "请求体无效",
            Code::TokenMissing => "没有访问令牌",
            Code::TokenInvalid => "访问令牌在此处无效",
            Code::TokenExpired => "访问令牌已过期",
            Code::TokenRevoked => "访问令牌已被撤销",
            Code::Forbidden => "此角色无权访问",
            Code::NotFound => "没有该内容",
            Code::MethodNotAllowed => "不允许此方法",
            Code::Conflict => "目前不能执行",
            Code::NotAcceptable => "没有可接受的返回格式",
            Code::TooLarge => "请求体过长",
            Code::UnsupportedMediaType => "不支持请求体的媒体类型",
            Code::TooExpensive => "查询开销过大",
            Code::RateLimited => "请求过于频繁",
            Code::Timeout => "请求超时",
            Code::StoreUnavailable => "存储没有应答",
            Code::IdentityUnavailable => "目前无法核验访问令牌",
            Code::Overloaded => "同时查询过多",
            Code::Internal => "服务内部出错",
            Code::LogUnavailable => "事件日志没有应答",
            Code::StreamEnded => "事件流已结束",
            Code::Resync => "无法从该游标续传事件流",
        }
    }
}

impl Problem {
    /// What is wrong with this request, in Chinese, as far as that is known.
    pub(crate) fn detail_in_chinese(&self) -> Option<Cow<'_, str>> {
        let detail = self.detail()?;
        Some(if DETAILS.has(detail) { DETAILS.in_chinese(detail) } else { record_in_chinese(detail) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, DETAILS, Problem};
    use std::path::{Path, PathBuf};

    /// The texts that code gives a problem as its detail, with a 7 in each hole.
    fn details(code: &str) -> Vec<String> {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let code: String = code.lines().filter(|line| !line.trim().starts_with("//")).collect();
        let code = code.replace("let said = \"", "because(\"");
        let makers = ["because(", " wrong(", " against(", " missing("];
        let spoken = makers.iter().flat_map(|maker| code.split(maker).skip(1));
        let spoken = spoken.filter_map(|rest| rest.split(';').next()?.split('"').nth(1));
        let is_prose = |text: &&str| text.contains(' ') && !text.starts_with('/') && !text.starts_with('#');
        let filled = |text: &str| -> String {
            let parts = text.split('{');
            parts
                .map(|part| part.split_once('}').map_or(part.to_owned(), |(_, rest)| format!("7{rest}")))
                .collect()
        };
        spoken.filter(is_prose).map(filled).collect()
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
        files.filter(|file| file.extension().is_some_and(|ending| ending == "rs")).collect()
    }

    /// Scenario: every detail that the API and the pages give a problem, and every code.
    /// Guarantees: each has its Chinese; what is unknown stays as it is.
    #[test]
    fn every_problem_is_said_in_chinese() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut missing, mut seen) = (Vec::new(), 0);
        for file in ["api", "pages", "serve"].iter().flat_map(|folder| sources(&root.join(folder))) {
            for detail in details(&std::fs::read_to_string(&file).expect("a source")) {
                seen += 1;
                if !DETAILS.has(&detail) {
                    missing.push(format!("{}: {detail}", file.display()));
                }
            }
        }
        assert!(missing.is_empty(), "not in the book: {missing:#?}");
        assert!(seen > 25, "sources were not read: {seen}");
        for (en, zh) in DETAILS.phrases() {
            assert!(zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{en}");
        }
        for code in Code::ALL {
            assert!(!code.title_in_chinese().is_ascii(), "{code:?}");
        }
        let said = |detail: &str| {
            Problem::because(Code::Conflict, detail).detail_in_chinese().map(std::borrow::Cow::into_owned)
        };
        assert_eq!(said("limit is 1 to 1000").as_deref(), Some("limit 为 1 至 1000"));
        assert_eq!(
            said("the registry does not know schema registry:7").as_deref(),
            Some("注册表中没有模式 registry:7")
        );
        assert_eq!(said("something new").as_deref(), Some("something new"));
        assert_eq!(Problem::new(Code::Conflict).detail_in_chinese(), None);
    }
}
