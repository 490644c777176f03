//! The client of Rust services, against a gateway and a platform that fail, and against Kafka.

use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tally_pipeline::client::events::{
    ActorRole, Author, CreditEvent, CreditKind, LicenseEvent, LicenseKind, ModerationEvent, ModerationKind,
    Moment, PolicyTag, RiskLevel, TaskEvent, TaskKind,
};
use tally_pipeline::client::{
    About, BoxError, CallError, ChargePurpose, ChargeRequest, ClientError, Code, EstimateRequest,
    GatewayClient, IdempotencyKey, Kafka, LicenseCheckRequest, Patience, PublishError, Publisher,
    PublisherConfig, Queue, RefundOf, RefundReason, RefundRequest, SecretString, Trouble, Want,
};
use tally_pipeline::gateway::mock::{Faults, Script};
use tally_schemas::Topic;
use tally_tests::gateway::{Gateway, SCOPES};
use tally_tests::{Certificates, MockPlatform, Stage, TlsProxy, stage};

const SETTLED: Duration = Duration::from_secs(60);
/// Credits in a wallet at first, micros.
const CREDITS: i64 = 1_000_000;

fn about(wallet: &str) -> About {
    let some = |text: &str| Some(text.to_owned());
    About {
        wallet_id: wallet.to_owned(),
        policy_tag: PolicyTag::GeneralUse.symbol().to_owned(),
        task_id: Some(format!("{wallet}-task")),
        user_id: some("u-1"),
        license_id: some("l-1"),
        ..About::default()
    }
}

fn charge(wallet: &str, purpose: ChargePurpose, amount_micros: i64) -> ChargeRequest {
    ChargeRequest { about: about(wallet), purpose, amount_micros, estimate_id: None, queue: None }
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).expect("a key")
}

/// A client whose token is always that one.
fn client(gateway: &Gateway, patience: Patience) -> GatewayClient {
    let token = gateway.token("scheduler", SCOPES);
    let tokens = move |_: Want| {
        let token = token.clone();
        async move { Ok::<_, BoxError>(SecretString::from(token)) }
    };
    GatewayClient::new(gateway.url.parse().expect("an address"), tokens, patience).expect("a client")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

fn all(faults: Faults) -> Script {
    Script { all: faults, ..Script::default() }
}

/// Scenario: a service estimates, checks a licence, holds, charges and gives back; asks for more than there is, for a licence that
/// has expired, and for what the contract does not allow; asks once more under a key with another amount.
/// Guarantees: answers are typed, refusals bear their code, what cannot be right is not sent, and credits moved once a key.
#[test]
fn answers_and_refusals_are_typed() {
    let stage = Stage::shared("client-calls");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &[]);
    platform.grant("w-1", CREDITS);
    let license = |id: &str, expires: &str| json!({"license_id": id, "user_id": "u-1", "quota_micros": 9_000, "expires_at": expires});
    platform.prepare(
        "licenses",
        &json!([license("l-1", "2090-01-01T00:00:00Z"), license("l-2", "2020-01-01T00:00:00Z")]),
    );
    let client = client(&gateway, Patience::default())
        .traced("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    runtime().block_on(async {
        let ask = EstimateRequest { about: about("w-1"), queue: Queue::Accelerated, compute_units: 7 };
        let estimate = client.estimate(&ask).await.expect("an estimate");
        assert_eq!((estimate.queue, estimate.wallet_id.as_str()), (Queue::Accelerated, "w-1"));
        let check = LicenseCheckRequest { about: about("w-1"), needed_micros: 1 };
        assert_eq!(client.check(&check).await.expect("a licence").quota_remaining_micros, 9_000);
        let held = client.charge(&key("h"), &charge("w-1", ChargePurpose::Hold, 500)).await.expect("a hold");
        assert_eq!((held.held_micros, held.balance_after_micros), (500, CREDITS));
        let mut take = charge("w-1", ChargePurpose::Charge, 400);
        take.estimate_id = Some(estimate.estimate_id);
        let taken = client.charge(&key("c"), &take).await.expect("a charge");
        assert_eq!((taken.amount_micros, taken.balance_after_micros), (400, CREDITS - 400));
        assert_eq!(client.charge(&key("c"), &take).await.expect("the same again"), taken);
        let back = RefundRequest {
            about: about("w-1"),
            of: RefundOf::Hold,
            amount_micros: 100,
            reason: RefundReason::Rollback,
        };
        assert_eq!(client.refund(&key("r"), &back).await.expect("a refund").held_micros, 0);
        let code = |error: CallError| match error {
            CallError::Refused(problem) => problem.code,
            other => panic!("{other:?}"),
        };
        take.amount_micros = 401;
        assert_eq!(
            code(client.charge(&key("c"), &take).await.expect_err("another body")),
            Code::IdempotencyConflict
        );
        let much = charge("w-1", ChargePurpose::Charge, 2 * CREDITS);
        assert_eq!(
            code(client.charge(&key("m"), &much).await.expect_err("too much")),
            Code::InsufficientBalance
        );
        let mut expired = check.clone();
        expired.about.license_id = Some("l-2".to_owned());
        assert_eq!(code(client.check(&expired).await.expect_err("expired")), Code::LicenseExpired);
        let mut without_task = much;
        without_task.about.task_id = None;
        match client.charge(&key("t"), &without_task).await.expect_err("no task") {
            CallError::Refused(problem) => {
                assert_eq!(problem.code, Code::InvalidRequest);
                assert!(problem.detail.is_some_and(|detail| detail.contains("about.task_id")));
            }
            other => panic!("{other:?}"),
        }
    });
    let statement = platform.statement();
    assert!(statement.receipts.iter().all(|receipt| receipt.key != "scheduler:t"), "it was not sent");
    let moved: Vec<i64> = statement.movements.iter().map(|movement| movement.amount_micros).collect();
    assert_eq!(moved, [CREDITS, 500, 400, 100], "the grant, and each key once");
}

