//! Numbers as people read them, none of them rounded where money is meant. They come as text and are only grouped and shifted.

pub(crate) use super::symbols::symbol;
use super::view::{Lang, View};
use crate::panel::Unit;

/// Minor units of currencies that have not a hundred of them (ISO 4217): the digits behind the point.
pub(crate) const DIGITS: [(&str, usize); 21] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("VND", 0),
    ("XAF", 0),
    ("XOF", 0),
];

/// A value as it is shown. `currency` is that of the row, where there is one.
pub(crate) fn shown(value: Option<&str>, unit: Unit, currency: Option<&str>, view: &View) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match unit {
        Unit::Count | Unit::Records => grouped(value),
        Unit::Ratio => percent(value),
        Unit::Factor => {
            value.parse().map_or_else(|_| value.to_owned(), |number: f64| format!("{number:.3}×"))
        }
        Unit::Points => points(value),
        Unit::CreditsMicros => shifted(value, 6, 2),
        Unit::CurrencyMinor => {
            let digits = currency.map_or(2, digits_of);
            shifted(value, digits, digits)
        }
        Unit::DurationUs => value.parse().map_or_else(|_| value.to_owned(), |us| duration(us, view.lang)),
        Unit::TimeUs => value.parse().map_or_else(|_| value.to_owned(), |us| view.time(us, false)),
        Unit::Text | Unit::Verdict => value.to_owned(),
        Unit::Symbol => symbol(value, view.lang),
    }
}

