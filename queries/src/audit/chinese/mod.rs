//! What the audit says, in Chinese. Results are recorded in English, once; whoever shows one has it said in the reader's language.
//!
//! The book ([`book::PHRASES`]) has every sentence that a judge can say and every detail that a text of offenders can give, with holes
//! for what differs; a test has all judges speak, and holds the book against the SQL.

mod book;
#[cfg(test)]
mod tests;

use book::PHRASES;
use std::borrow::Cow;

/// Sentences and lists lie so deep in each other at most.
const DEPTH_MAX: usize = 6;
/// Bytes of a text that is looked up; a longer one stays as it is. Names of others stand in it, which may be anything.
const TEXT_BYTES_MAX: usize = 1_024;
/// Places of a text that are tried for a phrase, and for what stands in its holes. What publishers write can be read in very many
/// ways; after so many it stays as it is.
const TRIED_MAX: u32 = 200_000;

/// The same in Chinese; what is not in the book, such as the words of an error or of a later version, stays as it is.
pub fn in_chinese(text: &str) -> Cow<'_, str> {
    let known = if text.len() > TEXT_BYTES_MAX { None } else { Search { tried: 0 }.said(text, 0) };
    known.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// How much has been tried for one text.
struct Search {
    tried: u32,
}

impl Search {
    /// The same in Chinese; `None` where the book does not have it.
    fn said(&mut self, text: &str, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        for (en, zh) in PHRASES {
            let mut found = Vec::new();
            if self.matches(en, text, depth, &mut found) {
                return Some(filled(zh, &found));
            }
        }
        self.parts(text, depth)
    }

    /// A list, or one sentence after the other, of each of which the book knows every part.
    fn parts(&mut self, text: &str, depth: usize) -> Option<String> {
        let mut all = |parts: Vec<&str>, between: &str| -> Option<String> {
            let said: Option<Vec<String>> =
                parts.into_iter().map(|part| self.said(part, depth + 1)).collect();
            said.map(|said| said.join(between))
        };
        if let Some((first, rest)) = text.split_once(". ") {
            return all(vec![&text[..=first.len()], rest], "");
        }
        text.contains(", ").then(|| all(text.split(", ").collect(), "、")).flatten()
    }

    /// Whether a text is what a pattern says, and what stands in its holes then, in Chinese.
    fn matches<'p>(
        &mut self,
        pattern: &'p str,
        text: &str,
        depth: usize,
        found: &mut Vec<(&'p str, String)>,
    ) -> bool {
        let Some((before, name, kind, after)) = hole(pattern) else { return pattern == text };
        let Some(text) = text.strip_prefix(before) else { return false };
        let starts = after.split('{').next().unwrap_or_default();
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        for end in ends {
            self.tried += 1;
            if self.tried > TRIED_MAX {
                return false;
            }
            let (inside, rest) = text.split_at(end);
            let known = found.len();
            // what follows first: to look a hole up costs more
            if fits(kind, inside)
                && rest.starts_with(starts)
                && self.matches(after, rest, depth, found)
                && let Some(word) = self.held(kind, inside, depth)
            {
                found.push((name, word));
                return true;
            }
            found.truncate(known);
        }
        false
    }

    /// What stands in a hole, in Chinese; `None` where it cannot.
    fn held(&mut self, kind: Hole, inside: &str, depth: usize) -> Option<String> {
        match kind {
            Hole::Number => Some(inside.to_owned()),
            Hole::More if inside.is_empty() => Some(String::new()),
            Hole::Said | Hole::More => self.said(inside, depth + 1),
            Hole::Word => word(inside).map(str::to_owned),
            Hole::Any => Some(word(inside).unwrap_or(inside).to_owned()),
        }
    }
}

/// What may stand in a hole of a phrase.
#[derive(Clone, Copy)]
enum Hole {
    /// `{#name}`: a number.
    Number,
    /// `{name=}`: a word of the book.
    Word,
    /// `{name!}`: what the book has.
    Said,
    /// `{name?}`: nothing, or what the book has.
    More,
    /// `{name}`: a name or a moment, which stays as it is where the book does not have it.
    Any,
}

/// The first hole of a pattern: what stands before it, its name, its kind, and what follows.
fn hole(pattern: &str) -> Option<(&str, &str, Hole, &str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    let (name, kind) = match (name.strip_prefix('#'), name.chars().last()) {
        (Some(name), _) => (name, Hole::Number),
        (None, Some('=')) => (name.trim_end_matches('='), Hole::Word),
        (None, Some('!')) => (name.trim_end_matches('!'), Hole::Said),
        (None, Some('?')) => (name.trim_end_matches('?'), Hole::More),
        (None, _) => (name, Hole::Any),
    };
    Some((before, name, kind, after))
}

/// Whether a text may stand in a hole, by how it looks.
fn fits(kind: Hole, inside: &str) -> bool {
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match kind {
        Hole::Number => is_number(inside),
        Hole::More => true,
        Hole::Word | Hole::Said | Hole::Any => !inside.is_empty(),
    }
}

/// A phrase without holes.
fn word(text: &str) -> Option<&'static str> {
    PHRASES.iter().find(|(en, _)| *en == text).map(|(_, zh)| *zh)
}

fn filled(zh: &str, found: &[(&str, String)]) -> String {
    let Some((before, name, _, after)) = hole(zh) else { return zh.to_owned() };
    let word = found.iter().find(|(known, _)| *known == name).map_or("", |(_, word)| word.as_str());
    format!("{before}{word}{}", filled(after, found))
}
