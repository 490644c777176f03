-- Wallets whose stated balance is not what their movements add up to.
SELECT wallet_id AS id, 'differing' AS why,
    concat('states ', CAST(stated_micros AS VARCHAR), ' micros, purchases + refunds - charges - supplements are ', CAST(sum_micros AS VARCHAR)) AS detail
FROM subjects WHERE stated_micros <> sum_micros ORDER BY id
