//! Two traps of arrow-avro, measured on arrow-avro itself. Our code is built around them: when an upgrade closes
//! one, these fail, and the code that avoids it can go.

use crate::world::{example, message};
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::DataType;
use tally_schemas::{Topic, latest};

fn decoder(configure: impl FnOnce(ReaderBuilder) -> ReaderBuilder) -> Decoder {
    let contract = latest(Topic::Task);
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Rabin);
    store
        .set(Fingerprint::Rabin(contract.fingerprint), AvroSchema::new(contract.json.clone()))
        .expect("a schema");
    let builder = ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(16);
    configure(builder).build_decoder().expect("a decoder")
}

/// Scenario: a truncated message reaches the decoder, then a whole one.
/// Guarantees (arrow-avro's, as of 59): the truncated one is no error, only fewer bytes taken than given; half its
/// row stays, so that the flush of the good message fails. Hence the walk before it, and a new decoder after it.
#[test]
fn a_truncated_message_is_no_error_and_spoils_the_next() {
    let whole = message(Topic::Task, &example(Topic::Task, "SUBMITTED"));
    let mut decoder = decoder(|builder| builder);
    assert_eq!(decoder.decode(&whole).expect("a whole message"), whole.len());
    assert_eq!(decoder.flush().expect("a batch").expect("rows").num_rows(), 1);
    let cut = &whole[..whole.len() - 40];
    let taken = decoder.decode(cut).expect("no error");
    assert!(taken < cut.len(), "{taken} of {} bytes", cut.len());
    let next = decoder.decode(&whole);
    assert!(next.is_err() || decoder.flush().is_err(), "the good message after a truncated one is decoded");
}

/// Scenario: timestamps with and without the option that we set.
/// Guarantees (arrow-avro's, as of 59): `Tz::Utc` is "UTC", which ClickHouse loads; the default is "+00:00", which
/// it does not.
#[test]
fn the_default_time_zone_is_an_offset() {
    let zone = |mut decoder: Decoder| {
        decoder.decode(&message(Topic::Task, &example(Topic::Task, "SUBMITTED"))).expect("a message");
        let batch = decoder.flush().expect("a batch").expect("rows");
        match batch.column_by_name("occurred_at").expect("a column").data_type() {
            DataType::Timestamp(_, Some(zone)) => zone.to_string(),
            other => panic!("{other}"),
        }
    };
    assert_eq!(zone(decoder(|builder| builder.with_tz(Tz::Utc))), "UTC");
    assert_eq!(zone(decoder(|builder| builder)), "+00:00");
}
