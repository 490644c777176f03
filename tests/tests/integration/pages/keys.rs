//! Pages without a mouse, and as they are told to whoever cannot see them.

use super::figures::text;
use super::{Demo, SOON};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tally_tests::{Browser, skip_without};

/// What the readout of a chart says.
const SAID: &str = "return document.querySelector('#endpoint-errors-over-time .said').textContent";

/// Scenario: somebody walks along a chart by keys; reads its table; looks by a time zone of their machine, in Chinese, in dark.
/// Guarantees: the keys read the values of the table, first to last; the picture is drawn from the table; zone, language and theme
/// stand in the address and in every link; menus close by Escape.
#[test]
fn charts_are_read_by_keys_and_views_are_links() {
    if skip_without(Browser::installed()) {
        return;
    }
    let demo = Demo::shared();
    let mut browser = Browser::start();
    demo.sign_in(&mut browser, "page", "admin");
    // a time that is over: nothing is taken over while the keys walk
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let span = format!("from={}&to={}", text(now - 900), text(now));
    let address = format!("{}/overview?{span}&theme=dark&lang=zh&tz=local", demo.address);
    browser.go("page", &address);
    browser.wait_for("page", SOON, "return !location.search.includes('tz=local') && document.querySelector('#endpoint-errors-over-time .uplot') !== null", &Value::Null);
    let zone = browser.eval("page", "return Intl.DateTimeFormat().resolvedOptions().timeZone", &Value::Null);
    let search = browser.eval("page", "return new URLSearchParams(location.search).get('tz')", &Value::Null);
    assert_eq!(search, zone);
    assert_eq!(browser.eval("page", "return document.documentElement.lang", &Value::Null), "zh-Hans");
    assert_eq!(browser.eval("page", "return document.documentElement.dataset.theme", &Value::Null), "dark");
    let links = "return [...document.querySelectorAll('.bar nav a, .controls .switch a')].every((link) => /theme=dark/.test(link.href) && /lang=zh/.test(link.href))";
    assert_eq!(browser.eval("page", links, &Value::Null), true);

    let canvas = "#endpoint-errors-over-time .canvas";
    browser.press("page", canvas, "Home");
    let row = |at: &str| {
        format!(
            "const rows = [...document.querySelectorAll('#endpoint-errors-over-time tbody tr')];
             const names = [...document.querySelectorAll('#endpoint-errors-over-time thead th')].slice(1).map((th) => th.textContent);
             const cells = [...rows.at({at}).cells].map((cell) => cell.textContent);
             return `${{cells[0]}}: ${{names.map((name, line) => `${{name}} ${{cells[line + 1]}}`).join(', ')}}`;"
        )
    };
    for (key, at) in [("Home", "0"), ("ArrowRight", "1"), ("End", "-1"), ("ArrowLeft", "-2")] {
        browser.press("page", canvas, key);
        let expected = browser.eval("page", &row(at), &Value::Null);
        assert_eq!(browser.eval("page", SAID, &Value::Null), expected, "{key}");
        assert!(expected.as_str().is_some_and(|text| text.contains("/credits/charge")), "{expected}");
    }

    browser.click("page", ".controls details:last-child summary");
    let open = "return document.querySelectorAll('details.menu[open]').length === argument";
    browser.wait_for("page", SOON, open, &json!(1));
    browser.press("page", "#tz", "Escape");
    browser.wait_for("page", SOON, open, &json!(0));
    let focus = "return document.activeElement.tagName";
    assert_eq!(browser.eval("page", focus, &Value::Null), "SUMMARY");

    // the first key leads past the navigation
    browser.go("page", &format!("{}/overview?range=15m", demo.address));
    browser.press("page", "body", "Tab");
    assert_eq!(browser.eval("page", "return document.activeElement.className", &Value::Null), "skip");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Scenario: a page stands open while events come; the service's answer is then cut off; then it comes again.
/// Guarantees: numbers change by themselves, without what somebody has opened being closed; an answer that does not come is said.
#[test]
fn pages_follow_what_happens() {
    if skip_without(Browser::installed()) {
        return;
    }
    let demo = Demo::shared();
    let mut browser = Browser::start();
    demo.sign_in(&mut browser, "page", "admin");
    browser.go("page", &format!("{}/overview?range=15m", demo.address));
    browser.eval("page", "document.querySelector('#queue-depth details').open = true; window.before = document.getElementById('ledger').textContent; return true", &Value::Null);
    let changed = "return document.getElementById('ledger').textContent !== window.before && document.getElementById('live')?.hidden === false";
    browser.wait_for("page", SOON, changed, &Value::Null);
    let is_open = "const details = document.querySelector('#queue-depth details'); return details.open && document.querySelectorAll('#queue-depth .uplot').length === 1";
    browser.wait_for("page", SOON, is_open, &Value::Null);
    assert_eq!(browser.errors(), Vec::<String>::new());
    browser.offline(true);
    browser.wait_for(
        "page",
        SOON,
        "return document.getElementById('live').className === 'live stale'",
        &Value::Null,
    );
    browser.offline(false);
    browser.wait_for(
        "page",
        SOON,
        "return document.getElementById('live').className === 'live asked'",
        &Value::Null,
    );
}