/// Scenario: the platform does what it is asked and never answers, longer than the client's patience; then it answers again. The same
/// with an estimate.
/// Guarantees: of the charge nobody says that it failed: its key comes back, and under it the first answer; the estimate was not had.
#[test]
fn what_may_have_been_done_is_asked_for_under_its_key() {
    let stage = Stage::shared("client-unknown");
    let platform = MockPlatform::start(&[]);
    let short = ["--attempt-ms-max", "200", "--call-ms-max", "500", "--follow-up-ms", "100"];
    let gateway = Gateway::start(&stage, &platform, &short);
    platform.grant("w-1", CREDITS);
    let patience = Patience { call: Duration::from_secs(3), ..Patience::default() };
    let client = client(&gateway, patience);
    platform.play(&all(Faults { hang_after: 1_000, ..Faults::default() }));
    let body = charge("w-1", ChargePurpose::Charge, 5);
    runtime().block_on(async {
        let began = Instant::now();
        let known = match client.charge(&IdempotencyKey::fresh(), &body).await.expect_err("no answer") {
            CallError::Unknown { key, last: Trouble::Problem(problem) } => {
                let codes = [Code::UpstreamTimeout, Code::CircuitOpen];
                assert!(codes.contains(&problem.code), "{problem:?}");
                key
            }
            // its patience may end within an attempt
            CallError::Unknown { key, last: Trouble::Late } => key,
            other => panic!("{other:?}"),
        };
        assert!(began.elapsed() < Duration::from_secs(10), "its patience ends: {:?}", began.elapsed());
        let ask = EstimateRequest { about: about("w-1"), queue: Queue::Normal, compute_units: 7 };
        let nothing = client.estimate(&ask).await.expect_err("no answer");
        assert!(matches!(nothing, CallError::Unreachable { .. }), "{nothing:?}");
        platform.play(&Script::default());
        let patient = GatewayClient::clone(&client);
        let mut answered = patient.charge(&known, &body).await;
        while let Err(CallError::Unknown { key, .. }) = &answered {
            assert_eq!(*key, known);
            answered = patient.charge(&known, &body).await;
        }
        assert_eq!(answered.expect("the first answer").amount_micros, 5);
    });
    gateway.settled(SETTLED);
    let moved: Vec<i64> =
        platform.statement().movements.iter().map(|movement| movement.amount_micros).collect();
    assert_eq!(moved, [CREDITS, 5], "the grant, and the charge once");
}

