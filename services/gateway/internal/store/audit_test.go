package store_test

import (
	"testing"
	"time"
)

// A statement that deletes very many entries does not end within its time limit, so every sweep would
// fail. The trigger of this test refuses a statement that deletes more than a thousand.
func TestOldAuditEntriesAreDeletedInBatches(t *testing.T) {
	t.Parallel()
	c := newEnv(t)
	c.exec(`
		CREATE FUNCTION public.refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF (SELECT count(*) FROM gone) > 1000 THEN
				RAISE EXCEPTION 'too many rows';
			END IF;
			RETURN NULL;
		END
		$$`)
	c.exec(`
		CREATE TRIGGER refuse_many
		AFTER DELETE ON catalogue.audit_log
		REFERENCING OLD TABLE AS gone
		FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_many()`)
	c.exec(`
		INSERT INTO catalogue.audit_log (at, owner, key_id, action, object, status, address, request_id)
		SELECT now() - make_interval(hours => n), 'mina', '', 'GET /', '/', 403, '', ''
		FROM generate_series(1, 2503) AS n`)
	deleted, err := c.stores[0].DeleteAudit(c.Context(), time.Now().Add(-3*time.Hour-time.Minute))
	if err != nil || deleted != 2500 {
		t.Errorf("%d deleted, %v", deleted, err)
	}
	var left int
	must(t, c.db.GetContext(c.Context(), &left, `SELECT count(*) FROM catalogue.audit_log`))
	if left != 3 {
		t.Errorf("%d are left", left)
	}
}
