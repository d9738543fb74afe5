package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"

	"sori.internal/shared/fault"
	"sori.internal/shared/principal"
)

// An API key is "sori_", its id in hex, "_", and its secret in hex. The prefix lets scanners find
// keys that were published by mistake.
const (
	keyPrefix   = "sori_"
	keyIDBytes  = 8
	secretBytes = 32 // 256 random bits cannot be guessed, so that a hash without salt suffices
)

// Key is an API key, without its secret.
type Key struct {
	ID       string
	Owner    string
	Name     string
	Scopes   []principal.Scope
	Created  time.Time
	Expires  *time.Time // nil: never
	LastUsed *time.Time // nil: never used; accurate to a minute
	Revoked  *time.Time // nil: not revoked
}

// StoredKey is a key with the hash of its secret.
type StoredKey struct {
	Key

	SecretHash []byte // SHA-256
}

// KeyStore finds API keys.
type KeyStore interface {
	// APIKey fails with fault.NotFound if there is no such key.
	APIKey(ctx context.Context, id string) (StoredKey, error)

	// MarkAPIKeyUsed stores that a key is used now.
	MarkAPIKeyUsed(ctx context.Context, id string) error
}

// NewKey makes a key with a random id and secret. text is the credential that requests send; it is
// not stored anywhere.
func NewKey(k Key) (stored StoredKey, text string) {
	var id [keyIDBytes]byte
	var secret [secretBytes]byte
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(secret[:])
	k.ID = hex.EncodeToString(id[:])
	return StoredKey{Key: k, SecretHash: hashSecret(hex.EncodeToString(secret[:]))}, keyPrefix + k.ID + "_" + hex.EncodeToString(secret[:])
}

func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// parseKey splits the text of a key into its id and its secret. ok is false if the text cannot be a
// key: then no query is necessary.
func parseKey(text string) (id, secret string, ok bool) {
	id, secret, ok = strings.Cut(strings.TrimPrefix(text, keyPrefix), "_")
	return id, secret, ok && ValidKeyID(id) && isHex(secret, secretBytes)
}

// ValidKeyID reports whether a text has the form of a key's id.
func ValidKeyID(id string) bool { return isHex(id, keyIDBytes) }

func isHex(text string, bytes int) bool {
	return len(text) == 2*bytes && strings.Trim(text, "0123456789abcdef") == ""
}

// check returns the principal of a stored key if the secret is right. If the secret is wrong, the
// failure does not show whether the key has expired or was revoked.
func (k StoredKey) check(secret string, now time.Time) (principal.Principal, error) {
	switch {
	case subtle.ConstantTimeCompare(hashSecret(secret), k.SecretHash) != 1:
		return principal.Principal{}, errKey()
	case k.Revoked != nil:
		return principal.Principal{}, invalid("The API key was revoked.")
	case k.Expires != nil && !now.Before(*k.Expires):
		return principal.Principal{}, invalid("The API key has expired.")
	}
	p := principal.Principal{Owner: k.Owner, Scopes: k.Scopes, KeyID: k.ID}
	if k.Expires != nil {
		p.Expires = *k.Expires
	}
	return p, nil
}

// errKey returns the failure for a text that is not an API key, an unknown key, or a wrong secret.
func errKey() error { return invalid("The API key is not valid.") }

// KeyNotFound returns the failure of a request for a key that does not exist, or that belongs to
// another owner. The failure does not contain the id in the request, since a client may send a
// whole key in its place.
func KeyNotFound() error {
	return fault.New(fault.NotFound, "api-key-not-found", "There is no such API key.")
}
