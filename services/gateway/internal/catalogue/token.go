package catalogue

// Token is one line to be spoken, with its references. The optional fields are
// nil where they are not known.
type Token struct {
	ID          int64
	Version     int64
	Name        string
	Actor       string // the name, whether or not there is such an actor
	Category    *string
	Start       float64 // seconds
	End         float64
	TextGridURL *string
	PitchURL    *string
	BGVoiceURL  *string
	YouTubeURL  *string

	// Scripts are its first scripts along its time line, MaxPage at most. They are
	// entries of their own: no change of the token is one of them.
	Scripts []Script
}

// Filter chooses tokens for a list. Empty fields choose all.
type Filter struct {
	Category string // equal
	Actor    string // equal
	Search   string // part of the token's name, in any case
}

// DecodeToken reads a token out of a JSON object.
func DecodeToken(body []byte) (Token, error) {
	f, err := read(body)
	if err != nil {
		return Token{}, err
	}
	t := Token{
		Name: f.required("token_name", f.name), Actor: f.required("actor_name", f.name), Category: f.name("category"),
		TextGridURL: f.reference("s3_textgrid_url"), PitchURL: f.reference("s3_pitch_url"),
		BGVoiceURL: f.reference("s3_bgvoice_url"), YouTubeURL: f.url("youtube_url"),
	}
	t.Start, t.End = f.times()
	return t, f.err()
}
