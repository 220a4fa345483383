-- The rights of nexgent-db's roles on this service's table, and its row-level security. Apply it after
-- `nexgent-db roles apply`, each time: psql -1 -f rights.sql
--
-- A tenant sees the alerts of the agents that it sees; the policy on agents decides that.

GRANT SELECT, INSERT, DELETE ON price_alerts TO nexgent_app, nexgent_tenant;

ALTER TABLE price_alerts ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS everyone ON price_alerts;
CREATE POLICY everyone ON price_alerts TO nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly USING (true);
DROP POLICY IF EXISTS tenant ON price_alerts;
CREATE POLICY tenant ON price_alerts AS RESTRICTIVE TO nexgent_tenant
USING (agent_id = ANY (ARRAY(SELECT a.id FROM agents AS a)));