/// Scenario: forty charges are under way from eight tasks, over a platform that answers badly, while the gateway is killed three times;
/// then the gateway is away for good.
/// Guarantees: in the end each is answered, each key moved credits once; a gateway that is not there is told from an unknown outcome.
#[test]
fn a_gateway_that_is_killed_costs_no_charge_and_doubles_none() {
    let stage = Stage::shared("client-killed");
    let platform = MockPlatform::start(&[]);
    let mut gateway = Gateway::start(&stage, &platform, &["--attempt-ms-max", "300"]);
    platform.grant("w-1", CREDITS);
    let faults =
        Faults { latency_max_ms: 60, error_after: 100, reset_after: 100, error: 100, ..Faults::default() };
    platform.play(&all(faults));
    let patience = Patience {
        attempt: Duration::from_secs(4),
        call: Duration::from_secs(60),
        attempts_max: 1_000,
        ..Patience::default()
    };
    let calls = client(&gateway, patience);
    let runtime = runtime();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let calls = calls.clone();
            runtime.spawn(async move {
                for number in 0..5 {
                    let key = key(&format!("k-{task}-{number}"));
                    let body = charge("w-1", ChargePurpose::Charge, 1 + task);
                    let taken = calls.charge(&key, &body).await.unwrap_or_else(|error| panic!("{error:?}"));
                    assert_eq!(taken.amount_micros, 1 + task);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(150));
        gateway.kill_and_restart();
    }
    for task in tasks {
        runtime.block_on(task).expect("every charge is answered");
    }
    gateway.settled(SETTLED);
    let statement = platform.statement();
    let keys: Vec<&String> =
        statement.movements.iter().filter_map(|movement| movement.key.as_ref()).collect();
    let once: std::collections::BTreeSet<&&String> = keys.iter().collect();
    assert_eq!((keys.len(), once.len()), (40, 40), "{keys:?}");
    let expected: i64 = (1..=8).map(|amount| 5 * amount).sum();
    assert_eq!(statement.wallets["w-1"].balance_micros, CREDITS - expected);
    gateway.tally.sigkill();
    let brief = client(&gateway, Patience { call: Duration::from_secs(1), ..Patience::default() });
    let gone = runtime.block_on(brief.charge(&key("gone"), &charge("w-1", ChargePurpose::Charge, 1)));
    let last = match gone.expect_err("nobody is there") {
        CallError::Unreachable { last } => last,
        other => panic!("{other:?}"),
    };
    assert!(matches!(last, Trouble::NoConnection(_)), "{last:?}");
}

/// Scenario: a token that is refused and one that is renewed; one that stays bad; an issuer that is away; a gateway that is busy and
/// says when to come back.
/// Guarantees: a refused token is renewed once and the call goes through; a bad one is a refusal; without a token nothing is sent; the
/// client waits as long as it is told to.
#[test]
fn tokens_are_renewed_and_the_gateway_is_waited_for() {
    let stage = Stage::shared("client-door");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &["--calls-at-once-max", "1"]);
    platform.grant("w-1", CREDITS);
    let runtime = runtime();
    let good = gateway.token("scheduler", SCOPES);
    let url = || gateway.url.parse().expect("an address");
    let ask = || EstimateRequest { about: about("w-1"), queue: Queue::Normal, compute_units: 7 };
    let renewals = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&renewals);
    let tokens = move |want: Want| {
        let token = match want {
            Want::Renewed => {
                counted.fetch_add(1, Ordering::SeqCst);
                good.clone()
            }
            Want::Current if counted.load(Ordering::SeqCst) > 0 => good.clone(),
            Want::Current => "stale".to_owned(),
        };
        async move { Ok::<_, BoxError>(SecretString::from(token)) }
    };
    let renewing = GatewayClient::new(url(), tokens, Patience::default()).expect("a client");
    for _ in 0..2 {
        runtime.block_on(renewing.estimate(&ask())).expect("an answer");
    }
    assert_eq!(renewals.load(Ordering::SeqCst), 1);
    let bad = |_: Want| async { Ok::<_, BoxError>(SecretString::from("bad")) };
    let refused = runtime
        .block_on(GatewayClient::new(url(), bad, Patience::default()).expect("a client").estimate(&ask()));
    match refused.expect_err("a bad token") {
        CallError::Refused(problem) => assert_eq!(problem.code, Code::TokenInvalid),
        other => panic!("{other:?}"),
    }
    let away = |_: Want| async { Err::<SecretString, BoxError>("the issuer is away".into()) };
    let brief = Patience { call: Duration::from_millis(500), ..Patience::default() };
    let away = GatewayClient::new(url(), away, brief).expect("a client");
    let nothing = runtime.block_on(away.charge(&key("a"), &charge("w-1", ChargePurpose::Charge, 1)));
    let nothing = nothing.expect_err("no token");
    assert!(matches!(nothing, CallError::Unreachable { last: Trouble::NoToken(_) }), "{nothing:?}");
    platform.play(&all(Faults { latency_min_ms: 700, latency_max_ms: 700, ..Faults::default() }));
    let calls = client(&gateway, Patience::default());
    let pair = runtime.block_on(async {
        let began = Instant::now();
        let (one, other) = (charge("w-1", ChargePurpose::Charge, 1), charge("w-1", ChargePurpose::Charge, 2));
        let (first, second) = (key("first"), key("second"));
        let both = tokio::join!(calls.charge(&first, &one), calls.charge(&second, &other));
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
        began.elapsed()
    });
    assert!(pair >= Duration::from_millis(1_700), "the second waited a second, as it was told: {pair:?}");
}

