//! What has an open page ask again: events of the feed that concern it, and time. `assets/live.js` does it.

use super::guard::Visitor;
use crate::identity::Role;
use crate::panel::Window;
use crate::rights::{Access, Page, Route, access};
use maud::{Markup, html};

/// Looks at a page of one thing are at least so far apart, milliseconds: somebody waits for what happens next.
const THING_PACE_MS: u32 = 1_000;
/// The same for a page of figures.
const FIGURES_PACE_MS: u32 = 5_000;
/// A page of which the feed tells all that happens is looked at so often where it tells nothing: clocks run on.
const TOLD_MS: u32 = 60_000;
/// What comes by no event of the feed and seldom changes, as a letter does; and any page of a service without a feed.
const PARTLY_TOLD_MS: u32 = 15_000;
/// Where the feed may tell this role nothing of it.
const UNTOLD_MS: u32 = 5_000;

/// What a page rests on, and so what moves it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ground<'a> {
    /// Figures of the view's range, as far as the data had come.
    Range(Window),
    /// One task over all topics.
    Task(&'a str),
    /// One case.
    Case(&'a str),
    /// One dead letter.
    Letter,
    /// What was, and stays as it was.
    Past,
}

impl Ground<'_> {
    /// How far the data had come, where the page has one range for all.
    pub(super) fn window(self) -> Option<Window> {
        match self {
            Ground::Range(window) => Some(window),
            _ => None,
        }
    }
}

/// How a page is kept as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Live<'a> {
    /// Which events concern it: `task` and `case` those of the thing `of`, `moderation` those of that topic; `own` where another
    /// script of the page hears them, `none` where the feed tells nothing, or too much.
    pub(super) feed: &'static str,
    /// Which task or case.
    pub(super) of: Option<&'a str>,
    /// Looks are at least so far apart, milliseconds.
    pub(super) pace_ms: u32,
    /// Without any event it is looked at so often, milliseconds.
    pub(super) ask_ms: u32,
    /// What is asked for, where it is not the page's own address.
    pub(super) look: Option<String>,
}

impl<'a> Live<'a> {
    /// Of a page; `None` where nothing on it moves.
    pub(super) fn of(visitor: &Visitor, ground: Ground<'a>) -> Option<Live<'a>> {
        let role = visitor.principal.role;
        let live = |feed, of, pace_ms, ask_ms| Live { feed, of, pace_ms, ask_ms, look: None };
        let live = match ground {
            Ground::Past => return None,
            Ground::Range(_) if !visitor.view.is_live() => return None,
            Ground::Range(_) => {
                // any event may move a figure, and all of them are far more than a page can do with: the clock asks. What is late, or
                // does not come, is no event either
                let (feed, ask_ms) = match visitor.page {
                    Page::My => ("own", TOLD_MS),
                    Page::Moderation => ("moderation", TOLD_MS),
                    _ => ("none", UNTOLD_MS),
                };
                live(feed, None, FIGURES_PACE_MS, ask_ms)
            }
            Ground::Letter => live("none", None, FIGURES_PACE_MS, PARTLY_TOLD_MS),
            Ground::Case(case_id) => live("case", Some(case_id), THING_PACE_MS, TOLD_MS),
            Ground::Task(task_id) => {
                // a moderator hears of tasks whose case is in work; others' dead letters and charges are no events of theirs
                let ask_ms = if role == Role::Moderator { UNTOLD_MS } else { TOLD_MS };
                // a verification that was asked for stands until it is asked for again: it is dear
                let look = visitor.view.filter("verify").map(|_| visitor.view.link(&visitor.view.path));
                // whom prompts are for hears them where they are shown, on their own page, and answers for having got them
                let (feed, ask_ms) = match role {
                    Role::Buyer | Role::Creator => ("none", UNTOLD_MS),
                    _ => ("task", ask_ms),
                };
                Live { look, ..live(feed, Some(task_id), THING_PACE_MS, ask_ms) }
            }
        };
        match (visitor.has_feed, access(role, Route::FeedWs)) {
            (false, _) | (_, Access::None) => {
                Some(Live { feed: "none", ask_ms: live.ask_ms.min(PARTLY_TOLD_MS), ..live })
            }
            (true, _) => Some(live),
        }
    }
}

/// Where the script says whether the page is live. It is hidden until there is one.
pub(super) fn lamp() -> Markup {
    html! { span id="live" class="live" role="status" data-own hidden {} }
}

#[cfg(test)]
mod tests {
    use super::{Ground, Live};
    use crate::identity::{Principal, Role};
    use crate::pages::guard::Visitor;
    use crate::pages::view::View;
    use crate::panel::Window;
    use crate::rights::Page;
    use axum::http::HeaderMap;

