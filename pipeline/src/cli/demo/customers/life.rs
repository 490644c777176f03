//! One task of one customer, from its credits to its bill, as a scheduler that uses the SDK has it.

use super::{Published, taken};
use anyhow::Context;
use std::net::SocketAddr;
use std::time::Duration;
use tally_pipeline::client::events::{
    ActorRole, Author, CreditEvent, CreditKind, Event, PolicyTag, Subject, TaskEvent, TaskKind,
};
use tally_pipeline::client::{
    About, CallError, ChargePurpose, ChargeRequest, EstimateRequest, GatewayClient, IdempotencyKey,
    LicenseCheckRequest, Publisher, Queue, RefundOf, RefundReason, RefundRequest,
};
use tally_pipeline::gateway::mock::{NewLicense, NewWallet};

/// Credits that a customer orders when it comes, micros, and their price in minor units of the currency.
const ORDER: (i64, i64) = (500_000_000, 39_900);
/// A customer asks so often before it gives up.
const ASKED_MAX: u32 = 10;
/// Between two steps of a task.
const STEP: Duration = Duration::from_millis(150);

/// Whose task it is.
pub(super) struct Customer {
    /// Apart from the customers of other runs in the same folder.
    pub(super) run: u64,
    pub(super) customer: u64,
    /// Of the task.
    pub(super) number: u64,
    pub(super) platform: SocketAddr,
}

impl Customer {
    fn id(&self, what: &str) -> String {
        format!("{what}-g{}-{}", self.run, self.customer)
    }

    fn about(&self) -> About {
        About {
            wallet_id: self.id("w"),
            policy_tag: PolicyTag::GeneralUse.symbol().to_owned(),
            task_id: Some(format!("t-g{}-{}", self.run, self.number)),
            user_id: Some(self.id("u")),
            creator_id: Some(format!("c-g{}", self.customer % 5)),
            license_id: Some(self.id("l")),
            template_id: Some(format!("tp-g{}", self.customer % 5)),
            ..About::default()
        }
    }

    fn key(&self, what: &str) -> anyhow::Result<IdempotencyKey> {
        Ok(IdempotencyKey::new(format!("g{}-{}-{what}", self.run, self.number))?)
    }

    /// Comes if it was not there, asks whether it may and what it costs, and has its task run and charged.
    pub(super) async fn live(
        &self,
        gateway: &GatewayClient,
        publisher: &Publisher,
        sent: &Published,
    ) -> anyhow::Result<()> {
        if self.number < super::CUSTOMERS {
            self.come(publisher, sent).await?;
        }
        let about = self.about();
        let queue = if self.number.is_multiple_of(4) { Queue::Accelerated } else { Queue::Normal };
        let check = LicenseCheckRequest { about: about.clone(), needed_micros: 1 };
        match gateway.check(&check).await {
            Err(CallError::Refused(_)) => return Ok(()), // it may not, and goes away
            other => other.context("a check of a licence")?,
        };
        let compute_units = 200 + self.number * 37 % 900;
        let estimate = EstimateRequest { about: about.clone(), queue, compute_units };
        let estimate = gateway.estimate(&estimate).await.context("an estimate")?;
        let (held, estimate_id) = (estimate.amount_micros, Some(estimate.estimate_id));
        let charge = |purpose, amount_micros| ChargeRequest {
            about: about.clone(),
            purpose,
            amount_micros,
            estimate_id: estimate_id.clone(),
            queue: Some(queue),
        };
        let hold = charge(ChargePurpose::Hold, held);
        if !until_known(gateway, &self.key("hold")?, Move::Charge(&hold)).await? {
            return Ok(()); // not enough credits: it goes away
        }
        let mut steps = Steps { about: &about, queue, version: 0, publisher, sent };
        for kind in [TaskKind::Submitted, TaskKind::Queued, TaskKind::Started] {
            steps.take(kind, None).await?;
        }
        for progress in [300, 700, 1_000] {
            tokio::time::sleep(STEP).await;
            steps.take(TaskKind::Progressed, Some(progress)).await?;
        }
        steps.take(TaskKind::Succeeded, None).await?;
        // what it cost lies within the hold: of the estimate 96 to 100 %
        let cost = held - held * i64::try_from(self.number % 5).unwrap_or(0) / 100;
        let bill = charge(ChargePurpose::Charge, cost);
        let paid = until_known(gateway, &self.key("charge")?, Move::Charge(&bill)).await?;
        anyhow::ensure!(paid, "a bill was refused");
        if cost < held {
            let rest = RefundRequest {
                about: about.clone(),
                of: RefundOf::Hold,
                amount_micros: held - cost,
                reason: RefundReason::Rollback,
            };
            let free = until_known(gateway, &self.key("rest")?, Move::Refund(&rest)).await?;
            anyhow::ensure!(free, "the rest of a hold was not let go");
        }
        Ok(())
    }

