//! What the audit says, in Chinese. Results are recorded in English, once; whoever shows one has it said in the reader's language.
//!
//! The book ([`book::PHRASES`]) has every sentence that a judge can say and every detail that a text of offenders can give, with holes
//! for what differs; a test has all judges speak, and holds the book against the SQL.

mod book;
#[cfg(test)]
mod tests;

use crate::phrases::Book;
use book::PHRASES;
use std::borrow::Cow;

/// Places of a text that are tried. What publishers write can be read in very many ways.
const TRIED_MAX: u32 = 200_000;
const BOOK: Book = Book::new(&[PHRASES], TRIED_MAX);

/// The same in Chinese; what is not in the book, such as the words of an error or of a later version, stays as it is.
pub fn in_chinese(text: &str) -> Cow<'_, str> {
    BOOK.in_chinese(text)
}
