-- Dead letters by reason, most frequent first.
SELECT reason, count() AS letters
FROM dead_letters FINAL
WHERE ({topic:String} = '' OR topic = {topic:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND appended_at >= parseDateTime64BestEffort({from:String}, 3, 'UTC')
    AND appended_at < parseDateTime64BestEffort({to:String}, 3, 'UTC')
GROUP BY reason
ORDER BY letters DESC, reason
