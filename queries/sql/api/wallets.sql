-- Wallets by id after a cursor: what moved, and the balance that the last event stated. Micros of a credit, as text.
WITH picked AS (
    SELECT DISTINCT wallet_id
    FROM credit_events
    PREWHERE wallet_id > {after_id:String}
        AND ({wallet_id:String} = '' OR wallet_id = {wallet_id:String})
        AND ({scope:String} = 'all' OR ({scope:String} = 'own' AND user_id = {subject:String}))
    ORDER BY wallet_id
    LIMIT {limit:UInt32}
)
SELECT
    e.wallet_id AS wallet_id,
    max(e.user_id) AS user_id,
    toUnixTimestamp64Micro(max(e.occurred_at)) AS changed_at,
    toString(argMaxIf(e.balance_after_micros, (e.occurred_at, e.appended_at, e.offset), e.balance_after_micros IS NOT NULL)) AS balance_micros,
    toString(sumIf(e.amount_micros, e.kind = 'PURCHASED')) AS purchased_micros,
    toString(sumIf(e.amount_micros, e.kind = 'CHARGED')) AS charged_micros,
    toString(sumIf(e.amount_micros, e.kind = 'SUPPLEMENT_CHARGED')) AS supplements_micros,
    toString(sumIf(e.amount_micros, e.kind = 'REFUNDED')) AS refunded_micros,
    count() AS events
FROM credit_events AS e FINAL
PREWHERE e.wallet_id GLOBAL IN (SELECT wallet_id FROM picked)
    AND ({scope:String} = 'all' OR ({scope:String} = 'own' AND e.user_id = {subject:String}))
GROUP BY e.wallet_id
ORDER BY wallet_id
