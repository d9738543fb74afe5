package ratelimit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// Set contains the limits of the gateway. All limits must be added before the set is used.
type Set struct {
	secret        secret
	rates         map[string]*Rate
	concurrencies map[string]*Concurrency
}

// NewSet makes an empty set. shared is a secret that all replicas of the gateway have; it may have
// other uses too.
func NewSet(shared string) *Set {
	mac := hmac.New(sha256.New, []byte(shared))
	_, _ = mac.Write([]byte("clients of the rate limits")) // a hash returns no error
	s := &Set{rates: map[string]*Rate{}, concurrencies: map[string]*Concurrency{}}
	copy(s.secret[:], mac.Sum(nil))
	return s
}

// secret is derived from the secret of the replicas.
type secret [sha256.Size]byte

// key identifies a client, on NATS too. It is a hash, because addresses and owners are personal
// data and whoever watches or records the traffic of NATS does not need them. The hash has a
// secret, because otherwise anybody could hash all addresses and compare. The replicas only compare
// keys and verify nothing with them, so HMAC is not needed.
type key [16]byte

// key returns the key of a client.
func (s *secret) key(client string) key {
	var buf [320]byte // enough for the longest owner without an allocation
	sum := sha256.Sum256(append(append(buf[:0], s[:]...), client...))
	return key(sum[:])
}

var errKey = errors.New("not the key of a client")

// MarshalText implements encoding.TextMarshaler.
func (k key) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, k[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *key) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	if err != nil || len(raw) != len(k) {
		return errKey
	}
	copy(k[:], raw)
	return nil
}
