//! Pages without a mouse, and as they are told to whoever cannot see them.

use super::figures::text;
use super::{Demo, SOON};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
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

/// Counts the looks that a page has taken, by a chart that nobody is at work in.
const LOOKS: &str = r#"
    const to = () => document.getElementById("queue-wait").dataset.to;
    let last = to();
    Object.assign(window, { looks: 0, first: document });
    const look = () => { if (to() !== last) [last, window.looks] = [to(), window.looks + 1]; };
    new MutationObserver(look).observe(document.body, { attributes: true, childList: true, subtree: true });
    return true;
"#;
/// Two looks are taken within this, on a machine on which each takes so long that they lie a minute apart.
const LOOKED: Duration = Duration::from_secs(240);
/// True once there were two looks after the number that is given.
const TWO_LOOKS: &str = "return window.looks >= argument + 2";
/// Moves the mouse on a chart, from one share of its width to another: onto it, or with its button down.
const MOUSE: &str = r#"
    const over = document.querySelector('#queue-depth .u-over');
    const { left, top, width } = over.getBoundingClientRect();
    const at = (share) => ({ bubbles: true, button: 0, clientX: left + width * share, clientY: top + 20, movementX: 9 });
    over.dispatchEvent(new MouseEvent("mouseenter", at(argument.from)));
    over.dispatchEvent(new MouseEvent("mousemove", at(argument.from)));
    if (argument.pressed) {
        over.dispatchEvent(new MouseEvent("mousedown", at(argument.from)));
        over.dispatchEvent(new MouseEvent("mousemove", at(argument.to)));
        window.drawn = document.querySelector('#queue-depth .u-select');
    }
    return true;
"#;