fn digits_of(currency: &str) -> usize {
    DIGITS.iter().find(|(known, _)| *known == currency).map_or(2, |(_, digits)| *digits)
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(value: &str) -> String {
    let (sign, digits) = value.strip_prefix('-').map_or(("", value), |digits| ("−", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.to_owned();
    }
    let mut text = sign.to_owned();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A whole number of parts as a number of wholes: 10^`digits` parts are one. At least `least` decimals are shown, more where they say something.
fn shifted(value: &str, digits: usize, least: usize) -> String {
    let (sign, parts) = value.strip_prefix('-').map_or(("", value), |parts| ("−", parts));
    if parts.is_empty() || !parts.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.to_owned();
    }
    let padded = format!("{parts:0>width$}", width = digits + 1);
    let (whole, fraction) = padded.split_at(padded.len() - digits);
    let known = fraction.trim_end_matches('0').len().max(least.min(digits));
    let fraction = &fraction[..known];
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// A share. As many decimals as tell it from its neighbours: two; more where two would show 0 or 100 and it is neither.
fn percent(value: &str) -> String {
    let Ok(share) = value.parse::<f64>() else { return value.to_owned() };
    if !share.is_finite() {
        return "–".to_owned();
    }
    let percent = share * 100.0;
    let misleads = |text: &str| {
        (text.trim_start_matches(['-', '0', '.']).is_empty() && share != 0.0)
            || (text.starts_with("100") && share < 1.0)
    };
    let text = (2..=6).map(|digits| format!("{percent:.digits$}")).find(|text| !misleads(text));
    let text = text.unwrap_or_else(|| format!("{percent:.6}"));
    format!("{} %", text.replace('-', "−"))
}

/// A difference of two shares, in percentage points and with its sign, so that nobody takes it for a share.
fn points(value: &str) -> String {
    let Ok(difference) = value.parse::<f64>() else { return value.to_owned() };
    if !difference.is_finite() {
        return "–".to_owned();
    }
    let text = percent(&difference.to_string());
    let sign = if difference > 0.0 { "+" } else { "" };
    format!("{sign}{} pp", text.trim_end_matches(" %"))
}

/// How long something took: three digits are enough to compare.
pub(crate) fn duration(us: i64, lang: Lang) -> String {
    let magnitude = us.unsigned_abs();
    let sign = if us < 0 { "−" } else { "" };
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let of = |unit: u64| magnitude as f64 / unit as f64;
    let (day, hour, second) = (lang.say("d", "天"), lang.say("h", "小时"), lang.say("s", "秒"));
    let whole = |unit: u64| magnitude / unit;
    let text = match magnitude {
        0 => format!("0 {second}"),
        1..1_000 => format!("{magnitude} {}", lang.say("µs", "微秒")),
        1_000..1_000_000 => format!("{} {}", three(of(1_000)), lang.say("ms", "毫秒")),
        1_000_000..60_000_000 => format!("{} {second}", three(of(1_000_000))),
        60_000_000..3_600_000_000 => {
            format!("{} {} {:02} {second}", whole(60_000_000), lang.say("min", "分"), whole(1_000_000) % 60)
        }
        3_600_000_000..86_400_000_000 => {
            format!("{} {hour} {:02} {}", whole(3_600_000_000), whole(60_000_000) % 60, lang.say("min", "分"))
        }
        _ => format!("{} {day} {} {hour}", whole(86_400_000_000), whole(3_600_000_000) % 24),
    };
    format!("{sign}{text}")
}

fn three(number: f64) -> String {
    let digits = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{duration, grouped, shown};
    use crate::pages::view::{Lang, View};
    use crate::panel::Unit;
    use axum::http::HeaderMap;

    /// Scenario: the largest numbers, money of currencies with and without minor units, shares near 0 and near 1, and what is no number.
    /// Guarantees: nothing is rounded that is money or a count; a share never reads as 0 or 100 where it is not.
    #[test]
    fn numbers_are_exact() {
        let view = View::plain(&HeaderMap::new());
        let show = |value, unit, currency| shown(Some(value), unit, currency, &view);
        assert_eq!(grouped("18446744073709551615"), "18,446,744,073,709,551,615");
        assert_eq!(grouped("-1000"), "−1,000");
        assert_eq!(show("-9223372036854775808", Unit::CreditsMicros, None), "−9,223,372,036,854.775808");
        assert_eq!(show("1500000", Unit::CreditsMicros, None), "1.50");
        assert_eq!(show("1", Unit::CreditsMicros, None), "0.000001");
        assert_eq!(show("123456", Unit::CurrencyMinor, Some("EUR")), "1,234.56");
        assert_eq!(show("123456", Unit::CurrencyMinor, Some("JPY")), "123,456");
        assert_eq!(show("5", Unit::CurrencyMinor, Some("KWD")), "0.005");
        assert_eq!(show("0.02", Unit::Ratio, None), "2.00 %");
        assert_eq!(show("0.999", Unit::Ratio, None), "99.90 %");
        assert_eq!(show("0.9999999", Unit::Ratio, None), "99.99999 %");
        assert_eq!(show("0.0000012", Unit::Ratio, None), "0.0001 %");
        assert_eq!(show("1", Unit::Ratio, None), "100.00 %");
        assert_eq!(show("nan", Unit::Ratio, None), "–");
        assert_eq!(show("0.0125", Unit::Points, None), "+1.25 pp");
        assert_eq!(show("-0.00001", Unit::Points, None), "−0.001 pp");
        assert_eq!(show("0", Unit::Points, None), "0.00 pp");
        assert_eq!(show("a+b", Unit::Count, None), "a+b");
        assert_eq!(shown(None, Unit::Count, None, &view), "–");
    }

    /// Scenario: times from a microsecond to days.
    /// Guarantees: a unit that fits, three digits at most before it is split.
    #[test]
    fn durations_have_the_unit_that_fits() {
        for (us, en, zh) in [
            (0, "0 s", "0 秒"),
            (7, "7 µs", "7 微秒"),
            (1_500, "1.5 ms", "1.5 毫秒"),
            (999_000, "999 ms", "999 毫秒"),
            (1_000_000, "1 s", "1 秒"),
            (12_340_000, "12.3 s", "12.3 秒"),
            (61_000_000, "1 min 01 s", "1 分 01 秒"),
            (3_660_000_000, "1 h 01 min", "1 小时 01 分"),
            (90_000_000_000, "1 d 1 h", "1 天 1 小时"),
            (-2_000_000, "−2 s", "−2 秒"),
        ] {
            assert_eq!((duration(us, Lang::En).as_str(), duration(us, Lang::Zh).as_str()), (en, zh));
        }
    }
}
