use super::{Encoder, frame_confluent, frame_single_object};
use crate::contract::{Contract, Topic, contracts, latest, versions};
use crate::examples;
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

fn example(topic: Topic, kind: &str) -> Json {
    let (_, event) = examples::valid(topic).into_iter().find(|(name, _)| name == kind).expect("an example");
    event
}

/// Decodes with apache-avro alone, so that the expected side does not come from this crate.
fn decode(contract: &Contract, mut body: &[u8]) -> Vec<(String, Value)> {
    let reader = GenericDatumReader::builder(&contract.schema).build().expect("a reader");
    let Value::Record(fields) = reader.read_value(&mut body).expect("an event") else { panic!("a record") };
    assert!(body.is_empty(), "{} bytes left", body.len());
    fields
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

/// Scenario: a service publishes a purchase and leaves out what does not apply.
/// Guarantees: apache-avro reads the values that were given, null for the absent nullable and the Avro default for
/// the absent audience.
#[test]
fn absent_fields_take_their_default() {
    let mut event = example(Topic::Credit, "PURCHASED");
    event.as_object_mut().expect("an object").remove("audience");
    let contract = latest(Topic::Credit);
    let body = Encoder::new(contract).expect("a plan").encode(&event).expect("a body");
    let fields = decode(contract, &body);
    let field = |name: &str| &fields.iter().find(|(n, _)| n == name).expect("a field").1;
    assert_eq!(field("amount_micros"), &Value::Long(100_000_000));
    assert_eq!(field("currency"), &some(Value::String("EUR".to_owned())));
    assert_eq!(field("gift"), &some(Value::Boolean(false)));
    assert_eq!(field("task_id"), &Value::Union(0, Box::new(Value::Null)));
    assert_eq!(field("audience"), &Value::Enum(0, "CUSTOMER".to_owned()));
    // 2025-03-02T09:15:04.120Z by `date -u +%s`.
    assert_eq!(field("occurred_at"), &Value::TimestampMicros(1_740_906_904_120_000));
}

/// Scenario: one field of a good event is given in another way, or wrongly.
/// Guarantees: the error names the field and says what was expected; no error repeats a value.
#[test]
fn a_wrong_field_is_named_and_explained() {
    let cases = [
        (
            "queue",
            json!("ACCELERATD"),
            "unknown symbol; did you mean ACCELERATED? expected one of NORMAL, ACCELERATED",
        ),
        (
            "queue",
            json!("normal"),
            "unknown symbol; did you mean NORMAL? expected one of NORMAL, ACCELERATED",
        ),
        ("queue", json!("zzz"), "unknown symbol; expected one of NORMAL, ACCELERATED"),
        ("queue", json!(1), "expected one of NORMAL, ACCELERATED, got a whole number"),
        ("task_id", json!(17), "expected text, got a whole number"),
        ("task_id", json!(null), "expected text, got null"),
        ("user_id", json!(["x"]), "expected text, got an array"),
        ("event_id", json!("not-a-uuid"), "not a UUID; expected a UUID such as"),
        ("state_version", json!(1.0), "got a fractional or huge number; expected a whole number of 64 bits"),
        (
            "state_version",
            json!(9_223_372_036_854_775_808_u64),
            "out of range; expected a whole number of 64 bits",
        ),
        ("state_version", json!("9223372036854775808"), "out of range; expected a whole number of 64 bits"),
        ("state_version", json!("1.5"), "got text that is no whole number; expected"),
        ("state_version", json!("+1"), "got text that is no whole number; expected"),
        ("state_version", json!(""), "got text that is no whole number; expected"),
        (
            "progress_permille",
            json!(2_147_483_648_i64),
            "out of range; expected a whole number from -2147483648",
        ),
        (
            "occurred_at",
            json!("2025-13-01T00:00:00Z"),
            "not a time; expected microseconds since 1970 UTC or RFC 3339",
        ),
        (
            "occurred_at",
            json!("2025-03-02T09:15:04.1234567Z"),
            "finer than microseconds; send at most six decimals",
        ),
        ("occurred_at", json!("2025-03-02T09:15:04.1234560001Z"), "finer than microseconds"),
        ("occurred_at", json!("2016-12-31T23:59:60Z"), "a leap second has no number of its own"),
        (
            "occurred_at",
            json!("yesterday"),
            "got text that is no whole number; expected microseconds since 1970",
        ),
        ("task_Id", json!("t"), "no such field in task-events version 2; did you mean task_id?"),
        ("zzz", json!(null), "no such field in task-events version 2"),
    ];
    let encoder = Encoder::new(latest(Topic::Task)).expect("a plan");
    for (path, value, problem) in cases {
        let mut event = example(Topic::Task, "PROGRESSED");
        event[path] = value.clone();
        let refused = encoder.encode(&event).expect_err(path);
        assert_eq!(refused.path, path, "{value}");
        assert!(refused.problem.starts_with(problem), "{path} {value}: {}", refused.problem);
    }
    for required in ["event_id", "task_id", "policy_tag", "kind", "state_version"] {
        let mut event = example(Topic::Task, "PROGRESSED");
        event.as_object_mut().expect("an object").remove(required);
        let refused = encoder.encode(&event).expect_err(required);
        assert_eq!(refused.path, required);
        assert!(refused.problem.starts_with("missing; expected "), "{}", refused.problem);
    }
    assert_eq!(
        encoder.encode(&json!([])).expect_err("no object").to_string(),
        "expected a JSON object, got an array"
    );
}

/// Scenario: a publisher of version 1 sends a field that came with version 2, or one with a very long name.
/// Guarantees: the error says which version has it; names are quoted in part only.
#[test]
fn an_unknown_field_is_looked_for_elsewhere() {
    let old = versions(Topic::Task).next().expect("version 1");
    let refused =
        Encoder::new(old).expect("a plan").encode(&example(Topic::Task, "QUEUED")).expect_err("audience");
    assert_eq!(refused.to_string(), "audience: no such field in task-events version 1; version 2 has it");
    let long = "é".repeat(100_000);
    let refused = Encoder::new(old).expect("a plan").encode(&json!({ long: 1 })).expect_err("unknown");
    assert_eq!(refused.path, format!("{}…", "é".repeat(64)));
}

/// Scenario: languages write integers and times in different ways.
/// Guarantees: equal instants and numbers give equal bytes.
#[test]
fn equal_values_in_other_clothes_are_equal_bytes() {
    let encoder = Encoder::new(latest(Topic::Task)).expect("a plan");
    let body = |field: &str, value: Json| {
        let mut event = example(Topic::Task, "PROGRESSED");
        event[field] = value;
        encoder.encode(&event).unwrap_or_else(|e| panic!("{e}"))
    };
    let same = |field: &str, values: &[Json]| {
        for value in values {
            assert_eq!(body(field, value.clone()), body(field, values[0].clone()), "{field} {value}");
        }
    };
    same("state_version", &[json!(-9_007_199_254_740_993_i64), json!("-9007199254740993")]);
    same("progress_permille", &[json!(350), json!("350")]);
    same(
        "occurred_at",
        &[
            json!(1_740_906_904_120_500_i64),
            json!("1740906904120500"),
            json!("2025-03-02T09:15:04.1205Z"),
            json!("2025-03-02T10:15:04.120500000+01:00"),
        ],
    );
    same(
        "event_id",
        &[json!("019cadde-226c-77ad-9cb8-00614a10269b"), json!("019CADDE226C77AD9CB800614A10269B")],
    );
}

/// Scenario: the two framings.
/// Guarantees: their bytes are what the Avro and Confluent specifications say.
#[test]
fn frames() {
    let contract = latest(Topic::License);
    let framed = frame_single_object(contract, &[7]);
    assert_eq!(framed[..2], [0xC3, 0x01]);
    assert_eq!(framed[2..10], contract.fingerprint.to_le_bytes());
    assert_eq!(framed[10..], [7]);
    assert_eq!(frame_confluent(0x0102_0304, &[7]), [0, 1, 2, 3, 4, 7]);
}

/// A JSON value of a field, and what apache-avro must read for it.
fn field_value(schema: &Schema) -> BoxedStrategy<(Json, Value)> {
    match schema {
        Schema::Boolean => any::<bool>().prop_map(|b| (json!(b), Value::Boolean(b))).boxed(),
        Schema::Int => any::<i32>().prop_map(|i| (json!(i), Value::Int(i))).boxed(),
        Schema::Long => any::<i64>().prop_map(|i| (json!(i.to_string()), Value::Long(i))).boxed(),
        Schema::String => any::<String>().prop_map(|s| (json!(s), Value::String(s))).boxed(),
        Schema::TimestampMicros => any::<i64>().prop_map(|i| (json!(i), Value::TimestampMicros(i))).boxed(),
        Schema::Uuid(_) => any::<u128>()
            .prop_map(uuid::Uuid::from_u128)
            .prop_map(|id| (json!(id.to_string()), Value::Uuid(id)))
            .boxed(),
        Schema::Enum(symbols) => {
            let symbols = symbols.symbols.clone();
            (0..symbols.len())
                .prop_map(move |at| {
                    (json!(symbols[at]), Value::Enum(u32::try_from(at).expect("small"), symbols[at].clone()))
                })
                .boxed()
        }
        Schema::Union(union) => {
            let null = Just((Json::Null, Value::Union(0, Box::new(Value::Null))));
            let inner = field_value(&union.variants()[1]).prop_map(|(json, value)| (json, some(value)));
            prop_oneof![null, inner].boxed()
        }
        other => panic!("no contract uses {other}"),
    }
}

fn event() -> impl Strategy<Value = (usize, Vec<(String, Json, Value)>)> {
    (0..contracts().len()).prop_flat_map(|at| {
        let Schema::Record(record) = &contracts()[at].schema else { panic!("a record") };
        let field = |field: &apache_avro::schema::RecordField| {
            (Just(field.name.clone()), field_value(&field.schema))
                .prop_map(|(name, (json, value))| (name, json, value))
        };
        (Just(at), record.fields.iter().map(field).collect::<Vec<_>>())
    })
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        "[0-9:.TZ+-]{0,32}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Scenario: any event of any contract.
    /// Guarantees: apache-avro reads from the bytes exactly what was given.
    #[test]
    fn what_is_encoded_is_what_is_read((at, fields) in event()) {
        let contract = &contracts()[at];
        let given: Map<String, Json> = fields.iter().map(|(name, json, _)| (name.clone(), json.clone())).collect();
        let body = Encoder::new(contract).expect("a plan").encode(&given.into()).expect("a body");
        let expected: Vec<(String, Value)> = fields.into_iter().map(|(name, _, value)| (name, value)).collect();
        prop_assert_eq!(decode(contract, &body), expected);
    }

    /// Scenario: arbitrary JSON, alone and in the place of each field.
    /// Guarantees: bytes or an error, never a panic.
    #[test]
    fn arbitrary_json_never_panics(json in any_json(), place in 0_usize..64) {
        for contract in contracts() {
            let encoder = Encoder::new(contract).expect("a plan");
            let _ = encoder.encode(&json);
            let (_, mut event) = examples::valid(contract.topic).swap_remove(0);
            let object = event.as_object_mut().expect("an object");
            if let Some(value) = object.values_mut().nth(place) {
                *value = json.clone();
            }
            let _ = encoder.encode(&event);
        }
    }
}

/// Scenario: the simulated platform publishes without a pause.
/// Guarantees: nothing in `cargo test` (timing belongs to a release build): run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "measures; run in a release build"]
fn encoding_rate() {
    let encoder = Encoder::new(latest(Topic::Credit)).expect("a plan");
    let event = example(Topic::Credit, "CHARGED");
    let start = std::time::Instant::now();
    let bytes: usize = (0..200_000).map(|_| encoder.encode(&event).expect("a body").len()).sum();
    let rate = 200_000.0 / start.elapsed().as_secs_f64();
    assert!(bytes > 0 && rate > 50_000.0, "{rate:.0} events/s");
}
