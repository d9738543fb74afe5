package natsauth_test

import (
	"flag"
	"os"
	"testing"

	"sori.internal/infra/internal/natsauth"
)

var update = flag.Bool("update", false, "write infra/nats/users.conf")

const header = `# The users of NATS, and what each may publish and subscribe to. Written by
#   go test ./infra/internal/natsauth -update
# from infra/internal/natsauth/natsauth.go.
`

func TestTheServersFileHasTheUsers(t *testing.T) {
	t.Parallel()
	const file = "../../nats/users.conf"
	want := header + natsauth.Conf("")
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("%s differs from the users: run this test with -update", file)
	}
}
