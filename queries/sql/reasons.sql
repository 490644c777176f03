-- Dead letters of one topic's identity by reason, most frequent first.
SELECT reason, count() AS letters
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID} AND disposition = 'DEAD'
GROUP BY reason
ORDER BY letters DESC, reason
