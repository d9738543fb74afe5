package principal

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// ReferencesHeader carries the reference files of the token of a request from the gateway, which owns
// the catalogue, to a service behind it: JSON, encoded in base64url. The gateway removes it from the
// requests of clients. A service trusts it only in a request with a signed principal.
const ReferencesHeader = "Sori-References"

// References are the reference files of a token, as in the catalogue; empty if it has none.
type References struct {
	TextGridURL string `json:"s3_textgrid_url,omitempty"`
	PitchURL    string `json:"s3_pitch_url,omitempty"`
}

// Header returns the value of ReferencesHeader.
func (r References) Header() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode references: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

// ParseReferences returns the references in the value of ReferencesHeader.
func ParseReferences(header string) (References, error) {
	var r References
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return References{}, fmt.Errorf("read references: %w", err)
	}
	return r, nil
}
