//! How much of an amount can still come back, where the platform has refused to give all of it back.
//!
//! It says how much is left, or it does not: then every refusal and every part that came back halves what may be left, until it is
//! known to the last micro. At 10^15 micros that takes 50 acts.

use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) enum Share {
    /// All that is owed.
    #[default]
    Whole,
    /// What the platform has said is left, micros.
    Exactly(i64),
    /// No more than that is left, micros, and perhaps nothing.
    AtMost(i64),
}

impl Share {
    /// What is asked for now, micros, where that much is owed.
    pub(super) fn asks(self, owed: i64) -> i64 {
        match self {
            Share::Whole => owed,
            Share::Exactly(left) => left.min(owed),
            Share::AtMost(most) => {
                let most = most.min(owed);
                most - most / 2
            }
        }
    }

    /// It was too much; so much is left, where the platform says so.
    pub(super) fn exceeded(self, owed: i64, left: Option<i64>) -> Share {
        let asked = self.asks(owed);
        match left {
            Some(left) if (0..asked).contains(&left) => Share::Exactly(left),
            _ => Share::AtMost(asked - 1),
        }
    }

    /// It has come back.
    pub(super) fn moved(self, owed: i64) -> Share {
        match self {
            Share::Whole | Share::Exactly(_) => Share::Exactly(0),
            Share::AtMost(most) => Share::AtMost(most.min(owed) - self.asks(owed)),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Share::Exactly(0) | Share::AtMost(0))
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    /// Scenario: 1 to 300 micros, and 10^15, are owed and any smaller part of them is left; the platform says how much, or not.
    /// Guarantees: exactly what is left comes back, none of it is asked for twice; in two acts where the platform says how much, in
    /// few where it does not.
    #[test]
    fn exactly_what_is_left_comes_back() {
        let many = 1_000_000_000_000_000;
        let small = (1..=300_i64).flat_map(|owed| (0..owed).map(move |left| (owed, left)));
        let large = [0, 1, 60_000_000, many / 2, many / 3, many - 1].map(|left| (many, left));
        for (owed, there) in small.chain(large) {
            for says in [true, false] {
                let (mut share, mut left, mut back, mut acts) = (Share::default(), there, 0, 0);
                while !share.is_over() {
                    let asked = share.asks(owed - back);
                    assert!(asked > 0, "{owed} {there}");
                    acts += 1;
                    if asked > left {
                        share = share.exceeded(owed - back, says.then_some(left));
                    } else {
                        share = share.moved(owed - back);
                        (back, left) = (back + asked, left - asked);
                    }
                }
                assert_eq!(back, there, "of {owed}");
                assert!(acts <= if says { 2 } else { 52 }, "{owed} {there}: {acts} acts");
            }
        }
    }
}
