-- Dead letters by topic and reason: for the live page.
SELECT topic, reason, count() AS letters
FROM audit_log FINAL
WHERE disposition = 'DEAD'
GROUP BY topic, reason
ORDER BY letters DESC, topic, reason
