//! Every page in Chinese, looked through for what stands there in English.

use super::photographs::{album, is_whole};
use super::{Demo, PLACES, SOON};
use serde_json::Value;
use tally_tests::{Browser, skip_without};

/// What no reader of Chinese should meet outside of code: three English words in a row, or a symbol in capitals that is no policy tag,
/// beside which its meaning stands, and no name of a document or a format. A sentence may name a symbol that a publisher should know, and
/// what to do may be a command of ours.
const ENGLISH: &str = "
    const page = document.body.cloneNode(true);
    for (const one of page.querySelectorAll('code, pre, script, style, select, .data, [lang=en]')) one.replaceWith(' · ');
    for (const one of page.querySelectorAll('td, th, li, p, dd, dt, h1, h2, h3, span, a')) one.append(' · ');
    const words = page.textContent.replace(/\\s+/g, ' ').match(/[A-Za-z]{2,}(?:,? [a-z]{2,}){2,}/g) ?? [];
    for (const one of page.querySelectorAll('.cut, .lead, .sentence')) one.remove();
    const allowed = new Set([...argument, 'METRICS', 'DESIGN', 'JSON']);
    const symbols = (page.textContent.replaceAll('UTC', ' ').match(/\\b[A-Z]{4,}(?:_[A-Z]+)*\\b/g) ?? []).filter((one) => !allowed.has(one));
    return [...words.filter((one) => !one.startsWith('tally ')), ...new Set(symbols)];";

/// Scenario: every place that is photographed, in Chinese.
/// Guarantees: no sentence, no state, kind, reason or verdict stands there in English alone.
#[test]
fn chinese_pages_are_in_chinese() {
    if skip_without(Browser::installed()) {
        return;
    }
    let demo = Demo::shared();
    let album = album();
    let tags: Value = tally_schemas::policy_tags().iter().map(|tag| tag.symbol.as_str()).collect();
    let mut browser = Browser::start();
    let mut wrong = Vec::new();
    for place in PLACES.iter().filter(|place| !place.name.ends_with("-zh")) {
        demo.sign_in(&mut browser, "page", place.role);
        let and = if place.path.contains('?') { '&' } else { '?' };
        browser.go("page", &format!("{}{}{and}lang=zh", demo.address, place.path));
        for click in place.clicks {
            let there = "return document.querySelector(argument) !== null";
            browser.wait_for("page", SOON, there, &Value::from(*click));
            browser.click("page", click);
        }
        browser.wait_for("page", SOON, place.ready, &Value::Null);
        let found = browser.eval("page", ENGLISH, &tags);
        let found = found.as_array().expect("a list").iter();
        wrong.extend(found.map(|text| format!("{}: {text}", place.name)));
        if is_whole() {
            browser.screenshot("page", &album.join(format!("{}-in-chinese.png", place.name)), 1_440, "light");
        }
        browser.close("page");
        browser.forget();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
