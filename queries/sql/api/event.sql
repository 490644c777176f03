-- Every fact of one event id, with what rights are about; more than one where contents conflict.
SELECT 'credit-events' AS contract, toString(kind) AS kind, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id FROM credit_events_final WHERE event_id = {event_id:UUID}
UNION ALL
SELECT 'license-events' AS contract, toString(kind) AS kind, user_id, grantee_id AS grantee_id, creator_id, license_id, task_id, case_id FROM license_events_final WHERE event_id = {event_id:UUID}
UNION ALL
SELECT 'task-events' AS contract, toString(kind) AS kind, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id FROM task_events_final WHERE event_id = {event_id:UUID}
UNION ALL
SELECT 'moderation-events' AS contract, toString(kind) AS kind, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id FROM moderation_events_final WHERE event_id = {event_id:UUID}
LIMIT 1000
