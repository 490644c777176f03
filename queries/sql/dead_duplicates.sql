-- Accepted records of one event with that content.
SELECT count() FROM audit_log
WHERE disposition = 'ACCEPTED' AND event_id = {event_id:UUID} AND digest = unhex({digest:String})