/// Scenario: events of every topic are published, one of them twice; one lacks what its kind needs, one has an amount out of bounds,
/// one is from next week.
/// Guarantees: each stands where its publisher was told, and is one fact; what is not right is not sent, and its field is named.
#[test]
fn published_events_become_facts() {
    let stage = Stage::shared("client-events");
    let kafka = Kafka { topic_prefix: stage.prefix().to_owned(), ..Kafka::at(stage.kafka.bootstrap()) };
    let config = PublisherConfig { kafka, ..PublisherConfig::at("") };
    let publisher = Publisher::new(config).expect("a publisher");
    let author = Author::new("sdk-test", "service-test", ActorRole::Service);
    let tag = PolicyTag::Billing;
    let mut refunded = CreditEvent::new(CreditKind::Refunded, "w-1", 7, tag, &author);
    let mut granted = LicenseEvent::new(LicenseKind::Granted, "l-1", tag, &author);
    (granted.grantee_id, granted.quota_remaining_micros) = (Some("u-1".to_owned()), Some(5));
    let task = TaskEvent::new(TaskKind::Started, "t-1", (Queue::Accelerated, 3), tag, &author);
    let case = ModerationEvent::new(ModerationKind::Reported, "c-1", RiskLevel::High, tag, &author);
    let placed = runtime().block_on(async {
        let field = |error: PublishError| match error {
            PublishError::Refused { field, .. } => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(publisher.publish(&refunded).await.expect_err("no reason")), "refund_reason");
        refunded.refund_reason = Some(RefundReason::Goodwill);
        let mut broken = refunded.clone();
        broken.amount_micros = -1;
        assert_eq!(field(publisher.publish(&broken).await.expect_err("below 0")), "amount_micros");
        broken = refunded.clone();
        broken.subject.wallet_id = None;
        assert_eq!(field(publisher.publish(&broken).await.expect_err("no key")), "wallet_id");
        let next_week = Moment::of_micros(Moment::now().micros() + 7 * 86_400_000_000);
        let early = refunded.clone().happened_at(next_week);
        assert_eq!(field(publisher.publish(&early).await.expect_err("too early")), "occurred_at");
        let first = publisher.publish(&refunded).await.expect("published");
        let again = publisher.publish(&refunded).await.expect("published again");
        assert!(first.partition == again.partition && first.offset < again.offset, "{first:?} {again:?}");
        publisher.publish(&granted).await.expect("published");
        publisher.publish(&case).await.expect("published");
        publisher.publish(&task).await.expect("published")
    });
    let balance = stage.catch_up(&[]);
    let credit = stage::line(&balance, Topic::Credit);
    assert_eq!(
        (credit.published, credit.accepted, credit.duplicates, credit.dead),
        (2, 2, 1, 0),
        "{}",
        stage.reasons()
    );
    for topic in Topic::ALL {
        let facts = format!("SELECT count() FROM {}_final WHERE source = 'sdk-test'", topic.table());
        assert_eq!(stage.number(&facts), 1, "{topic}");
    }
    let sql = format!(
        "SELECT count() FROM task_events_final WHERE event_id = '{}' AND task_id = 't-1' AND kind = 'STARTED' \
         AND queue = 'ACCELERATED' AND state_version = 3 AND partition = {} AND offset = {}",
        task.event_id(),
        placed.partition,
        placed.offset
    );
    assert_eq!(stage.number(&sql), 1);
}

