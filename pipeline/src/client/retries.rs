//! What a call does next: the whole decision, without a clock and without a network.

use super::tokens::BoxError;
use crate::gateway::code::{Code, Problem, Retry};
use std::time::Duration;

/// How long a call goes on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// One attempt; default 12 s, which is longer than the gateway takes by default, so that its own answer is heard.
    pub attempt: Duration,
    /// A call with all its attempts and pauses; default 30 s.
    pub call: Duration,
    /// Attempts of a call; default 8.
    pub attempts_max: u32,
    /// The longest pause after the first attempt, twice as long after each further one; default 100 ms. The pause itself is drawn
    /// from zero to it, and comes on top of what the gateway asks for in `Retry-After`.
    pub backoff: Duration,
    /// The longest pause that is drawn; default 5 s.
    pub backoff_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            attempt: Duration::from_secs(12),
            call: Duration::from_secs(30),
            attempts_max: 8,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}

/// How an attempt ended that was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The gateway answered with a problem.
    #[error("the gateway answered {}: {}", .0.code.name(), .0.title)]
    Problem(Problem),
    /// Something answered that is not what the contract says: another version, or a proxy between.
    #[error("an answer with status {0} that is not the gateway's")]
    Foreign(u16),
    /// There was no access token to show; nothing was sent.
    #[error("no access token")]
    NoToken(#[source] BoxError),
    /// No connection; nothing was sent.
    #[error("no connection to the gateway")]
    NoConnection(#[source] reqwest::Error),
    /// The connection ended before the answer.
    #[error("the connection to the gateway broke")]
    Broken(#[source] reqwest::Error),
    /// No answer in time.
    #[error("no answer of the gateway in time")]
    Late,
}

impl Trouble {
    /// Whether the request may have been done in spite of it.
    fn may_be_done(&self) -> bool {
        match self {
            Trouble::NoToken(_) | Trouble::NoConnection(_) => false,
            Trouble::Foreign(_) | Trouble::Broken(_) | Trouble::Late => true,
            // of the gateway's own attempts only the last was answered so
            Trouble::Problem(problem) => problem.retry == Retry::SameKey || problem.code == Code::RateLimited,
        }
    }

    /// Whether it says something of the token, and nothing of the request.
    fn is_about_the_token(&self) -> bool {
        let codes = [Code::TokenMissing, Code::TokenInvalid, Code::ScopeMissing];
        matches!(self, Trouble::Problem(problem) if codes.contains(&problem.code))
    }

    fn is_worth_another_attempt(&self) -> bool {
        match self {
            Trouble::Problem(problem) => problem.retry != Retry::Never,
            Trouble::Foreign(status) => *status >= 500 || [408, 425, 429].contains(status),
            Trouble::NoToken(_) | Trouble::NoConnection(_) | Trouble::Broken(_) | Trouble::Late => true,
        }
    }
}

/// What to do after trouble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Another attempt after that pause.
    Again(Duration),
    /// Another attempt at once, with a token that was renewed.
    Renewed,
    /// It is refused for good: nothing was done.
    Refused,
    /// Nothing more within this call, and it may have been done.
    Unknown,
    /// Nothing more within this call, and it was not done.
    NotDone,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct Retries {
    patience: Patience,
    moves_money: bool,
    attempts: u32,
    maybe_done: bool,
    token_is_new: bool,
}

impl Retries {
    pub(super) fn begin(moves_money: bool, patience: Patience) -> Retries {
        Retries { patience, moves_money, attempts: 0, maybe_done: false, token_is_new: false }
    }

    /// After an attempt: `asked` is what `Retry-After` says, `rest` what is left of the call's time, `draw` a fresh random number.
    pub(super) fn next(
        &mut self,
        trouble: &Trouble,
        asked: Option<Duration>,
        rest: Duration,
        draw: u32,
    ) -> Next {
        self.attempts += 1;
        self.maybe_done |= self.moves_money && trouble.may_be_done();
        let over = if self.maybe_done { Next::Unknown } else { Next::NotDone };
        let may_go_on = self.attempts < self.patience.attempts_max;
        let refused_token =
            matches!(trouble, Trouble::Problem(problem) if problem.code == Code::TokenInvalid);
        if refused_token && !self.token_is_new && may_go_on {
            self.token_is_new = true;
            return Next::Renewed;
        }
        self.token_is_new = false;
        if !trouble.is_worth_another_attempt() {
            return match trouble {
                // an earlier attempt of this call may have been done: that this one was turned away at the door says nothing of it
                Trouble::Problem(_) if self.maybe_done && trouble.is_about_the_token() => Next::Unknown,
                Trouble::Problem(_) => Next::Refused,
                _ => over,
            };
        }
        let pause = self.pause(draw).saturating_add(asked.unwrap_or_default());
        if may_go_on && pause < rest { Next::Again(pause) } else { over }
    }

    fn pause(&self, draw: u32) -> Duration {
        let times = 2_u32.saturating_pow((self.attempts - 1).min(16));
        let most = self.patience.backoff.saturating_mul(times).min(self.patience.backoff_max);
        let nanos = most.as_nanos() * u128::from(draw) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, Patience, Retries, Trouble};
    use crate::gateway::code::{Code, Problem, Retry};
    use std::time::Duration;

    const REST: Duration = Duration::from_secs(10);

    fn problem(code: Code) -> Trouble {
        Trouble::Problem(Problem::new(code))
    }

    fn after(moves_money: bool, troubles: &[Trouble]) -> Next {
        let mut retries = Retries::begin(moves_money, Patience::default());
        let mut next = Next::NotDone;
        for trouble in troubles {
            next = retries.next(trouble, None, REST, 0);
        }
        next
    }

    /// Scenario: each code of the gateway as the answer to a charge, with time left and without.
    /// Guarantees: it is asked again if and only if the code says so; at the end what may have been done is never called refused
    /// or not done, and a platform that was not asked never unknown.
    #[test]
    fn retries_are_those_of_the_code() {
        for code in Code::ALL.iter().copied() {
            let mut retries = Retries::begin(true, Patience::default());
            let next = retries.next(&problem(code), None, REST, 0);
            let late =
                Retries::begin(true, Patience::default()).next(&problem(code), None, Duration::ZERO, 0);
            let (now, end) = match code.retry() {
                _ if code == Code::TokenInvalid => (Next::Renewed, Next::Renewed),
                Retry::Never => (Next::Refused, Next::Refused),
                Retry::SameKey => (Next::Again(Duration::ZERO), Next::Unknown),
                // of the gateway's attempts the last was answered so, and no other
                Retry::Later if code == Code::RateLimited => (Next::Again(Duration::ZERO), Next::Unknown),
                Retry::Later => (Next::Again(Duration::ZERO), Next::NotDone),
            };
            assert_eq!((next, late), (now, end), "{}", code.name());
        }
    }

    /// Scenario: an attempt of a charge has no answer; later ones end in every other way. The same of an estimate.
    /// Guarantees: only an answer about the request ends the doubt; a call that moves nothing is never in doubt.
    #[test]
    fn a_doubt_stays_until_it_is_answered() {
        let then = |last| after(true, &[Trouble::Late, last]);
        assert_eq!(then(problem(Code::ScopeMissing)), Next::Unknown);
        assert_eq!(then(problem(Code::InsufficientBalance)), Next::Refused);
        assert_eq!(
            after(true, &[Trouble::Late, problem(Code::TokenInvalid), problem(Code::TokenInvalid)]),
            Next::Unknown
        );
        assert_eq!(after(true, &[problem(Code::TokenInvalid), problem(Code::TokenInvalid)]), Next::Refused);
        let mut retries = Retries::begin(true, Patience::default());
        retries.next(&Trouble::Late, None, REST, 0);
        assert_eq!(retries.next(&problem(Code::CircuitOpen), None, Duration::ZERO, 0), Next::Unknown);
        let mut retries = Retries::begin(false, Patience::default());
        retries.next(&Trouble::Late, None, REST, 0);
        assert_eq!(retries.next(&Trouble::Late, None, Duration::ZERO, 0), Next::NotDone);
    }

    /// Scenario: a proxy between answers with a page of its own.
    /// Guarantees: its 4xx is no refusal of the gateway and is not asked again; its 5xx is asked again.
    #[test]
    fn a_foreign_answer_is_no_refusal() {
        assert_eq!(after(true, &[Trouble::Foreign(404)]), Next::Unknown);
        assert_eq!(after(false, &[Trouble::Foreign(404)]), Next::NotDone);
        assert_eq!(after(true, &[Trouble::Foreign(502)]), Next::Again(Duration::ZERO));
    }

    /// Scenario: attempts go on and on, with the smallest and the largest draw, with a Retry-After, and with little time.
    /// Guarantees: pauses double up to their bound, come on top of what is asked for, never pass the deadline; attempts are bounded.
    #[test]
    fn pauses_grow_and_end() {
        let patience =
            Patience { backoff: Duration::from_millis(100), attempts_max: 9, ..Patience::default() };
        let mut retries = Retries::begin(true, patience);
        let mut pauses = Vec::new();
        while let Next::Again(pause) = retries.next(&Trouble::Late, None, REST, u32::MAX) {
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let asked = Some(Duration::from_secs(2));
        let first =
            |rest, draw| Retries::begin(true, patience).next(&problem(Code::CircuitOpen), asked, rest, draw);
        assert_eq!(first(REST, 0), Next::Again(Duration::from_secs(2)));
        assert_eq!(first(REST, u32::MAX), Next::Again(Duration::from_millis(2_100)));
        assert_eq!(first(Duration::from_secs(2), 0), Next::NotDone);
    }
}
