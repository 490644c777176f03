-- Results of the accuracy job that figures of a range are made of: of each window its latest version that could be checked, whenever
-- that was known, since a task settles a day after it ended (METRICS 2). From the newest window backwards, each that overlaps none
-- before it, so that no task counts twice; of two that end together the shorter. Where they begin is a week after the range, which is as
-- long as a window of `tally audit watch` can be. Where no window of the range has a settled task yet, the range reaches back: as long as
-- it is, to the end of the newest window that has one.
WITH versions AS (
    SELECT window_from, window_to, argMax(result_id, (r.known_at, r.result_id)) AS id, argMax(denominator, (r.known_at, r.result_id)) AS settled,
        toUnixTimestamp64Micro(window_from) AS begins_us, least(toUnixTimestamp64Micro(window_to), toUnixTimestamp64Micro(max(r.known_at))) AS ends_us
    FROM job_results_final AS r
    WHERE job = 'accuracy' AND verdict != 'ERROR' AND begins_us < {to_us:Int64} + 604800000000
    GROUP BY window_from, window_to
), reach AS (
    SELECT maxIf(ends_us, settled > 0) AS last_us, if(last_us = 0 OR last_us > {from_us:Int64}, {from_us:Int64}, last_us - ({to_us:Int64} - {from_us:Int64})) AS since_us
    FROM versions
    WHERE begins_us < {to_us:Int64}
), taken AS (
    SELECT arrayJoin(arrayFold((done, one) -> if(one.1 <= done.1, (least(one.2, done.1), arrayPushBack(done.2, one.3)), done),
        arrayReverseSort(groupArray((ends_us, begins_us, id))), (toInt64(9223372036854775807), CAST([], 'Array(UUID)'))).2) AS id
    FROM versions
    WHERE ends_us > (SELECT since_us FROM reach)
)
SELECT report, count() OVER () AS windows, min(toUnixTimestamp64Micro(r.window_from)) OVER () AS window_from_us, max(toUnixTimestamp64Micro(r.window_to)) OVER () AS window_to_us,
    max(toUnixTimestamp64Micro(r.known_at)) OVER () AS known_us, argMax(JSONExtractInt(report, 'settings', 'accuracy_permille'), r.known_at) OVER () AS target_permille
FROM job_results_final AS r
WHERE job = 'accuracy' AND r.result_id IN (SELECT id FROM taken) AND toUnixTimestamp64Micro(r.window_from) < {to_us:Int64}
