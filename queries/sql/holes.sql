-- Offsets of one partition in [low, high) that have neither a receipt nor a recorded gap, as ranges.
WITH taken AS (
    SELECT offset AS first, offset + 1 AS next FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {low:Int64} AND offset < {high:Int64}
    UNION ALL
    SELECT first, next FROM gaps
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND next > {low:Int64}
    UNION ALL
    SELECT {low:Int64}, {low:Int64}
    UNION ALL
    SELECT {high:Int64}, {high:Int64}
), ordered AS (
    SELECT first, max(next) OVER (ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
    FROM taken
)
SELECT reach AS first, ordered.first AS next FROM ordered
WHERE ordered.first > reach AND reach >= {low:Int64} AND ordered.first <= {high:Int64}
ORDER BY first
