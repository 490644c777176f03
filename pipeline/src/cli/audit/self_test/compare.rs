//! What was to be found against what was found.

use super::class::Class;
use serde::Serialize;
use std::collections::BTreeSet;

/// Something that an audit says is wrong: an offender of a job, or a finding of `verify`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    /// `offsets`, `completeness`, `balances` or `verify`.
    pub(super) job: &'static str,
    /// The rule that is broken, or what `verify` says.
    pub(super) why: String,
    /// The offender; of `verify` the table and the place in it.
    pub(super) id: String,
}

/// A finding that an injection must bring about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Expected {
    pub(super) job: &'static str,
    /// Stands in the finding's `why`.
    pub(super) why: String,
    /// One of these is its id.
    pub(super) ids: Vec<String>,
}

impl Expected {
    fn is(&self, finding: &Finding) -> bool {
        self.job == finding.job && finding.why.contains(&self.why) && self.ids.contains(&finding.id)
    }
}

/// One harm, done at one place.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Injected {
    pub(super) class: Class,
    /// What was done.
    pub(super) what: &'static str,
    /// To which event or task.
    pub(super) subject: String,
    pub(super) expected: Vec<Expected>,
}

/// A figure that must come out exactly: of a class whose harm is counted and breaks no rule, or that must not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    pub(super) class: Class,
    pub(super) figure: String,
    pub(super) expected: i64,
    pub(super) found: i64,
    /// Whether each unit of it is an injection of its own, which nothing else shows.
    pub(super) injections: bool,
}

/// Everything that was to be seen, and everything that was.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub(super) injected: Vec<Injected>,
    pub(super) findings: Vec<Finding>,
    pub(super) counts: Vec<Count>,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) class: Class,
    pub(super) injected: u64,
    pub(super) found: u64,
    pub(super) missed: u64,
    pub(super) false_alarms: u64,
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) lines: Vec<Line>,
    /// Injections of which something was not found, with what.
    pub(super) missed: Vec<Injected>,
    /// Figures that did not come out exactly.
    pub(super) miscounted: Vec<Count>,
    /// Findings that nothing was injected for.
    pub(super) unexplained: Vec<Finding>,
}

impl Outcome {
    /// Everything was found, and nothing else was.
    pub(super) fn holds(&self) -> bool {
        self.lines.iter().any(|line| line.injected > 0)
            && self.lines.iter().all(|line| line.missed == 0 && line.false_alarms == 0)
            && self.missed.is_empty()
            && self.miscounted.is_empty()
            && self.unexplained.is_empty()
    }
}

/// Compares by id: an injection is found where all that it must bring about is there; a finding explains one expectation.
pub(super) fn compare(evidence: &Evidence) -> Outcome {
    let mut open: Vec<&Finding> = evidence.findings.iter().collect();
    let mut missed = Vec::new();
    for injected in &evidence.injected {
        let mut absent = Vec::new();
        for expected in &injected.expected {
            match open.iter().position(|finding| expected.is(finding)) {
                Some(place) => drop(open.swap_remove(place)),
                None => absent.push(expected.clone()),
            }
        }
        if !absent.is_empty() {
            missed.push(Injected { expected: absent, ..injected.clone() });
        }
    }
    let mut unexplained: Vec<Finding> = open.into_iter().cloned().collect();
    unexplained.sort();
    let miscounted: Vec<Count> =
        evidence.counts.iter().filter(|count| count.expected != count.found).cloned().collect();
    let classes: BTreeSet<Class> = evidence
        .injected
        .iter()
        .map(|one| one.class)
        .chain(evidence.counts.iter().map(|count| count.class))
        .collect();
    let lines = classes.into_iter().map(|class| line(evidence, class, &missed)).collect();
    Outcome { lines, missed, miscounted, unexplained }
}

fn line(evidence: &Evidence, class: Class, missed: &[Injected]) -> Line {
    let of = |all: &[Injected]| all.iter().filter(|one| one.class == class).count() as u64;
    let mut line =
        Line { class, injected: of(&evidence.injected), found: 0, missed: of(missed), false_alarms: 0 };
    for count in evidence.counts.iter().filter(|count| count.class == class) {
        let missing = u64::try_from(count.expected - count.found).unwrap_or(0);
        line.false_alarms += u64::try_from(count.found - count.expected).unwrap_or(0);
        if count.injections {
            line.injected += u64::try_from(count.expected).unwrap_or(0);
        }
        line.missed = (line.missed + missing).min(line.injected.max(missing));
    }
    line.found = line.injected.saturating_sub(line.missed);
    line
}

