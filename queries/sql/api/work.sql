-- Cases that a moderator has in work, with their tasks and licences: the last of these steps is a review that they started.
SELECT case_id, max(task_id) AS task_id, max(license_id) AS license_id
FROM
(
    SELECT case_id, task_id, license_id, kind, actor_id, offset, {{event_us}} AS event_us
    FROM moderation_events_final
    WHERE kind IN ('REVIEW_STARTED', 'DECIDED', 'ESCALATED', 'CLOSED') AND case_id IN
        (SELECT case_id FROM moderation_events_final WHERE kind = 'REVIEW_STARTED' AND actor_id = {subject:String})
)
GROUP BY case_id
HAVING argMax(kind, (event_us, offset)) = 'REVIEW_STARTED' AND argMax(actor_id, (event_us, offset)) = {subject:String}
ORDER BY max(event_us) DESC, case_id
LIMIT {limit:UInt32}
