-- For the page of a demo on which one chooses whom to look as: of each role the one with the most to see.
SELECT 'buyer' AS role, user_id AS subject
FROM (SELECT user_id, count() AS events FROM task_events_final WHERE user_id != '' AND audience = 'CUSTOMER' GROUP BY user_id ORDER BY events DESC, user_id LIMIT 1)
UNION ALL
SELECT 'creator' AS role, creator_id AS subject
FROM (SELECT creator_id, uniqExact(license_id) AS licences FROM license_events_final WHERE creator_id != '' AND kind = 'GRANTED' GROUP BY creator_id ORDER BY licences DESC, creator_id LIMIT 1)
UNION ALL
SELECT 'moderator' AS role, actor_id AS subject
FROM (SELECT actor_id, count() AS reviews FROM moderation_events_final WHERE actor_id != '' AND kind = 'REVIEW_STARTED' GROUP BY actor_id ORDER BY reviews DESC, actor_id LIMIT 1)
