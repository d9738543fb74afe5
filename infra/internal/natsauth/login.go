package natsauth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"sori.internal/shared/event"
)

// Admin is the user with all permissions on the servers of package stack. Tests use it.
const Admin = "admin"

// Login returns the name and the password with which a user logs in to a server of package stack.
// The name contains the namespace, since tests share a server, each with a namespace. The password
// is derived from that of Admin.
func Login(ns event.Namespace, name, adminPassword string) (login, password string) {
	login = ns.Subject(name)
	return login, Password(login, adminPassword)
}

// Password derives the password of an account on the servers of package stack from that of an
// administrator: 64 hexadecimal digits.
func Password(account, adminPassword string) string {
	mac := hmac.New(sha256.New, []byte(adminPassword))
	_, _ = mac.Write([]byte(account)) // a hash returns no error
	return hex.EncodeToString(mac.Sum(nil))
}

// Authenticate returns the user that logs in to a server of package stack. It returns nil for Admin,
// and false for a wrong name or password.
func Authenticate(login, password, adminPassword string) (*User, bool) {
	if login == Admin {
		return nil, equal(password, adminPassword)
	}
	namespace, name, qualified := strings.Cut(login, ".")
	if !qualified {
		namespace, name = "", login
	}
	ns := event.Namespace(namespace)
	_, want := Login(ns, name, adminPassword)
	u, known := Find(ns, name)
	return &u, known && ns.Check() == nil && equal(password, want)
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
