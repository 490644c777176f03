-- Weeks from the launch: wallets with a purchase in the 28 days before, and those of them with one in the week. The baseline
-- pools the four weeks before the launch. Followed: wallets whose first purchase is at least seven days old.
WITH weeks AS (
    SELECT * FROM (VALUES (0), (-1), (-2), (-3), (-4)) AS numbered (week)
), bounds AS (
    SELECT week, $launch_us + week * 604800000000 AS at FROM weeks
), seen AS (
    SELECT bounds.week AS week, wallet_id, max(CASE WHEN subjects.at < bounds.at THEN 1 ELSE 0 END) AS before, max(CASE WHEN subjects.at >= bounds.at THEN 1 ELSE 0 END) AS during
    FROM subjects CROSS JOIN bounds
    WHERE subjects.at >= bounds.at - 2419200000000 AND subjects.at < bounds.at + 604800000000
    GROUP BY bounds.week, wallet_id
), rates AS (
    SELECT sum(CASE WHEN week = 0 THEN before ELSE 0 END) AS launch_base,
        sum(CASE WHEN week = 0 AND before = 1 THEN during ELSE 0 END) AS launch_repurchased,
        sum(CASE WHEN week < 0 THEN before ELSE 0 END) AS baseline_base,
        sum(CASE WHEN week < 0 AND before = 1 THEN during ELSE 0 END) AS baseline_repurchased
    FROM seen
), placed AS (
    SELECT wallet_id, at, min(at) OVER (PARTITION BY wallet_id) AS first_at FROM subjects WHERE at < $to_us
), cohorts AS (
    SELECT wallet_id, max(CASE WHEN at > first_at AND at < first_at + 604800000000 THEN 1 ELSE 0 END) AS again
    FROM placed
    WHERE first_at + 604800000000 <= $to_us
    GROUP BY wallet_id
), followed AS (
    SELECT count(*) AS followed, sum(again) AS followed_again FROM cohorts
)
SELECT coalesce(launch_base, 0) AS launch_base, coalesce(launch_repurchased, 0) AS launch_repurchased, coalesce(baseline_base, 0) AS baseline_base,
    coalesce(baseline_repurchased, 0) AS baseline_repurchased, followed, coalesce(followed_again, 0) AS followed_again
FROM rates CROSS JOIN followed
