-- Events of the four topics that are about one thing, the earliest first, after a cursor: the ids that rights are about, and
-- every field of the contract as one JSON object, absent ones too. `by` is one of the ids' columns, chosen by the program.
-- `scope` is `all`, or `own` for events that name the subject.
SELECT contract, kind, occurred_us, event_id, user_id, grantee_id, creator_id, license_id, task_id, case_id, fields
FROM
(
    SELECT 'credit-events' AS contract, toString(kind) AS kind, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
        toString(event_id) AS event_id, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id,
        formatRowNoNewline('JSONEachRow',
            event_id, occurred_at, source, policy_tag, actor_id, actor_role, trace_id, task_id, wallet_id, user_id,
            creator_id, license_id, template_id, case_id, kind, amount_micros, estimate_id, queue, refund_reason,
            price_minor, currency, order_id, gift, balance_after_micros, endpoint, outcome, http_status, error_code,
            latency_ms, attempt, idempotency_key, audience) AS fields
    FROM credit_events FINAL
    PREWHERE {by:Identifier} = {id:String}
    UNION ALL
    SELECT 'license-events' AS contract, toString(kind) AS kind, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
        toString(event_id) AS event_id, user_id, grantee_id AS grantee_id, creator_id, license_id, task_id, case_id,
        formatRowNoNewline('JSONEachRow',
            event_id, occurred_at, source, policy_tag, actor_id, actor_role, trace_id, task_id, wallet_id, user_id,
            creator_id, license_id, template_id, case_id, kind, check_result, grantee_id, quota_remaining_micros,
            expires_at, endpoint, outcome, http_status, error_code, latency_ms, attempt, idempotency_key) AS fields
    FROM license_events FINAL
    PREWHERE {by:Identifier} = {id:String}
    UNION ALL
    SELECT 'task-events' AS contract, toString(kind) AS kind, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
        toString(event_id) AS event_id, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id,
        formatRowNoNewline('JSONEachRow',
            event_id, occurred_at, source, policy_tag, actor_id, actor_role, trace_id, task_id, wallet_id, user_id,
            creator_id, license_id, template_id, case_id, kind, queue, progress_permille, state_version, error_code,
            audience) AS fields
    FROM task_events FINAL
    PREWHERE {by:Identifier} = {id:String}
    UNION ALL
    SELECT 'moderation-events' AS contract, toString(kind) AS kind, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
        toString(event_id) AS event_id, user_id, '' AS grantee_id, creator_id, license_id, task_id, case_id,
        formatRowNoNewline('JSONEachRow',
            event_id, occurred_at, source, policy_tag, actor_id, actor_role, trace_id, task_id, wallet_id, user_id,
            creator_id, license_id, template_id, case_id, kind, risk_level, decision, sla_due_at) AS fields
    FROM moderation_events FINAL
    PREWHERE {by:Identifier} = {id:String}
)
WHERE (occurred_us, contract, event_id) > ({after_us:Int64}, {after_contract:String}, {after_id:String})
    AND ({scope:String} = 'all' OR {subject:String} IN (user_id, grantee_id, creator_id))
ORDER BY occurred_us, contract, event_id
LIMIT {limit:UInt32}
