-- Cases whose review began and was not ended by a decision, an escalation or the closing, with the last event of each.
SELECT
    case_id,
    argMax(topic_id, (appended_at, offset)) AS last_topic_id,
    argMax(partition, (appended_at, offset)) AS last_partition,
    argMax(offset, (appended_at, offset)) AS last_offset,
    argMaxIf(actor_id, (appended_at, offset), kind = 'REVIEW_STARTED') AS moderator,
    argMax(task_id, (appended_at, offset)) AS last_task_id,
    argMax(license_id, (appended_at, offset)) AS last_license_id
FROM moderation_events_final
GROUP BY case_id
HAVING argMaxIf(kind, (appended_at, offset), kind IN ('REVIEW_STARTED', 'DECIDED', 'ESCALATED', 'CLOSED')) = 'REVIEW_STARTED'
    AND countIf(kind = 'REVIEW_STARTED') > 0
ORDER BY case_id
LIMIT 200000
