-- Customers' tasks for which a supplement was asked for in the window, and how often it was charged or declined by its end.
SELECT task_id, minIf(event_us, kind = 'SUPPLEMENT_REQUESTED') AS asked_us, countIf(kind = 'SUPPLEMENT_REQUESTED') AS asked,
    countIf(kind = 'SUPPLEMENT_CHARGED') AS charged, countIf(kind = 'SUPPLEMENT_DECLINED') AS declined
FROM
(
    SELECT task_id, kind,
        {{event_us}} AS event_us
    FROM credit_events FINAL
    PREWHERE audience = 'CUSTOMER' AND kind IN ('SUPPLEMENT_REQUESTED', 'SUPPLEMENT_CHARGED', 'SUPPLEMENT_DECLINED')
    WHERE event_us < {to_us:Int64}
)
GROUP BY task_id
HAVING asked > 0 AND asked_us >= {from_us:Int64}
