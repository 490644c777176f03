//! Which time a page shows, and in which zone it writes moments.

use super::view::{CURSOR, PRESETS, Span, View, Zone};
use maud::{Markup, html};

/// The zone in which times are written.
pub(crate) fn zone_name(view: &View) -> &'static str {
    view.tz().name()
}

/// The head of a column of moments: its zone with it, since a moment without one is another to each reader.
pub(super) fn when(view: &View) -> String {
    let lang = view.lang;
    format!("{}{}{}{}", lang.say("When", "时间"), lang.say(" (", "（"), zone_name(view), lang.say(")", "）"))
}

/// The range, where the page has one for all that is on it, and the zone, which every page has.
pub(super) fn controls(view: &View, has_range: bool) -> Markup {
    html! {
        div class="controls" {
            @if has_range { (ranges(view)) }
            (zones(view))
        }
    }
}

fn ranges(view: &View) -> Markup {
    let lang = view.lang;
    let (from, to) = view.range_us();
    let is_between = matches!(view.span, Span::Between(..));
    html! {
        ul class="switch" aria-label=(lang.say("Range", "时间范围")) {
            @for (preset, (_, _, en, zh)) in PRESETS.iter().enumerate() {
                li { a href=(view.with_span(Span::Last(preset)).here()) aria-current=[(view.span == Span::Last(preset)).then_some("true")] { (lang.say(en, zh)) } }
            }
        }
        details class="menu" {
            summary class=[is_between.then_some("on")] { @if is_between { (view.stretch(from, 60_000_000)) " – " (view.stretch(to, 60_000_000)) } @else { (lang.say("Choose…", "自选…")) } }
            form method="get" action=(view.path) class="sheet" {
                label for="from" { (lang.say("From", "从")) " (" (zone_name(view)) ")" }
                input id="from" name="from" type="datetime-local" step="1" value=(view.field(from)) required;
                label for="to" { (lang.say("To", "到")) " (" (zone_name(view)) ")" }
                input id="to" name="to" type="datetime-local" step="1" value=(view.field(to)) required;
                (kept(view, &["from", "to", "range", CURSOR]))
                button type="submit" { (lang.say("Show", "显示")) }
            }
        }
    }
}

fn zones(view: &View) -> Markup {
    let lang = view.lang;
    html! {
        details class="menu" {
            summary { (zone_name(view)) }
            form method="get" action=(view.path) class="sheet" {
                ul class="switch" {
                    li { a href=(view.with_zone(Zone::Named(chrono_tz::UTC)).here()) { "UTC" } }
                    li { a href=(view.with_zone(Zone::Local).here()) { (lang.say("This machine", "本机时区")) } }
                }
                label for="tz" { (lang.say("Time zone", "时区")) }
                input id="tz" name="tz" value=(zone_name(view)) spellcheck="false" autocomplete="off" placeholder="Asia/Shanghai" required;
                (kept(view, &["tz"]))
                button type="submit" { (lang.say("Use", "使用")) }
            }
        }
    }
}

/// What of the view a form sends along, beside what it asks for itself.
fn kept(view: &View, own: &[&str]) -> Markup {
    html! {
        @for (name, value) in view.fields().into_iter().filter(|(name, _)| !own.contains(name)) {
            input type="hidden" name=(name) value=(value);
        }
        @for (name, value) in view.more.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            input type="hidden" name=(name) value=(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{controls, when};
    use crate::pages::shell;
    use crate::pages::view::View;
    use crate::problem::{Code, Problem};
    use axum::http::HeaderMap;

    fn view(query: &str) -> View {
        View::read(query, &HeaderMap::new()).expect("a view").at("/task/a%20b")
    }

    /// Scenario: a page without a range and one with it, in the middle of a list; in Shanghai's time.
    /// Guarantees: both offer every zone, at their own address; only the second a range, which begins its list anew, while another
    /// zone leaves one where one stands; a column of moments names its zone.
    #[test]
    fn every_page_has_a_zone() {
        let view = view("tz=Asia/Shanghai&range=7d&reason=body&cursor=abc");
        let here = "/task/a%20b?range=7d&amp;tz=local&amp;reason=body&amp;cursor=abc";
        let shorter = "/task/a%20b?range=15m&amp;tz=Asia%2FShanghai&amp;reason=body\"";
        let held = |text: &str| text.matches("name=\"cursor\" value=\"abc\"").count();
        let alone = controls(&view, false).0;
        assert!(alone.contains("<summary>Asia/Shanghai</summary>") && alone.contains(here), "{alone}");
        assert!(
            alone.contains("name=\"tz\"") && !alone.contains("name=\"from\"") && !alone.contains(shorter)
        );
        let ranged = controls(&view, true).0;
        assert!(
            ranged.contains(here) && ranged.contains(shorter) && ranged.contains("name=\"from\""),
            "{ranged}"
        );
        assert_eq!((held(&alone), held(&ranged)), (1, 1), "the form of the zone alone sends it along");
        assert_eq!(when(&view), "When (Asia/Shanghai)");
    }

    /// Scenario: somebody is refused a page, for each reason that there is, and looks at it in other colours and the other language.
    /// Guarantees: those links lead to the page itself, filters kept; our own fault is not put on the address.
    #[tokio::test]
    async fn who_is_refused_stays_where_they_are() {
        let view = view("lang=en&range=7d&verify=yes");
        for code in Code::ALL {
            let answer = shell::problem(&view, None, &Problem::new(code));
            assert_eq!(answer.status(), code.status());
            let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a page");
            let page = String::from_utf8_lossy(&page);
            for link in [
                "/task/a%20b?range=7d&amp;lang=en&amp;theme=dark&amp;verify=yes",
                "/task/a%20b?range=7d&amp;lang=zh&amp;verify=yes",
            ] {
                assert!(page.contains(&format!("href=\"{link}\"")), "{code:?}: {page}");
            }
            assert_eq!(
                page.contains("This address cannot be understood"),
                code.status().is_client_error() && !known(code),
                "{code:?}"
            );
            assert_eq!(page.contains("It is no fault of yours"), code == Code::Internal, "{code:?}");
        }
    }

    /// Faults of who asks that have words of their own.
    fn known(code: Code) -> bool {
        matches!(code, Code::Forbidden | Code::NotFound | Code::TooExpensive | Code::RateLimited)
    }
}
