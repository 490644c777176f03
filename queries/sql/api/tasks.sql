-- Tasks by their submission, the latest first, before a cursor; each as its latest event leaves it.
WITH picked AS (
    SELECT task_id
    FROM task_events_final
    WHERE kind = 'SUBMITTED'
        AND occurred_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND occurred_at < fromUnixTimestamp64Micro({to_us:Int64})
        AND ({scope:String} = 'all'
            OR ({scope:String} = 'own' AND user_id = {subject:String})
            OR ({scope:String} = 'grantees' AND creator_id = {subject:String} AND license_id != '')
            OR ({scope:String} = 'work' AND has({work:Array(String)}, task_id)))
        AND ({task_id:String} = '' OR task_id = {task_id:String})
        AND ({template_id:String} = '' OR template_id = {template_id:String})
        AND ({policy_tag:String} = '' OR toString(policy_tag) = {policy_tag:String})
    GROUP BY task_id
    HAVING (toUnixTimestamp64Micro(min(occurred_at)), task_id) < ({before_us:Int64}, {before_id:String})
    ORDER BY min(occurred_at) DESC, task_id DESC
    LIMIT {limit:UInt32}
)
SELECT
    e.task_id AS task_id,
    toString(argMax(e.kind, (e.state_version, e.occurred_at))) AS state,
    toUnixTimestamp64Micro(minIf(e.occurred_at, e.kind = 'SUBMITTED')) AS opened_at,
    toUnixTimestamp64Micro(max(e.occurred_at)) AS changed_at,
    toString(argMax(e.queue, (e.state_version, e.occurred_at))) AS queue,
    argMaxIf(e.progress_permille, (e.state_version, e.occurred_at), e.progress_permille IS NOT NULL) AS progress_permille,
    max(e.state_version) AS state_version,
    toString(argMax(e.policy_tag, (e.state_version, e.occurred_at))) AS policy_tag,
    argMax(e.error_code, (e.state_version, e.occurred_at)) AS error_code,
    toString(any(e.audience)) AS audience,
    max(e.template_id) AS template_id,
    max(e.license_id) AS license_id,
    max(e.user_id) AS user_id,
    max(e.creator_id) AS creator_id,
    max(e.wallet_id) AS wallet_id
FROM task_events_final AS e
WHERE e.task_id IN (SELECT task_id FROM picked)
    AND ({scope:String} IN ('all', 'work')
        OR ({scope:String} = 'own' AND e.user_id = {subject:String})
        OR ({scope:String} = 'grantees' AND e.creator_id = {subject:String} AND e.license_id != ''))
GROUP BY e.task_id
HAVING countIf(e.kind = 'SUBMITTED') > 0
ORDER BY opened_at DESC, task_id DESC
