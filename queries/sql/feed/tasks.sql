-- The latest event of each task that somebody may see, newest first, with the progress that was stated last: a buyer's own, those that run
-- under licences to a creator's templates, those of given ids, or all. Each row says how many there are without the limit.
WITH picked AS
(
    SELECT task_id
    FROM task_events FINAL
    PREWHERE ({scope:String} = 'all'
            OR ({scope:String} = 'buyer' AND user_id = {subject:String})
            OR ({scope:String} = 'creator' AND creator_id = {subject:String} AND license_id != '')
            OR ({scope:String} = 'tasks' AND has({task_ids:Array(String)}, task_id)))
    GROUP BY task_id
    ORDER BY argMax(occurred_at, state_version) DESC, task_id
    LIMIT {limit:UInt64}
)
SELECT *, ifNull((
    SELECT uniqExact(task_id)
    FROM task_events FINAL
    PREWHERE ({scope:String} = 'all'
            OR ({scope:String} = 'buyer' AND user_id = {subject:String})
            OR ({scope:String} = 'creator' AND creator_id = {subject:String} AND license_id != '')
            OR ({scope:String} = 'tasks' AND has({task_ids:Array(String)}, task_id)))
), 0) AS total
FROM
(
    SELECT
        event_id, toUnixTimestamp64Micro(occurred_at) AS occurred_us, source, toString(policy_tag) AS tag, actor_id, toString(actor_role) AS role,
        task_id, wallet_id, user_id, creator_id, license_id, template_id, case_id, toString(kind) AS kind_name, toString(queue) AS queue_name,
        argMaxIf(progress_permille, state_version, progress_permille IS NOT NULL) OVER (PARTITION BY task_id) AS progress_permille,
        state_version, error_code
    FROM task_events FINAL
    PREWHERE task_id GLOBAL IN (SELECT task_id FROM picked) AND ({scope:String} = 'all'
            OR ({scope:String} = 'buyer' AND user_id = {subject:String})
            OR ({scope:String} = 'creator' AND creator_id = {subject:String} AND license_id != '')
            OR ({scope:String} = 'tasks' AND has({task_ids:Array(String)}, task_id)))
    ORDER BY state_version DESC, appended_at DESC
    LIMIT 1 BY task_id
)
ORDER BY occurred_us DESC, task_id
