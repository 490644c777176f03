//! Kafka as a witness of what was sealed.

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use std::ops::Range;
use tally_pipeline::{Partition, Source};
use tally_queries::seal::{Bytes, Lane, Witness, WitnessError};

/// The brokers, and what they still have.
pub(super) struct Broker(pub(super) Source);

fn partition(lane: &Lane) -> Partition {
    Partition { topic: lane.topic.clone(), number: lane.partition }
}

#[async_trait]
impl Witness for Broker {
    async fn retained(&self, lane: &Lane) -> Result<Option<Range<i64>>, WitnessError> {
        Ok(self.0.retained(&partition(lane), lane.topic_id).await?)
    }

    fn read(&self, lane: &Lane, offsets: Range<i64>) -> BoxStream<'static, Result<Bytes, WitnessError>> {
        let batches = self.0.digests(partition(lane), lane.topic_id, offsets);
        let batches = stream::unfold(batches, |mut batches| async {
            let batch = batches.recv().await?;
            Some((batch, batches))
        });
        let bytes = |batch: tally_pipeline::Digests| Bytes { next: batch.next, records: batch.records };
        batches.map(move |batch| Ok(batch.map(bytes)?)).boxed()
    }

    async fn compacts(&self, lane: &Lane) -> Result<bool, WitnessError> {
        Ok(self.0.compacts(&lane.topic).await?)
    }
}