    fn visitor(role: Role, page: Page, query: &str) -> Visitor {
        let principal = Principal {
            subject: "looker".to_owned(),
            role,
            scopes: Vec::new(),
            token_id: String::new(),
            issued_at_s: 0,
            expires_at_s: i64::MAX,
        };
        let view = View::read(query, &HeaderMap::new()).expect("a view").at("/task/a%20b");
        Visitor { principal, page, view, may_choose: false, has_feed: true }
    }

    /// Scenario: every page over a range that ends now and over one that is over; a task and a case, by each role that may see them;
    /// a task whose verification was asked for; a result.
    /// Guarantees: what is over is left alone; what the feed says nothing of is asked for by the clock, within seconds; a role without
    /// the feed opens none; a verification is not asked for again by itself.
    #[test]
    fn pages_follow_what_concerns_them() {
        let range = Ground::Range(Window { as_of_us: None, is_final: false });
        let feed = |role, page, query, ground| {
            Live::of(&visitor(role, page, query), ground).map(|live| (live.feed, live.ask_ms <= 5_000))
        };
        for (role, page, expected) in [
            (Role::Admin, Page::Overview, ("none", true)),
            (Role::Admin, Page::Product, ("none", true)),
            (Role::Moderator, Page::Compliance, ("none", true)),
            (Role::Moderator, Page::Moderation, ("moderation", false)),
            (Role::Creator, Page::Creator, ("none", true)),
            (Role::Buyer, Page::My, ("own", false)),
            (Role::Moderator, Page::DeadLetters, ("none", true)),
            (Role::Service, Page::DeadLetters, ("none", true)),
        ] {
            assert_eq!(feed(role, page, "range=15m", range), Some(expected), "{page:?}");
            let past = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z";
            assert_eq!(feed(role, page, past, range), None, "{page:?}");
        }
        for (role, expected) in [
            (Role::Admin, ("task", false)),
            (Role::Moderator, ("task", true)),
            (Role::Creator, ("none", true)),
            (Role::Buyer, ("none", true)),
        ] {
            assert_eq!(feed(role, Page::Task, "", Ground::Task("a b")), Some(expected));
        }
        assert_eq!(feed(Role::Moderator, Page::Case, "", Ground::Case("c")), Some(("case", false)));
        assert_eq!(feed(Role::Service, Page::DeadLetter, "", Ground::Letter), Some(("none", false)));
        assert_eq!(feed(Role::Admin, Page::Verdict, "", Ground::Past), None);
        let deaf = Visitor { has_feed: false, ..visitor(Role::Admin, Page::Overview, "") };
        assert_eq!(Live::of(&deaf, range).map(|live| (live.feed, live.ask_ms)), Some(("none", 5_000)));
        let asked = |query| {
            let visitor = visitor(Role::Admin, Page::Task, query);
            Live::of(&visitor, Ground::Task("a b")).and_then(|live| live.look)
        };
        assert_eq!(asked("tz=Asia/Shanghai"), None);
        assert_eq!(
            asked("verify=yes&tz=Asia/Shanghai").as_deref(),
            Some("/task/a%20b?tz=Asia%2FShanghai"),
            "the same task in the same view"
        );
    }
}
