//! Children of inputs: bits, bytes, numbers, pieces and words, changed at random from a seed.

/// Numbers at which arithmetic and lengths break.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// Numbers as texts.
const DIGITS: [&str; 8] = [
    "0",
    "-1",
    "1",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e999",
];
/// Changes of one child.
const CHANGES_MAX: usize = 5;
/// Bytes of a piece that is copied, moved or cut.
const PIECE_BYTES_MAX: usize = 64;

/// A source of children; the same seed gives the same ones.
pub(crate) struct Mutator<'a> {
    state: u64,
    words: &'a [&'a str],
    bytes_max: usize,
}

impl Mutator<'_> {
    pub(crate) fn new<'a>(seed: u64, words: &'a [&'a str], bytes_max: usize) -> Mutator<'a> {
        Mutator { state: seed, words, bytes_max }
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; 0 where there is nothing below it.
    fn below(&mut self, bound: usize) -> usize {
        let drawn = self.next() % (bound.max(1) as u64);
        usize::try_from(drawn).unwrap_or(0)
    }

    /// A child of one of the inputs: of a late one as often as of all together.
    pub(crate) fn child(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let from = if self.next() & 1 == 0 { inputs.len().saturating_sub(16) } else { 0 };
        let mut child = inputs[from + self.below(inputs.len() - from)].clone();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut child, inputs);
        }
        child.truncate(self.bytes_max);
        child
    }

    fn change(&mut self, child: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(child.len() + 1);
        let end = (at + 1 + self.below(PIECE_BYTES_MAX)).min(child.len());
        match self.below(10) {
            0 if at < child.len() => child[at] ^= 1 << self.below(8),
            1 if at < child.len() => child[at] = self.next().to_le_bytes()[0],
            2 => drop(child.drain(at.min(end)..end)),
            3 => child.truncate(at),
            4 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_be_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                let end = (at + width).min(child.len());
                drop(child.splice(at..end, number[8 - width..].iter().copied()));
            }
            5 => {
                let digits = DIGITS[self.below(DIGITS.len())].bytes();
                let end = child[at..]
                    .iter()
                    .position(|byte| !byte.is_ascii_digit())
                    .map_or(child.len(), |n| at + n);
                drop(child.splice(at..end, digits));
            }
            6 => {
                let piece = child[at.min(end)..end].to_vec();
                drop(child.splice(at..at, piece));
            }
            7 => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(PIECE_BYTES_MAX)).min(other.len());
                drop(child.splice(at..at, other[from..to].iter().copied()));
            }
            _ if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len())].bytes();
                let over = if self.next() & 1 == 0 { at } else { (at + word.len()).min(child.len()) };
                drop(child.splice(at..over, word));
            }
            _ => child.insert(at, self.next().to_le_bytes()[0]),
        }
    }
}
