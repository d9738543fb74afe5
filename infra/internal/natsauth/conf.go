package natsauth

import (
	"fmt"
	"strings"

	"sori.internal/shared/event"
)

// PasswordVariable returns the environment variable of the NATS server with a user's password.
func PasswordVariable(name string) string { return "NATS_" + strings.ToUpper(name) + "_PASSWORD" }

// Conf returns the users as a part of the configuration of a NATS server. The server reads the
// passwords from its environment.
//
// The users are in the global account, which contains the streams of a server that had no users before.
func Conf(ns event.Namespace) string {
	var b strings.Builder
	b.WriteString("authorization {\n  users: [\n")
	for _, name := range Names() {
		u, _ := Find(ns, name)
		fmt.Fprintf(&b, "    {\n      user: %s\n      password: $%s\n      permissions: {\n", u.Name, PasswordVariable(u.Name))
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
