package source

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"sori.internal/shared/fault"
)

// Sealer encrypts sources for events, with AES-256-GCM. It is safe for concurrent use.
type Sealer struct {
	aead        cipher.AEAD
	fingerprint []byte // key of Fingerprint
}

// keySize is the size of the derived keys, in bytes.
const keySize = 32

// NewSealer makes a Sealer. Its keys are derived from a secret that the services share.
func NewSealer(secret string) (*Sealer, error) {
	sealing, err := hkdf.Key(sha256.New, []byte(secret), nil, "sori source: seal", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	fingerprint, err := hkdf.Key(sha256.New, []byte(secret), nil, "sori source: fingerprint", keySize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return &Sealer{aead: aead, fingerprint: fingerprint}, nil
}

// Seal encrypts a source for a job. The result can be opened for this job only.
func (s *Sealer) Seal(job string, src Source) (string, error) {
	text, err := json.Marshal(src)
	if err != nil {
		return "", fmt.Errorf("encode a source: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, []byte(job))), nil
}

// Open returns the source that was sealed for a job. It fails with fault.Invalid if the secret has
// changed since, or if the source was sealed for another job.
func (s *Sealer) Open(job, sealed string) (Source, error) {
	var src Source
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		text, err = s.aead.Open(nil, nil, text, []byte(job))
	}
	if err == nil {
		err = json.Unmarshal(text, &src)
	}
	if err != nil {
		return Source{}, fault.New(fault.Invalid, "source-unreadable",
			"The source of the recording cannot be read: the secret of the services was changed since.")
	}
	return src, nil
}

// Fingerprint returns a keyed hash of a source, in hexadecimal. Equal sources have equal
// fingerprints, and a fingerprint reveals nothing else about its source.
func (s *Sealer) Fingerprint(src Source) (string, error) {
	text, err := json.Marshal(src) // package json sorts the names of headers, so that equal sources have equal texts
	if err != nil {
		return "", fmt.Errorf("encode a source: %w", err)
	}
	mac := hmac.New(sha256.New, s.fingerprint)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)), nil
}
