//! Lists that are longer than what is shown of them.

use super::platform::platform;
use tally_dashboards::identity::Role;
use tally_tests::service::Service;

const RANGE: &str = "from=2026-06-01T00:00:00Z&to=2026-06-03T00:00:00Z";

/// Where the page leads on to, if it does.
fn next(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("rel=\"next\" href=\"")?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

/// Ids of a page's list, told by what they begin with.
fn ids(page: &str, prefix: &str) -> Vec<String> {
    let shown = page.split("<code>").skip(1).filter_map(|rest| rest.split('<').next());
    shown.filter(|id| id.starts_with(prefix)).map(str::to_owned).collect()
}

/// Scenario: one buyer has 20 wallets and 50 tasks, another 21 and 51; 201 cases are open beside that of the platform.
/// Guarantees: a panel that is full and one that is cut are told apart, in JSON, in CSV and on the page; tasks and cases that are not on
/// the first page are on the next one, each once, and from there a link leads back.
#[test]
fn what_is_cut_says_so_and_goes_on() {
    let database = platform();
    for (buyer, wallets) in [("full", 20), ("cut", 21)] {
        database.query(&format!("INSERT INTO credit_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, wallet_id, user_id, kind, amount_micros, audience, topic)
            SELECT generateUUIDv4(), '2026-06-01 12:00:00', '2026-06-01 12:00:00', 'b', 'BILLING', 'SERVICE', concat('w-{buyer}-', toString(number)), '{buyer}', 'PURCHASED', 1, 'CUSTOMER', 'credit-events' FROM numbers({wallets})"));
        database.query(&format!("INSERT INTO task_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, user_id, kind, queue, state_version, audience, topic)
            SELECT generateUUIDv4(), '2026-06-01 12:00:00', '2026-06-01 12:00:00', 's', 'BILLING', 'SERVICE', concat('l-{buyer}-', toString(number)), '{buyer}', 'SUBMITTED', 'NORMAL', 1, 'CUSTOMER', 'task-events' FROM numbers({wallets} + 30)"));
    }
    database.query("INSERT INTO moderation_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, case_id, kind, risk_level, sla_due_at, topic)
        SELECT generateUUIDv4(), '2026-06-01 12:00:00', '2026-06-01 12:00:00', 'm', 'PRIVACY', 'SERVICE', concat('k-', leftPad(toString(number), 3, '0')), 'REPORTED', 'LOW', '2026-06-09 12:00:00', 'moderation-events' FROM numbers(201)");
    let service = Service::start(&database, &[]);
    for (buyer, more) in [("full", false), ("cut", true)] {
        let token = service.token(Role::Buyer, buyer);
        let path = format!("/api/v1/panels/my-wallet?{RANGE}");
        let said = service.get(&path, &token).json();
        assert_eq!(
            (said["rows"].as_array().map(Vec::len), &said["more"]),
            (Some(20), &more.into()),
            "{said}"
        );
        let csv = service.get(&format!("{path}&form=csv"), &token);
        assert_eq!((csv.header("x-more-rows") == "true", csv.body.lines().count()), (more, 21));
        let page = service.get(&format!("/my?{RANGE}"), &token).body;
        assert_eq!(page.contains("There are more: of this time the first 20 are shown"), more, "{page}");
        assert_eq!(next(&page).is_some(), more, "{page}");
    }
    for (role, subject, path, prefix, first, all) in [
        (Role::Buyer, "cut", "/my", "l-cut-", 50, 51),
        (Role::Moderator, "mia", "/moderation", "k-", 200, 202),
    ] {
        let token = service.token(role, subject);
        let page = service.get(&format!("{path}?{RANGE}"), &token).body;
        let mut found = ids(&page, prefix);
        assert_eq!(found.len(), first, "{page}");
        let rest = service.get(&next(&page).unwrap_or_else(|| panic!("{path} ends: {page}")), &token).body;
        found.extend(ids(&rest, prefix));
        found.sort();
        found.dedup();
        assert_eq!((found.len(), next(&rest)), (all, None), "{rest}");
        assert!(rest.contains("From the beginning") && !page.contains("From the beginning"), "{rest}");
    }
}

/// Scenario: two topics of one name, created one after the other, each with a dead letter at the same partition and offset.
/// Guarantees: the list leads to each by the identity of its topic, and there it is the one that was meant, on the page and in the API;
/// the name alone means the latest.
#[test]
fn a_letter_is_of_its_topic_and_not_of_its_name() {
    let database = platform();
    let (old, new) = ("00000000-0000-4000-8000-00000000aaa1", "00000000-0000-4000-8000-00000000aaa2");
    for (topic_id, at, sentence) in
        [(old, "2026-06-01 15:00:00", "the old one"), (new, "2026-06-02 15:00:00", "the new one")]
    {
        database.query(&format!("INSERT INTO dead_letters (topic, topic_id, partition, offset, appended_at, reason, path, sentence, schema, key, value) VALUES
            ('again', '{topic_id}', 0, 5, '{at}', 'amount', 'amount_micros', '{sentence}', 'avro:1', 't', 'x')"));
    }
    let service = Service::start(&database, &[]);
    let token = service.token(Role::Moderator, "mia");
    let list = service.get(&format!("/dead?{RANGE}"), &token).body;
    for (topic, path, said) in
        [(old, format!("/dead/{old}/0/5"), "the old one"), (new, format!("/dead/{new}/0/5"), "the new one")]
    {
        assert!(list.contains(&format!("href=\"{path}?")), "{topic}: {list}");
        let page = service.get(&path, &token).body;
        assert!(page.contains(said) && page.contains("<h1>again/0/5</h1>"), "{topic}: {page}");
        assert!(page.contains(&format!("href=\"/api/v1/dead-letters/{topic}/0/5\"")), "{page}");
        let letter = service.get(&format!("/api/v1/dead-letters/{topic}/0/5"), &token).json();
        assert_eq!(
            (letter["sentence"].as_str(), letter["topic"].as_str()),
            (Some(said), Some("again")),
            "{letter}"
        );
    }
    let by_name = service.get("/api/v1/dead-letters/again/0/5", &token).json();
    assert_eq!(by_name["topic_id"], new, "{by_name}");
    let missing = format!("/api/v1/dead-letters/{old}/0/6");
    assert_eq!(service.get(&missing, &token).status, 404);
}
