//! How somebody looks: range, time zone, language and theme. All of it stands in the address, so that every view is a link.

use crate::api::{FIGURE_US_MAX, Moment};
use crate::problem::{Code, Problem};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use url::form_urlencoded;

/// A language of the pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lang {
    /// English.
    En,
    /// Chinese, simplified.
    Zh,
}

impl Lang {
    /// The text of this language.
    pub(crate) fn say<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// The text of this language.
    pub(crate) fn of(self, text: &crate::panel::Text) -> &str {
        self.say(&text.en, &text.zh)
    }

    /// As in `<html lang>`.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh-Hans",
        }
    }

    /// As in the address.
    const fn name(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Zh => "zh",
        }
    }
}

/// Ink on paper, or the other way round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Theme {
    /// As the system has it.
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// As in the address and in `<html data-theme>`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

/// Which stretch of time is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Span {
    /// So long until now; an index of [`PRESETS`].
    Last(usize),
    /// Microseconds, [from, to).
    Between(i64, i64),
}

const HOUR_US: i64 = 3_600_000_000;

/// Lengths that can be chosen: as in the address, microseconds, in both languages.
pub(crate) const PRESETS: [(&str, i64, &str, &str); 6] = [
    ("15m", HOUR_US / 4, "15 min", "15 分钟"),
    ("1h", HOUR_US, "1 h", "1 小时"),
    ("24h", 24 * HOUR_US, "24 h", "24 小时"),
    ("7d", 7 * 24 * HOUR_US, "7 d", "7 天"),
    ("30d", 30 * 24 * HOUR_US, "30 d", "30 天"),
    ("90d", 90 * 24 * HOUR_US, "90 d", "90 天"),
];
/// What is looked at where nothing is said.
const PRESET_DEFAULT: usize = 2;
/// What ends now ends at the next whole multiple of so many microseconds, so that those who look at once ask the same, and
/// nothing is too new to be seen.
const NOW_US: i64 = 5_000_000;
/// Where in a list of the view's time one stands, in the address.
pub(crate) const CURSOR: &str = "cursor";
/// Bytes of a zone's name.
const ZONE_BYTES_MAX: usize = 64;

/// In which zone times are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Zone {
    /// That of the reader's machine, which only its script knows; UTC until it has spoken.
    Local,
    /// By its name in the tz database; UTC is one.
    Named(Tz),
}

/// How somebody looks.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Which time.
    pub(crate) span: Span,
    /// In which zone.
    pub(crate) zone: Zone,
    /// In which language.
    pub(crate) lang: Lang,
    /// In which colours.
    pub(crate) theme: Theme,
    /// Of which page, parameters filled in: where links to the same page in another view lead.
    pub(crate) path: String,
    /// What else the address says: filters of one page. They stay on links to the same page.
    pub(crate) more: Vec<(String, String)>,
    /// When it is, microseconds since 1970 UTC: one moment for all of a page, a few seconds ahead at most.
    pub(crate) now_us: i64,
    said_lang: bool,
}

