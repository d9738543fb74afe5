package catalogue

// Token is a line to be spoken, with its references. Optional fields are nil if they are unknown.
type Token struct {
	ID          int64
	Version     int64
	Name        string
	Actor       string // a name; an actor of this name need not exist
	Category    *string
	Start       float64 // seconds
	End         float64
	TextGridURL *string
	PitchURL    *string
	BGVoiceURL  *string
	YouTubeURL  *string

	// Scripts has the token's first scripts in the order of their start times: at most MaxPage
	// scripts, and at most MaxText bytes for all tokens in a list. Scripts are entries of their
	// own: a change of the token does not change them.
	Scripts []Script
	// ScriptsTruncated reports whether the token has scripts that are not in Scripts.
	ScriptsTruncated bool
}

// Filter selects tokens for a list. An empty field matches every token.
type Filter struct {
	Category string // the whole category
	Actor    string // the whole name of the actor
	Search   string // part of the token's name, in any case

	WithoutScripts bool // leave the scripts of the tokens out
}

// DecodeToken reads a token from a JSON object. check returns an error if a reference may not be
// stored.
func DecodeToken(body []byte, check func(ref string) error) (Token, error) {
	f, err := parseObject(body)
	if err != nil {
		return Token{}, err
	}
	t := Token{
		Name: f.required("token_name", f.name), Actor: f.required("actor_name", f.name), Category: f.name("category"),
		TextGridURL: f.reference("s3_textgrid_url", check), PitchURL: f.reference("s3_pitch_url", check),
		BGVoiceURL: f.playable("s3_bgvoice_url", check), YouTubeURL: f.link("youtube_url"),
	}
	t.Start, t.End = f.times()
	return t, f.err()
}
