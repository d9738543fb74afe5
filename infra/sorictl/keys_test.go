package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	gateway "sori.internal/services/gateway/app"
	"sori.internal/shared/testkit"
)

func TestAKeyOfTheOperatorOpensTheGatewayUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	k.MigratedDatabase()
	at := k.Run(gateway.Run, map[string]string{"TRACKER_URL": "http://127.0.0.1:1", "DISPATCHER_URL": "http://127.0.0.1:1", "AUTH_API_KEYS": "true"})
	status := func(key string) int {
		req, err := http.NewRequestWithContext(k.Context(), http.MethodGet, at.URL+"/tokens", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var key string
	testkit.Eventually(t, func() error { // retried until the gateway has created the table
		shown, err := sorictl(t, k, nil, "keys", "create", "nightly import", "-owner", "alice", "-scopes", "catalogue:read,jobs:write", "-valid", "24h")
		key = strings.TrimSpace(shown[strings.LastIndex(strings.TrimSpace(shown), "\n")+1:])
		return err
	})
	if got := status(key); got != http.StatusOK {
		t.Fatalf("%q gives status %d", key, got)
	}
	id := strings.Split(key, "_")[1]
	shown := shows(t, k, []string{"keys", "list", "-owner", "alice"}, id, "valid", `"alice"`, `"nightly import"`, "catalogue:read,jobs:write", "1 keys")
	if strings.Contains(shown, strings.Split(key, "_")[2]) {
		t.Error("the list shows the secret")
	}
	shows(t, k, []string{"keys", "list", "-owner", "bob"}, "0 keys")
	if shown, err := sorictl(t, k, nil, "keys", "revoke", key); err == nil { // the argument must be the id of the key, not the key
		t.Errorf("a whole key is taken: %s", shown)
	}
	shows(t, k, []string{"audit", "-object", id}, `"/api-keys/sori_`+id+`_*"`)
	shows(t, k, []string{"keys", "revoke", id}, id+"  revoked")
	shows(t, k, []string{"keys", "list"}, id+"  revoked")
	testkit.Eventually(t, func() error {
		if got := status(key); got != http.StatusUnauthorized {
			return fmt.Errorf("a revoked key gives status %d", got)
		}
		return nil
	})
	shows(t, k, []string{"audit", "-object", id}, `"operator"`, "sorictl keys create", "sorictl keys revoke", `"/api-keys/`+id+`"`, "3 entries")
	shows(t, k, []string{"audit", "-owner", "operator", "-since", "1h", "-n", "1", "-json"}, `"action":"sorictl keys revoke"`)
	shows(t, k, []string{"audit", "-owner", "alice"}, "0 entries")
	for _, args := range [][]string{
		{"audit", "-n", "0"}, {"audit", "-since", "-1h"}, {"audit", "x"}, {"keys"}, {"keys", "sing"}, {"keys", "create"}, {"keys", "create", "n"}, {"keys", "create", "n", "-owner", "a", "-scopes", "everything"},
		{"keys", "create", "n", "-owner", "a", "-scopes", "admin", "-valid", "-1h"}, {"keys", "list", "x"}, {"keys", "revoke"}, {"keys", "revoke", "ffffffffffffffff"},
	} {
		if shown, err := sorictl(t, k, nil, args...); err == nil {
			t.Errorf("%v is taken: %s", args, shown)
		}
	}
}

func TestTheProvisionedRoleOfTheOperatorManagesKeys(t *testing.T) {
	t.Parallel()
	k := testkit.New(t)
	at, err := url.Parse(k.Database())
	if err != nil {
		t.Fatal(err)
	}
	role := string(k.Namespace()) + "_sorictl"
	if _, err := sorictl(t, k, map[string]string{"SORICTL_DATABASE_USER": role, "SORICTL_DATABASE_PASSWORD": "secret"}, "provision"); err != nil {
		t.Fatal(err)
	}
	at.User = url.UserPassword(role, "secret")
	asOperator := map[string]string{"DATABASE_URL": at.String(), "DATABASE_MIGRATE": "false"}
	made, err := sorictl(t, k, asOperator, "keys", "create", "first", "-owner", "alice", "-scopes", "admin")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(made), "\n")
	id := strings.Split(lines[len(lines)-1], "_")[1]
	for _, c := range []struct{ command, shows string }{
		{"keys list", id + "  valid"}, {"keys revoke " + id, id + "  revoked"}, {"audit -object " + id, "sorictl keys create"},
	} {
		shown, err := sorictl(t, k, asOperator, strings.Fields(c.command)...)
		if err != nil {
			t.Errorf("%s: %v", c.command, err)
		}
		contains(t, shown, c.shows)
	}
}