    /// Has a wallet and a licence, and buys credits.
    async fn come(&self, publisher: &Publisher, sent: &Published) -> anyhow::Result<()> {
        let (credits, price) = ORDER;
        let wallet = NewWallet { wallet_id: self.id("w"), balance_micros: credits, frozen: false };
        let license = NewLicense {
            license_id: self.id("l"),
            user_id: self.id("u"),
            template_id: None,
            quota_micros: credits,
            expires_at: "2090-01-01T00:00:00Z".to_owned(),
        };
        self.arrange("wallets", serde_json::json!([wallet])).await?;
        self.arrange("licenses", serde_json::json!([license])).await?;
        let author = Author::new("billing", self.id("u"), ActorRole::Buyer);
        let mut order =
            CreditEvent::new(CreditKind::Purchased, self.id("w"), credits, PolicyTag::Billing, &author);
        order.subject.user_id = Some(self.id("u"));
        (order.price_minor, order.currency) = (Some(price), Some("USD".to_owned()));
        order.order_id = Some(self.id("o"));
        publish(publisher, &order, sent).await
    }

    /// What the platform's other services would have done.
    async fn arrange(&self, what: &str, body: serde_json::Value) -> anyhow::Result<()> {
        let url = format!("http://{}/_mock/{what}", self.platform);
        let answer = reqwest::Client::new().post(url).json(&body).send().await?;
        anyhow::ensure!(
            answer.status().is_success(),
            "the mock platform refused {what}: {}",
            answer.status()
        );
        Ok(())
    }
}

/// What moves credits.
enum Move<'a> {
    Charge(&'a ChargeRequest),
    Refund(&'a RefundRequest),
}

/// Asks until there is an answer; `false` where it is refused. Each time under the same key: it is done once.
async fn until_known(gateway: &GatewayClient, key: &IdempotencyKey, ask: Move<'_>) -> anyhow::Result<bool> {
    let mut left = ASKED_MAX;
    loop {
        let answer = match ask {
            Move::Charge(charge) => gateway.charge(key, charge).await.map(|_| ()),
            Move::Refund(refund) => gateway.refund(key, refund).await.map(|_| ()),
        };
        match answer {
            Ok(()) => return Ok(true),
            Err(CallError::Refused(_)) => return Ok(false),
            Err(error) if left == 0 => return Err(error).context("a call has no answer"),
            Err(_) => left -= 1,
        }
    }
}

async fn publish<E: Event>(publisher: &Publisher, event: &E, sent: &Published) -> anyhow::Result<()> {
    let placed = publisher.publish(event).await.context("an event of a customer")?;
    sent.add(taken(E::TOPIC, (placed.partition, placed.offset), event.head().event_id()));
    Ok(())
}

/// The steps of a task, as its scheduler publishes them.
struct Steps<'a> {
    about: &'a About,
    queue: Queue,
    version: i64,
    publisher: &'a Publisher,
    sent: &'a Published,
}

impl Steps<'_> {
    async fn take(&mut self, kind: TaskKind, progress: Option<i32>) -> anyhow::Result<()> {
        self.version += 1;
        let author = Author::new("scheduler", "svc-scheduler", ActorRole::Service);
        let task = self.about.task_id.clone().unwrap_or_default();
        let mut event =
            TaskEvent::new(kind, task, (self.queue, self.version), PolicyTag::GeneralUse, &author);
        event.subject = Subject {
            task_id: self.about.task_id.clone(),
            wallet_id: Some(self.about.wallet_id.clone()),
            user_id: self.about.user_id.clone(),
            creator_id: self.about.creator_id.clone(),
            license_id: self.about.license_id.clone(),
            template_id: self.about.template_id.clone(),
            case_id: None,
        };
        event.progress_permille = progress;
        publish(self.publisher, &event, self.sent).await
    }
}
