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

/// For people, on one line: such characters as `\u{202e}`, so that they are seen and do nothing.
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, |c, out| {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c)); // writing to a string does not fail
    })
}

/// For people, over several lines: `visible`, and the text's own line ends stay.
pub fn visible_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// In JSON that was written already, and not over several lines inside of strings: such characters as `\u202e`. They can
/// stand only in strings there; the text's own line ends stay.
pub fn visible_json(json: &str) -> String {
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
pub(crate) fn html(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::{visible, visible_json, visible_lines};

    /// Scenario: a text that would wipe a line and hide the rest, in C0, C1 and marks of direction, for people and in JSON.
    /// Guarantees: nothing of it steers; the JSON still says the same text.
    #[test]
    fn nothing_steers() {
        let text = "\u{1b}[2K\u{1b}[1A\u{9b}8mverified\u{202e}\n";
        assert_eq!(visible(text), "\\u{1b}[2K\\u{1b}[1A\\u{9b}8mverified\\u{202e}\\u{a}");
        assert_eq!(visible_lines("a\r\nb\u{7}"), "a\\u{d}\nb\\u{7}");
        let json = serde_json::to_string_pretty(&[text, "plain", "\u{e0041}"]).expect("JSON");
        let shown = visible_json(&json);
        assert!(shown.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{shown}");
        let back: Vec<String> = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(back, [text, "plain", "\u{e0041}"]);
    }
}
