//! Sentences that were recorded in English, once, said in Chinese: by a book of phrases with holes for what differs.
//!
//! Each book is held by tests against whoever says what it has: that of the audit (`audit::in_chinese`), that of single records here.

mod records;
#[cfg(test)]
mod tests;

use records::{LETTERS, LOG};
use std::borrow::Cow;
#[cfg(test)]
pub(crate) use tests::is_whole;

/// What is said of one record: why it was refused, what can be read of it, what became of its replays, how the sealed log stands to it.
const RECORDS: Book = Book::new(&[LETTERS, LOG], 20_000);

/// What is said of one record, in Chinese: a dead letter's sentence, where its bytes cannot be read, its replays, the sealed log.
pub fn record_in_chinese(text: &str) -> Cow<'_, str> {
    RECORDS.in_chinese(text)
}

/// Sentences and lists lie so deep in each other at most.
const DEPTH_MAX: usize = 6;
/// Bytes of a text that is looked up; a longer one stays as it is. Names of others stand in it, which may be anything.
const TEXT_BYTES_MAX: usize = 1_024;
/// Phrases in English and in Chinese, the particular before the general.
///
/// Holes: `{#name}` a number, `{name=}` a word of the book, `{name!}` what the book has, `{name?}` nothing or what the book has, and
/// `{name}` whatever stands there, in Chinese where the book has it as a word.
#[derive(Clone, Copy, Debug)]
pub struct Book {
    phrases: &'static [&'static [(&'static str, &'static str)]],
    tried_max: u32,
}

impl Book {
    /// Of these phrases. Places of a text that are tried for a phrase, and for what stands in its holes, are at most `tried_max`: what
    /// others write can be read in very many ways, and after so many it stays as it is.
    pub const fn new(phrases: &'static [&'static [(&'static str, &'static str)]], tried_max: u32) -> Book {
        Book { phrases, tried_max }
    }

    /// Every phrase.
    pub fn phrases(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.phrases.iter().flat_map(|part| part.iter().copied())
    }

    /// The same in Chinese; what is not in the book, such as the words of another program or of a later version, stays as it is.
    pub fn in_chinese<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = if text.len() > TEXT_BYTES_MAX { None } else { Search::of(self).said(text, 0) };
        known.map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Whether it has that text.
    pub fn has(&self, text: &str) -> bool {
        Search::of(self).said(text, 0).is_some()
    }

    /// A phrase without holes.
    fn word(&self, text: &str) -> Option<&'static str> {
        self.phrases().find(|(en, _)| *en == text).map(|(_, zh)| zh)
    }
}

/// How much has been tried for one text.
pub(crate) struct Search {
    book: Book,
    pub(crate) tried: u32,
}

impl Search {
    /// Of nothing yet.
    pub(crate) const fn of(book: &Book) -> Search {
        Search { book: *book, tried: 0 }
    }

    /// The same in Chinese; `None` where the book does not have it.
    pub(crate) fn said(&mut self, text: &str, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        for (en, zh) in self.book.phrases() {
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
    pub(crate) fn matches<'p>(
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
            if self.tried > self.book.tried_max {
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
            Hole::Word => self.book.word(inside).map(str::to_owned),
            Hole::Any => Some(self.book.word(inside).unwrap_or(inside).to_owned()),
        }
    }
}

/// What may stand in a hole of a phrase.
#[derive(Clone, Copy)]
pub(crate) enum Hole {
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
pub(crate) fn hole(pattern: &str) -> Option<(&str, &str, Hole, &str)> {
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

fn filled(zh: &str, found: &[(&str, String)]) -> String {
    let Some((before, name, _, after)) = hole(zh) else { return zh.to_owned() };
    let word = found.iter().find(|(known, _)| *known == name).map_or("", |(_, word)| word.as_str());
    format!("{before}{word}{}", filled(after, found))
}
