-- Of these tasks, the supplement that was asked for last and neither charged nor declined since.
SELECT task_id, argMax(event_id, (appended_at, offset)) AS last_event_id, argMax(amount_micros, (appended_at, offset)) AS micros,
    argMax(wallet_id, (appended_at, offset)) AS last_wallet_id, toUnixTimestamp64Micro(argMax(occurred_at, (appended_at, offset))) AS occurred_us
FROM credit_events_final
WHERE has({task_ids:Array(String)}, task_id) AND kind IN ('SUPPLEMENT_REQUESTED', 'SUPPLEMENT_CHARGED', 'SUPPLEMENT_DECLINED')
GROUP BY task_id
HAVING argMax(kind, (appended_at, offset)) = 'SUPPLEMENT_REQUESTED'
