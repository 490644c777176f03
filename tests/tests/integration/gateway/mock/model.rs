//! The rules of money once more, in their plainest form: a list of what was granted, and every figure summed up from its start.
//! Slow, and without a state that could go wrong.

/// A movement that was granted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moved {
    pub(super) wallet: String,
    pub(super) task: String,
    pub(super) what: &'static str,
    pub(super) amount: i64,
}

/// All movements in order.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) moved: Vec<Moved>,
}

/// What an answer must be: balance after and held for the task, or the code of the refusal.
pub(super) type Expected = Result<(i64, i64), &'static str>;

impl Model {
    /// Asks for a movement, and does it where the rules allow.
    pub(super) fn ask(&mut self, wallet: &str, task: &str, what: &'static str, amount: i64) -> Expected {
        let known = self.moved.iter().any(|moved| moved.wallet == wallet && moved.what == "GRANT");
        if !known && what != "GRANT" {
            return Err("wallet_unknown");
        }
        let free = self.balance(wallet) - self.held(wallet, None);
        let held = self.held(wallet, Some(task));
        let refused = match what {
            "HOLD" => (amount > free).then_some("hold_failed"),
            "CHARGE" => (amount > free + held).then_some("insufficient_balance"),
            "SUPPLEMENT" | "ACCELERATION" => (amount > free).then_some("insufficient_balance"),
            "REFUND" => (amount > self.charged(wallet, task)).then_some("refund_exceeds_charge"),
            "RELEASE" => (amount > held).then_some("refund_exceeds_charge"),
            _ => None,
        };
        if let Some(code) = refused {
            return Err(code);
        }
        self.moved.push(Moved { wallet: wallet.to_owned(), task: task.to_owned(), what, amount });
        Ok((self.balance(wallet), self.held(wallet, Some(task))))
    }

    /// What was granted, less what was taken, plus what came back.
    pub(super) fn balance(&self, wallet: &str) -> i64 {
        let sum = |what| self.sum(wallet, what);
        sum("GRANT") + sum("REFUND") - sum("CHARGE") - sum("SUPPLEMENT") - sum("ACCELERATION")
    }

    /// The sum of one kind.
    pub(super) fn sum(&self, wallet: &str, what: &str) -> i64 {
        let of = self.moved.iter().filter(|moved| moved.wallet == wallet && moved.what == what);
        of.map(|moved| moved.amount).sum()
    }

    /// What is held for a task, or for all of the wallet.
    pub(super) fn held(&self, wallet: &str, task: Option<&str>) -> i64 {
        let Some(task) = task else {
            let mut tasks: Vec<&str> = self.moved.iter().map(|moved| moved.task.as_str()).collect();
            tasks.sort_unstable();
            tasks.dedup();
            return tasks.into_iter().map(|task| self.held(wallet, Some(task))).sum();
        };
        let of = self.moved.iter().filter(|moved| moved.wallet == wallet && moved.task == task);
        of.fold(0, |held, moved| match moved.what {
            "HOLD" => held + moved.amount,
            "RELEASE" => held - moved.amount,
            "CHARGE" => (held - moved.amount).max(0),
            _ => held,
        })
    }

    fn charged(&self, wallet: &str, task: &str) -> i64 {
        let of = self.moved.iter().filter(|moved| moved.wallet == wallet && moved.task == task);
        of.map(|moved| match moved.what {
            "CHARGE" | "SUPPLEMENT" | "ACCELERATION" => moved.amount,
            "REFUND" => -moved.amount,
            _ => 0,
        })
        .sum()
    }
}

/// Chance from a seed: splitmix64.
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// A number below n.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// One of these.
    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let place = self.below(all.len() as u64);
        all[usize::try_from(place).expect("a place in a list")]
    }
}
