//! Whether Kafka lets us in. Who is refused for a password or a certificate learns it at once, with what to do.

use super::{Source, SourceError};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long brokers may take to let us in. After it, a refusal is believed; those that said nothing are waited for like any
/// that are down.
const KNOCK: Duration = Duration::from_secs(5);
/// How long one question may wait, so that what they say against us is heard meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// A longer reason is cut: it is a broker's text.
const SAID_CHARS_MAX: usize = 300;

/// A refusal that only an operator can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Credentials,
    Tls,
}

impl Refusal {
    fn of(error: &KafkaError) -> Option<Refusal> {
        match error.rdkafka_error_code()? {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                Some(Refusal::Credentials)
            }
            RDKafkaErrorCode::SSL => Some(Refusal::Tls),
            _ => None,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Refusal::Credentials => "check kafka.user, kafka.password and kafka.mechanism",
            Refusal::Tls => {
                "if their certificates are not believed, give the authority that signed them as kafka.ca and name brokers as \
                 they do; else see that this listener speaks TLS, in a version that both sides know, and whether it asks for \
                 a certificate of ours (ssl.certificate.location and ssl.key.location in kafka.properties)"
            }
        }
    }
}

/// What brokers said last against letting us in.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: Mutex<Option<(Refusal, String)>>,
    hinted: AtomicBool,
}

/// Whether an error is a refusal, which was told with its reason.
pub(super) fn is_told(error: &KafkaError) -> bool {
    Refusal::of(error).is_some()
}

impl Refusals {
    /// Takes an error of the client. True where it is a refusal; the first of a kind is logged, with its remedy.
    pub(super) fn hears(&self, error: &KafkaError, reason: &str) -> bool {
        let Some(refusal) = Refusal::of(error) else { return false };
        let said = bare(reason);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref().is_none_or(|(before, _)| *before != refusal) {
            tracing::warn!(said, remedy = refusal.remedy(), "a broker does not let us in");
        }
        *told = Some((refusal, said));
        true
    }

    /// Takes a line of librdkafka's log. A broker that hangs up on the first request may be starting, or its listener wants
    /// TLS and is met without: a hint, once, and no refusal. A broker that has a number was named by one that let us in.
    pub(super) fn reads(&self, line: &str) {
        let hangs_up =
            line.contains("/bootstrap: Disconnected") && line.contains("in state APIVERSION_QUERY");
        if hangs_up && !self.hinted.swap(true, Ordering::Relaxed) {
            let remedy = "see that it runs, and whether its listener wants TLS: kafka.tls, kafka.ca";
            tracing::warn!(said = bare(line), remedy, "a broker hangs up on the first request");
        }
    }

    fn refusal(&self) -> Option<SourceError> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref()
            .map(|(refusal, said)| SourceError::Refused { said: said.clone(), remedy: refusal.remedy() })
    }

    fn opened(&self) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Without how long it took and how often it was said, which differ each time.
fn bare(reason: &str) -> String {
    let end = reason.find(" (after ").unwrap_or(reason.len());
    reason.get(..end).unwrap_or(reason).chars().take(SAID_CHARS_MAX).collect()
}

impl Source {
    /// Asks the brokers for a sign of life: the answer of one names every topic. A refusal counts only where, in all that time,
    /// none answered: of several brokers one may have an expired certificate, or not have loaded new credentials. Only before [`Source::run`]: it takes what comes for the consumer.
    ///
    /// # Errors
    /// [`SourceError::Refused`]. Brokers that say nothing are no error here: they may be starting.
    pub async fn admitted(&self) -> Result<(), SourceError> {
        let source = self.clone();
        let knocked = tokio::task::spawn_blocking(move || source.knock()).await;
        knocked.unwrap_or_else(|error| Err(SourceError::Thread(error.to_string())))
    }

    fn knock(&self) -> Result<(), SourceError> {
        let (consumer, begun) = (self.client.consumer(), Instant::now());
        let refusals = &consumer.context().refusals;
        while begun.elapsed() < KNOCK {
            if consumer.client().fetch_metadata(None, LOOK).is_ok() {
                refusals.opened();
                return Ok(());
            }
            drop(consumer.poll(Duration::ZERO)); // its errors reach the refusals
        }
        refusals.refusal().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusals, bare};
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    use std::sync::atomic::Ordering;

    /// Scenario: errors as librdkafka reports them: a wrong password, an unknown authority, a broker that is down, one that hangs up.
    /// Guarantees: the first two are refusals, each with its own remedy, without what changes each time; the others are none. The
    /// last is a hint, but from a broker that was named by another.
    #[test]
    fn refusals_are_known() {
        let told = |tell: &dyn Fn(&Refusals)| {
            let refusals = Refusals::default();
            tell(&refusals);
            refusals.refusal().map(|refused| refused.to_string()).unwrap_or_default()
        };
        let heard = |code, reason| told(&|refusals| _ = refusals.hears(&KafkaError::Global(code), reason));
        let wrong =
            "sasl_ssl://a:1/bootstrap: SASL authentication error: invalid (after 312ms in state AUTH_REQ)";
        let said = heard(RDKafkaErrorCode::Authentication, wrong);
        assert!(said.contains("kafka.password") && said.contains("a:1") && !said.contains("312"), "{said}");
        let said = heard(RDKafkaErrorCode::SSL, "SSL handshake failed");
        assert!(said.contains("kafka.ca") && said.contains("a version that both sides know"), "{said}");
        assert_eq!(heard(RDKafkaErrorCode::BrokerTransportFailure, "Connect failed"), "");
        let hinted = |broker: &str| {
            let refusals = Refusals::default();
            refusals.reads(&format!(
                "[thrd:a:1/{broker}]: a:1/{broker}: Disconnected (after 0ms in state APIVERSION_QUERY)"
            ));
            assert!(refusals.refusal().is_none());
            refusals.hinted.load(Ordering::Relaxed)
        };
        assert!(hinted("bootstrap") && !hinted("1"));
        assert_eq!(bare(&"é".repeat(400)).chars().count(), 300);
    }
}