impl View {
    /// Of an address. What is not said has a default; what is said and is nothing is refused.
    pub(crate) fn read(query: &str, headers: &HeaderMap) -> Result<View, Problem> {
        let wrong = |what: &str| Problem::because(Code::InvalidParameter, what);
        let mut view = View::plain(headers);
        let (mut from, mut to) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "range" => {
                    let known = PRESETS.iter().position(|preset| preset.0 == value);
                    view.span =
                        Span::Last(known.ok_or_else(|| wrong("range is 15m, 1h, 24h, 7d, 30d or 90d"))?);
                }
                "from" | "to" if value.is_empty() => {} // a form that was sent without them
                "from" => from = Some(value.into_owned()),
                "to" => to = Some(value.into_owned()),
                "tz" => {
                    view.zone =
                        zone(&value).ok_or_else(|| wrong("tz is local, UTC or a name of the tz database"))?
                }
                "lang" => {
                    let lang = [Lang::En, Lang::Zh].into_iter().find(|lang| lang.name() == value);
                    view.lang = lang.ok_or_else(|| wrong("lang is en or zh"))?;
                    view.said_lang = true;
                }
                "theme" => {
                    let theme = [Theme::Auto, Theme::Light, Theme::Dark]
                        .into_iter()
                        .find(|theme| theme.name() == value);
                    view.theme = theme.ok_or_else(|| wrong("theme is auto, light or dark"))?;
                }
                _ => view.more.push((name.into_owned(), value.into_owned())),
            }
        }
        // after the zone: a moment without an offset is one of that zone
        let moment = |name, text: Option<String>| text.map(|text| view.moment(name, &text)).transpose();
        match (moment("from", from)?, moment("to", to)?) {
            (None, None) => {}
            (Some(from), to) => {
                let to = to.unwrap_or(view.now_us);
                if from >= to || to - from > FIGURE_US_MAX {
                    return Err(wrong("from is before to, by 366 days at most"));
                }
                view.span = Span::Between(from, to);
            }
            (None, Some(_)) => return Err(wrong("to without from")),
        }
        Ok(view)
    }

    /// Where nothing is said, or nothing could be understood.
    pub(crate) fn plain(headers: &HeaderMap) -> View {
        let accepts = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let lang = if accepts.trim_start().starts_with("zh") { Lang::Zh } else { Lang::En };
        View {
            span: Span::Last(PRESET_DEFAULT),
            zone: Zone::Named(Tz::UTC),
            lang,
            theme: Theme::Auto,
            path: "/".to_owned(),
            more: Vec::new(),
            now_us: (Moment::now().0 / NOW_US + 1) * NOW_US,
            said_lang: false,
        }
    }

    /// [from, to), microseconds since 1970 UTC.
    pub(crate) fn range_us(&self) -> (i64, i64) {
        match self.span {
            Span::Last(preset) => (self.now_us - PRESETS[preset].1, self.now_us),
            Span::Between(from, to) => (from, to),
        }
    }

    /// Whether it ends now, and so goes on.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.span, Span::Last(_))
    }

    /// A filter of the page.
    pub(crate) fn filter(&self, name: &str) -> Option<&str> {
        self.more.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same view of another page.
    pub(crate) fn link(&self, path: &str) -> String {
        self.address(path, &[])
    }

    /// The same view of another page, with filters of that page.
    pub(crate) fn link_with(&self, path: &str, filters: &[(&str, &str)]) -> String {
        self.address(path, filters)
    }

    /// The same page, filters kept.
    pub(crate) fn here(&self) -> String {
        let more: Vec<(&str, &str)> =
            self.more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.address(&self.path, &more)
    }

    /// What of the view an address says, in a fixed order; defaults are left out.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        match self.span {
            Span::Last(PRESET_DEFAULT) => {}
            Span::Last(preset) => fields.push(("range", PRESETS[preset].0.to_owned())),
            Span::Between(from, to) => {
                fields.push(("from", Moment(from).text()));
                fields.push(("to", Moment(to).text()));
            }
        }
        match self.zone {
            Zone::Named(Tz::UTC) => {}
            Zone::Named(zone) => fields.push(("tz", zone.name().to_owned())),
            Zone::Local => fields.push(("tz", "local".to_owned())),
        }
        if self.said_lang {
            fields.push(("lang", self.lang.name().to_owned()));
        }
        if self.theme != Theme::Auto {
            fields.push(("theme", self.theme.name().to_owned()));
        }
        fields
    }

    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.fields() {
            query.append_pair(name, &value);
        }
        query.extend_pairs(more);
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// Of the page at that path.
    pub(crate) fn at(self, path: &str) -> View {
        View { path: path.to_owned(), ..self }
    }

    /// With another language.
    pub(crate) fn with_lang(&self, lang: Lang) -> View {
        View { lang, said_lang: true, ..self.clone() }
    }

    /// In other colours.
    pub(crate) fn with_theme(&self, theme: Theme) -> View {
        View { theme, ..self.clone() }
    }

    /// Of another time. A place in a list of the one before is none in its own.
    pub(crate) fn with_span(&self, span: Span) -> View {
        let mut view = View { span, ..self.clone() };
        view.more.retain(|(name, _)| name != CURSOR);
        view
    }

    /// In another zone.
    pub(crate) fn with_zone(&self, zone: Zone) -> View {
        View { zone, ..self.clone() }
    }

    /// The zone in which times are written.
    pub(crate) fn tz(&self) -> Tz {
        match self.zone {
            Zone::Named(zone) => zone,
            Zone::Local => Tz::UTC,
        }
    }

    /// A moment as people of that zone write it, to the second; with tenths of milliseconds and more where `exact`.
    pub(crate) fn time(&self, us: i64, exact: bool) -> String {
        let Some(at) = DateTime::<Utc>::from_timestamp_micros(us) else { return "–".to_owned() };
        let at = at.with_timezone(&self.tz());
        let (date, time) = (at.date_naive(), at.time());
        let mut text = format!(
            "{}-{:02}-{:02} {:02}:{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        if exact {
            text.push_str(&format!(".{:06}", time.nanosecond() / 1_000 % 1_000_000));
        }
        text
    }

    /// A moment of a chart with stretches of that length: no more of it than tells stretches apart.
    pub(crate) fn stretch(&self, us: i64, step_us: i64) -> String {
        let text = self.time(us, false);
        match step_us {
            step if step >= 24 * HOUR_US => text[..10.min(text.len())].to_owned(),
            step if step >= 60_000_000 => text[..16.min(text.len())].to_owned(),
            _ => text,
        }
    }

    /// For a field of a form: without seconds' fractions, of the zone.
    pub(crate) fn field(&self, us: i64) -> String {
        self.time(us, false).replace(' ', "T")
    }

    /// Reads a moment: RFC 3339, or as a form sends it, of the zone.
    fn moment(&self, name: &str, text: &str) -> Result<i64, Problem> {
        if let Some(local) = local(text) {
            let at = self.tz().from_local_datetime(&local).earliest(); // none where clocks are set forward
            let at = at.ok_or_else(|| {
                Problem::because(Code::InvalidParameter, format_args!("there is no such {name} in that zone"))
            })?;
            return Ok(at.timestamp_micros());
        }
        Ok(Moment::parse(name, text)?.0)
    }
}

