//! What the platform answered, held against what was asked: a body of the right shape about another wallet is no answer.

use super::contract::{Ask, Charge, Estimate, LicenseCheck, Refund, parse};
use super::moment::micros;

/// An answer as the contract says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Estimate(Estimate),
    Charge(Charge),
    Refund(Refund),
    Check(LicenseCheck),
}

impl Answer {
    /// Reads the body of a 200; `None` where it is not an answer to what was asked.
    pub(super) fn read(ask: &Ask, body: &[u8]) -> Option<Answer> {
        let answer = match ask {
            Ask::Estimate(_) => Answer::Estimate(parse(body).ok()?),
            Ask::Charge(_) => Answer::Charge(parse(body).ok()?),
            Ask::Refund(_) => Answer::Refund(parse(body).ok()?),
            Ask::Check(_) => Answer::Check(parse(body).ok()?),
        };
        answer.fits(ask).then_some(answer)
    }

    fn fits(&self, ask: &Ask) -> bool {
        match (self, ask) {
            (Answer::Estimate(answer), Ask::Estimate(ask)) => {
                answer.wallet_id == ask.about.wallet_id
                    && answer.queue == ask.queue
                    && is_id(&answer.estimate_id)
                    && is_amount(answer.amount_micros)
                    && micros(&answer.expires_at).is_some()
            }
            (Answer::Charge(answer), Ask::Charge(ask)) => {
                answer.wallet_id == ask.about.wallet_id
                    && answer.purpose == ask.purpose
                    && answer.amount_micros == ask.amount_micros
                    && is_id(&answer.charge_id)
                    && micros(&answer.moved_at).is_some()
            }
            (Answer::Refund(answer), Ask::Refund(ask)) => {
                answer.wallet_id == ask.about.wallet_id
                    && answer.of == ask.of
                    && answer.amount_micros == ask.amount_micros
                    && is_id(&answer.refund_id)
                    && micros(&answer.moved_at).is_some()
            }
            (Answer::Check(answer), Ask::Check(ask)) => {
                Some(&answer.license_id) == ask.about.license_id.as_ref()
                    && is_amount(answer.quota_remaining_micros)
                    && micros(&answer.expires_at).is_some()
            }
            _ => false,
        }
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= super::contract::ID_BYTES_MAX
}

fn is_amount(amount: i64) -> bool {
    (0..=super::contract::AMOUNT_MICROS_MAX).contains(&amount)
}
