package natsauth_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sori.internal/infra/internal/natsauth"
	"sori.internal/shared/event"
)

var update = flag.Bool("update", false, "write infra/nats/users.conf")

const header = `# The users of NATS, and what each may publish and subscribe to. Written by
#   go test ./infra/internal/natsauth -update
# from infra/internal/natsauth/natsauth.go.
`

func TestTheServersFileHasTheUsers(t *testing.T) {
	t.Parallel()
	const file = "../../nats/users.conf"
	want := header + conf("")
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

// passwordVariable returns the environment variable of the NATS server with a user's password.
func passwordVariable(name string) string { return "NATS_" + strings.ToUpper(name) + "_PASSWORD" }

// conf returns the users as a part of the configuration of a NATS server. The server reads the
// passwords from its environment.
//
// The users are in the global account, which contains the streams of a server that had no users before.
func conf(ns event.Namespace) string {
	var b strings.Builder
	b.WriteString("authorization {\n  users: [\n")
	for _, name := range natsauth.Names() {
		u, _ := natsauth.Find(ns, name)
		fmt.Fprintf(&b, "    {\n      user: %s\n      password: $%s\n      permissions: {\n", u.Name, passwordVariable(u.Name))
		fmt.Fprintf(&b, "        publish: {\n%s%s        }\n", list("allow", u.Publish), list("deny", u.DenyPublish))
		fmt.Fprintf(&b, "        subscribe: {\n%s        }\n", list("allow", u.Subscribe))
		b.WriteString("      }\n    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String()
}

// list returns a setting that is a list of subjects, or "" if the list is empty.
func list(name string, subjects []string) string {
	if len(subjects) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "          %s: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(&b, "            %q\n", s) // NATS does not expand $ as a variable in a quoted string
	}
	b.WriteString("          ]\n")
	return b.String()
}
