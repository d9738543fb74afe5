// Package uploadrequest encodes and parses the header in which the gateway describes an upload to
// the service that answers the request. The gateway owns the catalogue of tokens and parses the
// client's request. The header contains the token, its references, and the client's metadata.
//
// The header is not signed. A service trusts it only together with a signed principal (package
// principal): the gateway removes both headers from the requests of clients.
package uploadrequest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
)

// Header carries a Description: base64 (RFC 4648, section 5, without padding) of JSON.
const Header = "Sori-Upload"

// Description describes an upload.
type Description struct {
	TokenID     int64  `json:"token_id"`
	TextGridURL string `json:"s3_textgrid_url,omitempty"` // reference TextGrid of the token, as stored in the catalogue
	PitchURL    string `json:"s3_pitch_url,omitempty"`    // reference pitch of the token, as stored in the catalogue
	FileName    string `json:"file_name,omitempty"`
	SHA256      string `json:"sha256,omitempty"` // hash that the client announced, in hexadecimal
	Fresh       bool   `json:"fresh,omitempty"`  // the recording is to be analysed, even if a result is cached
}

// Encode returns the value of the header.
func (d Description) Encode() (string, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("describe an upload: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

// FromHeader returns the description in the header of a request. It fails if the header is missing
// or malformed.
func FromHeader(h http.Header) (Description, error) {
	var d Description
	text, err := base64.RawURLEncoding.DecodeString(h.Get(Header))
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err == nil && d.TokenID < 1 {
		err = fmt.Errorf("token %d", d.TokenID)
	}
	if err != nil {
		return Description{}, fmt.Errorf("%s: %w", Header, err)
	}
	return d, nil
}
