-- Dead letters, newest first, each with what became of its replays: receipts of the same bytes on the same topic, and
-- dead letters that name it as their first publication.
WITH letters AS (
    SELECT * FROM dead_letters FINAL
    WHERE ({topic:String} = '' OR topic = {topic:String})
        AND ({topic_id:String} = '' OR toString(topic_id) = {topic_id:String})
        AND ({reason:String} = '' OR reason = {reason:String})
        AND ({partition:Int32} < 0 OR partition = {partition:Int32})
        AND ({offset:Int64} < 0 OR offset = {offset:Int64})
        AND appended_at >= parseDateTime64BestEffort({from:String}, 3, 'UTC')
        AND appended_at < parseDateTime64BestEffort({to:String}, 3, 'UTC')
    ORDER BY appended_at DESC, topic, partition, offset DESC
    LIMIT {limit:UInt64}
), accepted AS (
    SELECT topic_id, raw_sha256, arraySort(groupUniqArray((appended_at, partition, offset))) AS records
    FROM audit_log
    WHERE disposition = 'ACCEPTED' AND (topic_id, raw_sha256) IN (SELECT topic_id, raw_sha256 FROM letters)
    GROUP BY topic_id, raw_sha256
), again AS (
    SELECT origin_topic_id, origin_partition, origin_offset,
        arraySort(groupUniqArray((replay_attempt, partition, offset))) AS records
    FROM dead_letters
    WHERE replay_attempt > 0 AND (origin_topic_id, origin_partition, origin_offset)
        IN (SELECT origin_topic_id, origin_partition, origin_offset FROM letters)
    GROUP BY origin_topic_id, origin_partition, origin_offset
)
SELECT
    letters.topic AS topic,
    toString(letters.topic_id) AS topic_id,
    letters.partition AS partition,
    letters.offset AS offset,
    formatDateTime(letters.appended_at, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS appended_at,
    letters.reason AS reason,
    letters.path AS path,
    letters.sentence AS sentence,
    letters.schema AS schema,
    length(ifNull(letters.value, '')) AS bytes,
    lower(hex(letters.raw_sha256)) AS sha256,
    toString(letters.replay_id) AS replay_id,
    letters.replay_attempt AS replay_attempt,
    concat(toString(letters.origin_topic_id), '/', toString(letters.origin_partition), '/', toString(letters.origin_offset)) AS first,
    arrayMap(r -> (r.2, r.3), arraySlice(arrayFilter(r -> r.1 >= letters.appended_at, accepted.records), 1, 1)) AS accepted_at,
    arrayFilter(r -> r.1 > letters.replay_attempt, again.records) AS dead_again,
    if({payload:Bool}, hex(letters.key), NULL) AS key_hex,
    if({payload:Bool}, hex(letters.value), NULL) AS value_hex,
    if({payload:Bool}, arrayMap(h -> (h.1, hex(h.2)), letters.headers), []) AS headers
FROM letters
LEFT JOIN accepted ON accepted.topic_id = letters.topic_id AND accepted.raw_sha256 = letters.raw_sha256
LEFT JOIN again ON again.origin_topic_id = letters.origin_topic_id
    AND again.origin_partition = letters.origin_partition AND again.origin_offset = letters.origin_offset
ORDER BY letters.appended_at DESC, topic, partition, offset DESC
