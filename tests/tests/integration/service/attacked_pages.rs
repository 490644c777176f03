//! Every page under attack: in its path, in what says how one looks at it, and in its filters.

use super::attacks::{Asked, MORE, ROWS, SLOWER_MAX, TELLING, ask, filled, timed};
use super::injection::{TEXTS, encoded};
use super::platform::platform;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_dashboards::rights::Page;
use tally_tests::service::Service;

/// What the address of any page may say: range, zone, language, colours.
const VIEW: [&str; 6] = ["range", "from", "to", "tz", "lang", "theme"];
/// The days of the platform's events.
const DAYS: &str = "from=2026-06-01T00:00:00Z&to=2026-06-03T00:00:00Z";

/// What else the address of a page may say, and what stands in the page where its list has a row; none where it has no list.
fn filters(page: Page) -> (&'static [&'static str], &'static str) {
    match page {
        Page::DeadLetters => (&["reason", "topic", "cursor"], "id=\"part-letters-rows\""),
        Page::Moderation => (&["risk", "tag", "cursor"], "id=\"part-queue-rows\""),
        Page::Creator => (&["cursor"], "id=\"part-tasks-rows\""),
        Page::My => (&["cursor"], "id=\"part-all-rows\""),
        Page::Task => (&["verify"], ""),
        Page::Overview
        | Page::Product
        | Page::Compliance
        | Page::Verdict
        | Page::Case
        | Page::DeadLetter
        | Page::DeadLetterReplay => (&[], ""),
    }
}

/// One page as one visitor.
struct Visit<'a> {
    service: &'a Service,
    page: Page,
    role: Role,
    subject: &'a str,
}

impl Visit<'_> {
    /// Asks for it; whatever is asked for, the answer is none of the server's faults, tells nothing, and shows nothing of others.
    fn see(&self, usual: Option<Duration>, address: &str, text: &str) -> (u16, String, Duration) {
        let method = if self.page == Page::DeadLetterReplay { "post" } else { "get" };
        let form = match method {
            "post" => format!("form={0}&if_unknown={0}", encoded(text)),
            _ => String::new(),
        };
        let token = self.service.token(self.role, self.subject);
        let asked = Asked { method, path: address, token: &token, header: None, body: &form };
        let host = self.service.url.trim_start_matches("http://");
        let ((status, body), took) = timed(usual.unwrap_or_default(), || ask(host, asked));
        let at = format!("{}, {method} {address:.200}: {status} {body:.400}", self.role);
        assert!(status == 200 || (400..500).contains(&status), "{at}");
        let bound = usual.map_or(Duration::MAX, |usual| usual + SLOWER_MAX);
        assert!(took < bound, "{took:?} instead of {usual:?}: {at}");
        // a page repeats what was asked; a word that the attack itself has says nothing
        let told = TELLING.into_iter().find(|word| !text.contains(word) && body.contains(word));
        assert!(told.is_none(), "{told:?}: {at}");
        assert!(self.role == Role::Admin || !body.contains("t-bob"), "{at}");
        (status, body, took)
    }

    /// The page with each of the texts in each place.
    fn attack(&self, texts: &[&str]) {
        let pattern = self.page.path();
        let normal = filled(pattern, "", "");
        let (filters, row) = filters(self.page);
        let (status, body, usual) = self.see(None, &format!("{normal}?{DAYS}"), "");
        if !filters.is_empty() {
            assert!(status == 200 && body.contains(row), "{} {normal}: {status} {body}", self.role);
        }
        let names = pattern.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        for name in names {
            for text in texts {
                let address = format!("{}?{DAYS}", filled(pattern, name, &encoded(text)));
                let (status, body, _) = self.see(Some(usual), &address, text);
                assert!(status != 200, "{name} of {pattern}, {text:.60}: {body}");
            }
        }
        for name in VIEW {
            for text in texts {
                let address = format!("{normal}?{DAYS}&{name}={}", encoded(text));
                let (status, body, _) = self.see(Some(usual), &address, text);
                assert_eq!(status, 400, "{name} of {pattern}, {text:.60}: {body}");
            }
        }
        for name in filters {
            for text in texts {
                let address = format!("{normal}?{DAYS}&{name}={}", encoded(text));
                let (status, body, _) = self.see(Some(usual), &address, text);
                let at = format!("{name} of {pattern}, {text:.60}: {status} {body}");
                assert_eq!(status, 200, "{at}");
                assert!(row.is_empty() || !body.contains(row), "no filter is passed over: {at}");
            }
        }
    }
}

/// Scenario: whoever opens a page opens it with an attack in its path, in its range, zone, language or colours, in each of its filters; and
/// sends the form that writes with one, which is no form of ours and refused before it is read: what it would do is attacked by the API.
/// Guarantees: what names nothing is refused, and a filter that nothing meets leaves a page without a row; no word of ClickHouse, nothing of
/// somebody else, no fault of the server's, none slower by what the store was asked to sleep; tables and rows stay.
#[test]
fn every_parameter_of_a_page_stays_a_text() {
    let database = platform();
    let rates = ["--requests-per-s-max", "10000", "--requests-burst-max", "10000"];
    let service = Service::start(&database, &rates);
    let before = database.query(ROWS);
    let long = "'".repeat(4_000);
    let texts: Vec<&str> = TEXTS.into_iter().chain(MORE).chain([long.as_str()]).collect();
    for page in Page::ALL.iter().copied() {
        let visitors = [(Role::Admin, "ops"), (Role::Creator, "cleo"), (Role::Buyer, "ann")];
        let theirs = visitors.into_iter().filter(|(role, _)| page.is_of(*role));
        let visits: Vec<Visit<'_>> =
            theirs.map(|(role, subject)| Visit { service: &service, page, role, subject }).collect();
        assert!(!visits.is_empty(), "{page:?} is opened by one of them");
        visits.iter().for_each(|visit| visit.attack(&texts));
    }
    assert_eq!(before, database.query(ROWS));
}
