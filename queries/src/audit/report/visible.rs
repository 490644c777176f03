//! Text from outside, made harmless before it is shown: ids and details may hold anything.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character steers instead of showing: C0 and C1 controls (ANSI escapes begin with one), marks and overrides of
/// writing direction, line and paragraph separators, and what has no width.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// For people: such characters as `\u{202e}`, so that they are seen and do nothing.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    replace(text, |c, out| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c)); // writing to a string does not fail
    })
}

/// In JSON that was written already, and not over several lines inside of strings: such characters as `\u202e`. They can
/// stand only in strings there; the text's own line ends stay.
pub(super) fn visible_json(json: &str) -> String {
    let lines: Vec<Cow<'_, str>> = json
        .split('\n')
        .map(|line| {
            replace(line, |c, out| {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            })
        })
        .collect();
    lines.join("\n")
}

fn replace(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { escape(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// For HTML: `visible`, and with the five characters that mean something there as references.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
