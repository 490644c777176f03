-- The topic identities that the ledger knows, in no order.
SELECT DISTINCT topic_id FROM audit_log
