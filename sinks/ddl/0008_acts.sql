-- Attempts at steps of tasks and at revocations, which flows of the gateway ask for. Symbols are added at the end, so no row is
-- rewritten. A view keeps the types that it was made with, so those over the tables are made anew.
ALTER TABLE credit_events MODIFY COLUMN endpoint Enum8(''=0, 'CREDITS_ESTIMATE'=1, 'CREDITS_CHARGE'=2, 'CREDITS_REFUND'=3, 'LICENSES_CHECK'=4, 'TASKS_TRANSITIONS'=5, 'LICENSES_REVOKE'=6);
ALTER TABLE license_events MODIFY COLUMN endpoint Enum8(''=0, 'CREDITS_ESTIMATE'=1, 'CREDITS_CHARGE'=2, 'CREDITS_REFUND'=3, 'LICENSES_CHECK'=4, 'TASKS_TRANSITIONS'=5, 'LICENSES_REVOKE'=6);
CREATE OR REPLACE VIEW credit_events_final AS SELECT * FROM credit_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
CREATE OR REPLACE VIEW license_events_final AS SELECT * FROM license_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
