-- The balance of one topic's identity: what the ledger says, held against the facts and the dead letters.
SELECT
    countIf(disposition = 'ACCEPTED') AS accepted,
    countIf(disposition = 'DEAD') AS dead,
    accepted - uniqExactIf((source, event_id, digest), disposition = 'ACCEPTED') AS duplicates,
    uniqExactIf((source, event_id, digest), disposition = 'ACCEPTED')
        - uniqExactIf((source, event_id), disposition = 'ACCEPTED') AS conflicts,
    countIf(disposition = 'ACCEPTED' AND (source, event_id, digest) NOT IN
        (SELECT source, event_id, digest FROM {facts:Identifier})) AS accepted_without_fact,
    countIf(disposition = 'DEAD' AND (partition, offset) NOT IN
        (SELECT partition, offset FROM dead_letters WHERE topic_id = {topic_id:UUID})) AS dead_without_letter,
    countIf(disposition = 'ACCEPTED' AND (partition, offset) IN
        (SELECT partition, offset FROM dead_letters WHERE topic_id = {topic_id:UUID}))
        + countIf(disposition = 'DEAD' AND (partition, offset) IN
        (SELECT partition, offset FROM {facts:Identifier} FINAL WHERE topic_id = {topic_id:UUID})) AS both,
    (SELECT count() FROM {facts:Identifier} FINAL WHERE topic_id = {topic_id:UUID} AND (source, event_id, digest) NOT IN
        (SELECT source, event_id, digest FROM audit_log WHERE disposition = 'ACCEPTED')) AS facts_without_receipt,
    (SELECT count() FROM dead_letters FINAL WHERE topic_id = {topic_id:UUID} AND (partition, offset) NOT IN
        (SELECT partition, offset FROM audit_log WHERE topic_id = {topic_id:UUID} AND disposition = 'DEAD')) AS letters_without_receipt
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID}