/// How often the comparison was led astray, and how often it noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Probe {
    /// Findings left out one by one, findings made up, figures off by one.
    pub(super) tried: u64,
    pub(super) noticed: u64,
}

/// Looks whether this comparison can fail at all: leaves out every single finding, makes one up for every job, and puts
/// every figure off by one either way. Each must turn a comparison that holds into one that does not.
pub(super) fn probe(evidence: &Evidence) -> Probe {
    let mut probe = Probe { tried: 0, noticed: 0 };
    let mut ask = |astray: &Evidence| {
        probe.tried += 1;
        probe.noticed += u64::from(!compare(astray).holds());
    };
    for place in 0..evidence.findings.len() {
        let mut blind = evidence.clone();
        blind.findings.remove(place);
        ask(&blind);
    }
    for job in ["offsets", "completeness", "balances", "verify"] {
        let mut seeing = evidence.clone();
        seeing.findings.push(Finding { job, why: "made up".to_owned(), id: "made up".to_owned() });
        ask(&seeing);
    }
    for place in 0..evidence.counts.len() {
        for off in [-1, 1] {
            let mut wrong = evidence.clone();
            wrong.counts[place].found += off;
            ask(&wrong);
        }
    }
    probe
}

#[cfg(test)]
mod tests {
    use super::{Class, Count, Evidence, Expected, Finding, Injected, compare, probe};

    fn finding(why: &str, id: &str) -> Finding {
        Finding { job: "offsets", why: why.to_owned(), id: id.to_owned() }
    }

    fn expected(why: &str, ids: &[&str]) -> Expected {
        Expected { job: "offsets", why: why.to_owned(), ids: ids.iter().map(|id| (*id).to_owned()).collect() }
    }

    fn evidence() -> Evidence {
        let injected =
            |expected| Injected { class: Class::Loss, what: "x", subject: "s".to_owned(), expected };
        Evidence {
            injected: vec![
                injected(vec![expected("holes", &["a"]), expected("fact", &["b"])]),
                injected(vec![expected("holes", &["c", "d"])]),
            ],
            findings: vec![finding("holes", "a"), finding("fact", "b"), finding("holes", "d")],
            counts: vec![Count {
                class: Class::Duplicate,
                figure: "duplicates".to_owned(),
                expected: 5,
                found: 5,
                injections: true,
            }],
        }
    }

    /// Scenario: all is found; then one finding of two is lost, one is of another place, one is too much, one is counted short.
    /// Guarantees: only the first holds; each of the others is told in its column.
    #[test]
    fn what_is_missed_and_what_is_too_much() {
        let figures = |evidence: &Evidence| {
            let outcome = compare(evidence);
            let lines = outcome.lines.iter().map(|l| (l.injected, l.found, l.missed, l.false_alarms));
            (outcome.holds(), lines.collect::<Vec<_>>(), outcome.unexplained.len())
        };
        assert_eq!(figures(&evidence()), (true, vec![(2, 2, 0, 0), (5, 5, 0, 0)], 0));
        let mut lost = evidence();
        lost.findings.remove(1);
        assert_eq!(figures(&lost), (false, vec![(2, 1, 1, 0), (5, 5, 0, 0)], 0));
        let mut elsewhere = evidence();
        elsewhere.findings[2].id = "e".to_owned();
        assert_eq!(figures(&elsewhere), (false, vec![(2, 1, 1, 0), (5, 5, 0, 0)], 1));
        let mut more = evidence();
        more.findings.push(finding("holes", "a"));
        assert_eq!(figures(&more), (false, vec![(2, 2, 0, 0), (5, 5, 0, 0)], 1));
        let mut short = evidence();
        short.counts[0].found = 3;
        assert_eq!(figures(&short), (false, vec![(2, 2, 0, 0), (5, 3, 2, 0)], 0));
        let mut over = evidence();
        over.counts[0].found = 6;
        assert_eq!(figures(&over), (false, vec![(2, 2, 0, 0), (5, 5, 0, 1)], 0));
    }

    /// Scenario: a comparison of nothing.
    /// Guarantees: finding everything of nothing is no success.
    #[test]
    fn nothing_injected_proves_nothing() {
        assert!(!compare(&Evidence::default()).holds());
    }

    /// Scenario: three findings and one figure, each taken wrong in turn.
    /// Guarantees: 3 left out, 4 made up and 2 miscounted are all noticed.
    #[test]
    fn every_blindness_is_noticed() {
        let probed = probe(&evidence());
        assert_eq!((probed.tried, probed.noticed), (9, 9));
    }
}