/// A moment without an offset.
fn local(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.split_once('T')?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let time =
        NaiveTime::parse_from_str(time, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"));
    Some(date.and_time(time.ok()?))
}

fn zone(text: &str) -> Option<Zone> {
    match text {
        "local" => Some(Zone::Local),
        name if name.len() <= ZONE_BYTES_MAX => name.parse().ok().map(Zone::Named),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Lang, PRESETS, Span, Theme, View};
    use axum::http::HeaderMap;

    fn read(query: &str) -> Option<View> {
        View::read(query, &HeaderMap::new()).ok().map(|view| view.at("/overview"))
    }

    /// Scenario: addresses with each setting, with filters, and with nonsense.
    /// Guarantees: a link made from a view is that view again; nonsense is refused; an address without settings stays short.
    #[test]
    fn views_are_links_and_links_are_views() {
        for query in [
            "",
            "range=7d",
            "tz=local&theme=dark",
            "range=15m&tz=Asia%2FShanghai&lang=zh&theme=light",
            "from=2026-03-01T00%3A00%3A00.000000Z&to=2026-03-02T00%3A00%3A00.000000Z",
            "lang=en&reason=body",
        ] {
            let view = read(query).unwrap_or_else(|| panic!("{query}"));
            let link = view.here();
            let again =
                read(link.strip_prefix("/overview").unwrap_or("").trim_start_matches('?')).expect("a view");
            assert_eq!(
                (again.span, again.zone, again.lang, again.theme, &again.more),
                (view.span, view.zone, view.lang, view.theme, &view.more)
            );
            assert_eq!(again.here(), link, "{query}");
        }
        assert_eq!(read("").expect("a view").link("/overview"), "/overview");
        let filtered = read("reason=body&theme=dark").expect("a view");
        assert_eq!((filtered.filter("reason"), filtered.theme), (Some("body"), Theme::Dark));
        assert_eq!(filtered.link("/product"), "/product?theme=dark");
        let third_page = read("range=7d&reason=body&cursor=abc").expect("a view");
        assert_eq!(
            third_page.with_theme(Theme::Dark).here(),
            "/overview?range=7d&theme=dark&reason=body&cursor=abc"
        );
        assert_eq!(
            third_page.with_span(Span::Last(0)).here(),
            "/overview?range=15m&reason=body",
            "from its beginning"
        );
        for wrong in [
            "range=8d",
            "tz=Mars",
            "lang=de",
            "theme=pink",
            "from=yesterday",
            "to=2026-03-01T00:00:00Z",
            "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
            "from=2020-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    /// Scenario: moments of a form in a zone, on the day on which its clocks are set forward, and texts of moments.
    /// Guarantees: a form's moments are of the zone; one that the clocks pass over is refused; the zone's day is written.
    #[test]
    fn moments_are_those_of_the_zone() {
        let view = read("tz=Asia/Shanghai&from=2026-03-01T08:00&to=2026-03-01T09:30:15").expect("a view");
        assert_eq!(view.span, Span::Between(1_772_323_200_000_000, 1_772_328_615_000_000));
        assert_eq!(view.time(1_772_323_200_000_000, true), "2026-03-01 08:00:00.000000");
        assert_eq!(view.stretch(1_772_323_200_000_000, 86_400_000_000), "2026-03-01");
        assert_eq!(view.stretch(1_772_323_200_000_000, 60_000_000), "2026-03-01 08:00");
        assert!(read("tz=Europe/Berlin&from=2026-03-29T02:30").is_none());
        assert!(PRESETS.iter().all(|preset| preset.1 > 0));
    }

    /// Scenario: browsers of both languages, and addresses that say otherwise.
    /// Guarantees: the browser's language unless the address says one; what it says stays in links.
    #[test]
    fn language_is_the_readers() {
        let mut headers = HeaderMap::new();
        headers.insert("accept-language", "zh-CN,zh;q=0.9,en;q=0.8".parse().expect("a header"));
        let view = |query| View::read(query, &headers).expect("a view");
        assert_eq!((view("").lang, view("lang=en").lang), (Lang::Zh, Lang::En));
        assert_eq!(view("").link("/overview"), "/overview");
        assert_eq!(view("lang=en").link("/overview"), "/overview?lang=en");
        assert_eq!(view("").with_lang(Lang::En).link("/overview"), "/overview?lang=en");
    }
}