/// Scenario: the gateway stands behind TLS with a certificate of an authority of its own; clients know that authority, another one, none,
/// name a file that is none, and an address without TLS.
/// Guarantees: only the first is answered; one that does not believe the certificate has sent nothing; what is wrong with a file or an
/// address is said before anything is sent.
#[test]
fn an_authority_of_ones_own_vouches_for_the_gateway() {
    let stage = Stage::shared("client-tls");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &[]);
    platform.grant("w-1", CREDITS);
    let (ours, strangers) = (Certificates::new(), Certificates::new());
    let proxy = TlsProxy::before(gateway.url.trim_start_matches("http://"), &ours);
    let token = gateway.token("scheduler", SCOPES);
    let tokens = || {
        let token = token.clone();
        move |_: Want| {
            let token = token.clone();
            async move { Ok::<_, BoxError>(SecretString::from(token)) }
        }
    };
    let url = |text: &str| text.parse().expect("an address");
    let brief = Patience { call: Duration::from_secs(3), ..Patience::default() };
    let trusting = |ca: &std::path::Path, at: &str| GatewayClient::trusting(ca, url(at), tokens(), brief);
    let ask = EstimateRequest { about: about("w-1"), queue: Queue::Normal, compute_units: 2 };
    let runtime = runtime();
    let answered = |client: GatewayClient| runtime.block_on(client.estimate(&ask));
    let known = trusting(&ours.ca(), &proxy.url()).expect("a client");
    assert_eq!(answered(known).expect("an estimate").wallet_id, "w-1");
    let received = platform.statement().receipts.len();
    let of_strangers = trusting(&strangers.ca(), &proxy.url()).expect("a client");
    let of_none = GatewayClient::new(url(&proxy.url()), tokens(), brief).expect("a client");
    for client in [of_strangers, of_none] {
        assert!(matches!(answered(client), Err(CallError::Unreachable { .. })));
    }
    assert_eq!(platform.statement().receipts.len(), received);
    let no_file = trusting(std::path::Path::new("no-such-file.pem"), &proxy.url());
    assert!(matches!(no_file, Err(ClientError::Authorities { .. })));
    assert!(matches!(trusting(&ours.ca(), &gateway.url), Err(ClientError::AuthoritiesWithoutTls)));
}
