-- Tasks by their submission, the latest first, before a cursor; each as its latest event leaves it. Moments are event time.
WITH picked AS (
    SELECT task_id, min(event_us) AS first_us
    FROM
    (
        SELECT task_id, {{event_us}} AS event_us
        FROM task_events_final
        WHERE kind = 'SUBMITTED' AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
            AND ({scope:String} = 'all'
                OR ({scope:String} = 'own' AND user_id = {subject:String})
                OR ({scope:String} = 'grantees' AND creator_id = {subject:String} AND license_id != '')
                OR ({scope:String} = 'work' AND has({work:Array(String)}, task_id)))
            AND ({task_id:String} = '' OR task_id = {task_id:String})
            AND ({template_id:String} = '' OR template_id = {template_id:String})
            AND ({policy_tag:String} = '' OR toString(policy_tag) = {policy_tag:String})
    )
    GROUP BY task_id
    HAVING (first_us, task_id) < ({before_us:Int64}, {before_id:String})
    ORDER BY first_us DESC, task_id DESC
    LIMIT {limit:UInt32}
)
SELECT
    e.task_id AS task_id,
    toString(argMax(e.kind, (e.state_version, e.event_us))) AS state,
    minIf(e.event_us, e.kind = 'SUBMITTED') AS opened_at,
    max(e.event_us) AS changed_at,
    toString(argMax(e.queue, (e.state_version, e.event_us))) AS queue,
    argMaxIf(e.progress_permille, (e.state_version, e.event_us), e.progress_permille IS NOT NULL) AS progress_permille,
    max(e.state_version) AS state_version,
    toString(argMax(e.policy_tag, (e.state_version, e.event_us))) AS policy_tag,
    argMax(e.error_code, (e.state_version, e.event_us)) AS error_code,
    toString(any(e.audience)) AS audience,
    max(e.template_id) AS template_id,
    max(e.license_id) AS license_id,
    max(e.user_id) AS user_id,
    max(e.creator_id) AS creator_id,
    max(e.wallet_id) AS wallet_id
FROM
(
    SELECT task_id, kind, queue, progress_permille, state_version, policy_tag, error_code, audience, template_id, license_id, user_id, creator_id, wallet_id,
        {{event_us}} AS event_us
    FROM task_events FINAL
    PREWHERE task_id GLOBAL IN (SELECT task_id FROM picked)
    WHERE ({scope:String} IN ('all', 'work')
            OR ({scope:String} = 'own' AND user_id = {subject:String})
            OR ({scope:String} = 'grantees' AND creator_id = {subject:String} AND license_id != ''))
) AS e
GROUP BY e.task_id
HAVING countIf(e.kind = 'SUBMITTED') > 0
ORDER BY opened_at DESC, task_id DESC
