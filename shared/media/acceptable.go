package media

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"sori.internal/shared/fault"
)

// Recognize returns the media type of the recording that begins with head (see Sniff). It fails
// with fault.Invalid if the recording is empty, and with fault.Unsupported if it is not audio of a
// known format, or has a codec that cannot be decoded.
func Recognize(head []byte) (mediaType string, err error) {
	if len(head) == 0 {
		return "", fault.New(fault.Invalid, "empty-file", "The file is empty.")
	}
	mediaType, ok := Sniff(head)
	switch {
	case !ok && isText(head):
		return "", fault.New(fault.Unsupported, "unsupported-audio",
			"The file is text, not audio. Send the bytes of the recording, not its name, its URL or its Base64.")
	case !ok:
		return "", fault.New(fault.Unsupported, "unsupported-audio", "The file is not audio of a known format.")
	}
	meter := NewMeter(-1)
	_, _ = meter.Write(head) // never fails
	info := meter.Info()
	if info.Channels == 0 { // no audio track in head; one may follow
		return mediaType, nil
	}
	return mediaType, CheckDecodable(info)
}

// textHead is the number of bytes by which a text is recognised.
const textHead = 512

// isText reports whether a file begins as a text does. Clients send a text instead of a recording by
// mistake: curl without the @ before the name of the file, pages that append "[object Object]" to a form,
// or apps that send the URI of a file or Base64.
func isText(head []byte) bool {
	for s := string(head[:min(len(head), textHead)]); s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return len(s) < utf8.UTFMax && len(head) > textHead // the last character may be cut
		}
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return false
		}
		s = s[n:]
	}
	return true
}

// CheckDecodable fails with fault.Unsupported for a recording whose codec is known and cannot be
// decoded.
func CheckDecodable(info Info) error {
	if info.Codec == "" || Decodable(info.Codec) {
		return nil
	}
	return &fault.Error{
		Kind: fault.Unsupported, Code: "unsupported-codec", Extra: map[string]any{"codec": info.Codec},
		Detail: fmt.Sprintf("The file holds %s, which cannot be decoded as sound. "+
			"Usable are PCM, FLAC, ALAC, MP3, AAC, Opus, Vorbis, Speex, AMR, GSM and ADPCM.", info.Codec),
	}
}
