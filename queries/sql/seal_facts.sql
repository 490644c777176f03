-- Contents whose accepted receipts and facts do not belong together. A fact carries the coordinates of its earliest
-- receipt: by append time, then by the low 22 bits of the offset, as `rank` has them. One group is one content.
-- Nearly every digest has one receipt and one fact, equal in all that is compared: their xor is 0. These are passed over first,
-- which is cheap; only the digests that are left are looked at whole. Names are hashed under a key that nobody knew before.
WITH left_over AS (
    SELECT digest FROM (
        SELECT digest, toUInt64(1) AS weight, toUInt64(toUnixTimestamp64Milli(appended_at)) AS at, toUInt64(offset) AS place, topic_id, event_id,
            bitXor(bitXor(sipHash64Keyed(({key:UInt64}, toUInt64(1)), topic), sipHash64Keyed(({key:UInt64}, toUInt64(2)), source)), toUInt64(partition)) AS names
        FROM audit_log FINAL
        WHERE disposition = 'ACCEPTED' AND endsWith(topic, {contract:String})
        UNION ALL
        SELECT digest, toUInt64(4294967296) AS weight, toUInt64(toUnixTimestamp64Milli(appended_at)) AS at, toUInt64(offset) AS place, topic_id, event_id,
            bitXor(bitXor(sipHash64Keyed(({key:UInt64}, toUInt64(1)), topic), sipHash64Keyed(({key:UInt64}, toUInt64(2)), source)), toUInt64(partition)) AS names
        FROM {facts:Identifier} FINAL
    )
    GROUP BY digest
    HAVING sum(weight) != 4294967297 OR groupBitXor(at) != 0 OR groupBitXor(place) != 0 OR groupBitXor(names) != 0
        OR groupBitXor(reinterpretAsUInt128(topic_id)) != 0 OR groupBitXor(reinterpretAsUInt128(event_id)) != 0
)
SELECT
    if(facts > 0, fact.4, receipt.4) AS topic,
    if(facts > 0, fact.5, receipt.5) AS topic_id,
    if(facts > 0, fact.3, receipt.3) AS partition,
    if(facts > 0, fact.6, receipt.6) AS offset,
    if(facts > 0, fact.1, receipt.1) AS appended_at_ms,
    event_id, receipts, facts
FROM (
    SELECT source, event_id, digest, countIf(is_receipt) AS receipts, countIf(NOT is_receipt) AS facts,
        minIf(at, is_receipt) AS receipt, minIf(at, NOT is_receipt) AS fact,
        groupUniqArrayIf(cityHash64(at), is_receipt) AS owners
    FROM (
        SELECT true AS is_receipt, CAST(source AS String) AS source, event_id, digest,
            (greatest(toUnixTimestamp64Milli(appended_at), 0), bitAnd(offset, 4194303), partition, CAST(topic AS String), topic_id, offset) AS at
        FROM audit_log FINAL
        WHERE disposition = 'ACCEPTED' AND endsWith(topic, {contract:String})
        UNION ALL
        SELECT false AS is_receipt, CAST(source AS String) AS source, event_id, digest,
            (greatest(toUnixTimestamp64Milli(appended_at), 0), bitAnd(offset, 4194303), partition, CAST(topic AS String), topic_id, offset) AS at
        FROM {facts:Identifier} FINAL
    )
    WHERE digest IN (left_over)
    GROUP BY source, event_id, digest
    HAVING receipts = 0 OR facts != 1 OR (receipt.1, receipt.2) != (fact.1, fact.2) OR NOT has(owners, cityHash64(fact))
)
LIMIT {limit:UInt64}
SETTINGS max_bytes_before_external_group_by = 2000000000
