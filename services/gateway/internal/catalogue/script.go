package catalogue

import "sori.internal/shared/fault"

// Script is the text that is spoken in a part of a token.
type Script struct {
	ID          int64
	Version     int64
	Token       int64
	Start       float64 // seconds
	End         float64
	Text        string
	Translation *string
}

// DecodeScript reads a script from a JSON object.
func DecodeScript(body []byte) (Script, error) {
	f, err := parseObject(body)
	if err != nil {
		return Script{}, err
	}
	s := Script{
		Token: f.id("token_id"), Text: f.required("script", f.prose), Translation: f.prose("translation"),
	}
	s.Start, s.End = f.times()
	return s, f.err()
}

// TokenMissing returns the failure of a script for a token that does not exist.
func TokenMissing(cause error) error {
	return fault.Wrap(fault.Conflict, "token-missing", "There is no token with the script's token_id.", cause)
}