/// Scenario: a page over a time that ends now, which asks again every few seconds. Somebody reads a chart by keys during two looks, and
/// reads on; then leaves it. The mouse stands on another chart for two looks; rows of that chart's table are selected for two looks; a
/// stretch is drawn out on it for as long, and then chosen.
/// Guarantees: reading goes on at the next row; the readout, the selection and the stretch that is drawn are still there; who has
/// left a chart, or let go of it, sees it as it is now; the stretch that was chosen is shown, without a place in another time's list.
#[test]
fn a_live_chart_leaves_its_reader_where_they_are() {
    if skip_without(Browser::installed()) {
        return;
    }
    let demo = Demo::shared();
    let mut browser = Browser::start();
    demo.sign_in(&mut browser, "page", "admin");
    browser.go("page", &format!("{}/overview?range=15m&cursor=old", demo.address));
    let drawn = "return document.querySelectorAll('#endpoint-errors-over-time .uplot, #queue-depth .uplot').length === 2";
    browser.wait_for("page", SOON, drawn, &Value::Null);
    browser.eval("page", LOOKS, &Value::Null);
    let two_looks = |browser: &mut Browser| {
        let looks = browser.eval("page", "return window.looks", &Value::Null);
        browser.wait_for("page", LOOKED, TWO_LOOKS, &looks);
    };
    let canvas = "#endpoint-errors-over-time .canvas";
    browser.press("page", canvas, "Home");
    browser.press("page", canvas, "ArrowRight");
    let rows = "window.canvas = document.activeElement; return [...document.querySelectorAll('#endpoint-errors-over-time tbody th')].map((th) => th.textContent)";
    let rows = browser.eval("page", rows, &Value::Null);
    let said = |browser: &mut Browser, row: usize| {
        let said = browser.eval("page", SAID, &Value::Null);
        let expected = format!("{}: ", rows[row].as_str().expect("a moment"));
        assert!(said.as_str().is_some_and(|said| said.starts_with(&expected)), "{said}, row {row} of {rows}");
    };
    said(&mut browser, 1);
    let stands = "return document.activeElement === window.canvas";
    let looks = browser.eval("page", "return window.looks", &Value::Null);
    let begun = Instant::now();
    while browser.eval("page", TWO_LOOKS, &looks) != true {
        assert!(begun.elapsed() < LOOKED, "the page is looked at");
        assert_eq!(
            browser.eval("page", stands, &Value::Null),
            true,
            "the look has left the focus where it was"
        );
        browser.press("page", canvas, "ArrowLeft");
        said(&mut browser, 0);
        browser.press("page", canvas, "ArrowRight");
        said(&mut browser, 1);
    }
    assert_eq!(browser.eval("page", stands, &Value::Null), true);
    browser.press("page", canvas, "ArrowRight");
    said(&mut browser, 2);
    browser.press("page", canvas, "Escape");
    let now = "return document.getElementById('endpoint-errors-over-time').dataset.to === document.getElementById('queue-wait').dataset.to";
    browser.wait_for("page", SOON, now, &Value::Null);
    assert_eq!(browser.eval("page", stands, &Value::Null), true, "and still there");

    let to = "return document.getElementById('queue-depth').dataset.to";
    browser.eval("page", MOUSE, &json!({ "from": 0.5 }));
    let read = "return document.querySelector('#queue-depth .legend .at') !== null";
    browser.wait_for("page", SOON, read, &Value::Null);
    let before = browser.eval("page", to, &Value::Null);
    two_looks(&mut browser);
    assert_ne!(browser.eval("page", to, &Value::Null), before, "it is drawn anew under the mouse");
    assert_eq!(browser.eval("page", read, &Value::Null), true);

    let select = "document.querySelector('#queue-depth details').open = true;
        getSelection().selectAllChildren(document.querySelector('#queue-depth tbody tr'));
        window.text = getSelection().toString(); return window.text !== ''";
    assert_eq!(browser.eval("page", select, &Value::Null), true);
    two_looks(&mut browser);
    let selected =
        "return getSelection().toString() === window.text && getSelection().anchorNode.isConnected";
    assert_eq!(browser.eval("page", selected, &Value::Null), true);
    let before = browser.eval("page", to, &Value::Null);
    browser.eval("page", "getSelection().removeAllRanges(); return true", &Value::Null);
    let moved = "return document.getElementById('queue-depth').dataset.to !== argument";
    browser.wait_for("page", SOON, moved, &before);

    browser.eval("page", MOUSE, &json!({ "from": 0.25, "to": 0.75, "pressed": true }));
    let stretch =
        "return window.first === document && window.drawn.isConnected && window.drawn.offsetWidth > 100";
    browser.wait_for("page", SOON, stretch, &Value::Null);
    two_looks(&mut browser);
    assert_eq!(browser.eval("page", stretch, &Value::Null), true);
    let let_go = "navigation.addEventListener('navigate', (event) => { window.chosen = event.destination.url; event.preventDefault(); });
        document.dispatchEvent(new MouseEvent('mouseup', { bubbles: true, button: 0 })); return window.chosen";
    let chosen = browser.eval("page", let_go, &Value::Null);
    let chosen = chosen.as_str().expect("an address");
    assert!(chosen.contains("from=") && chosen.contains("&to="), "{chosen}");
    assert!(!chosen.contains("range=") && !chosen.contains("cursor="), "{chosen}");
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

/// Scenario: the feed's client cannot be had when a page is loaded, and can be soon after; then it cannot be had at all.
/// Guarantees: the page is loaded again once and is live; where that does not help it goes by the clock, is not loaded again and again, and is
/// live as soon as somebody opens it where the client can be had.
#[test]
fn a_page_without_the_feeds_client_goes_by_the_clock() {
    const CLIENT: &str = "**/feed.js*";
    const MISSING: &str = "return document.documentElement.dataset.missing !== undefined";
    const AGAIN: &str = "return document.readyState === 'complete' && performance.getEntriesByType('navigation')[0].type === 'reload'";
    if skip_without(Browser::installed()) {
        return;
    }
    let demo = Demo::shared();
    let mut browser = Browser::start();
    // of the moderator the feed tells this page something; my page opens the feed itself
    let lives = [
        ("moderator", "/moderation?range=15m", "return document.getElementById('live').className === 'live'"),
        ("buyer", "/my?range=15m", super::LIVE),
    ];
    for (role, path, live) in lives {
        let address = format!("{}{path}", demo.address);
        demo.sign_in(&mut browser, "page", role);
        browser.block(CLIENT, true);
        browser.go("page", &address);
        browser.wait_for("page", SOON, MISSING, &Value::Null);
        browser.block(CLIENT, false);
        browser.wait_for("page", SOON, AGAIN, &Value::Null);
        browser.wait_for("page", SOON, live, &Value::Null);

        browser.block(CLIENT, true);
        browser.go("page", &address);
        browser.wait_for("page", SOON, AGAIN, &Value::Null);
        browser.wait_for("page", SOON, MISSING, &Value::Null);
        let by_the_clock =
            "window.stayed = true; return document.getElementById('live').className === 'live asked'";
        browser.wait_for("page", SOON, by_the_clock, &Value::Null);
        std::thread::sleep(Duration::from_secs(12)); // two looks
        assert_eq!(browser.eval("page", "return window.stayed !== undefined", &Value::Null), true, "{path}");
        browser.block(CLIENT, false);
        browser.go("page", &address);
        browser.wait_for("page", SOON, live, &Value::Null);
        browser.errors(); // the browser's own lines about what it could not have
        browser.close("page");
        browser.forget();
    }
}
