package media

import (
	"fmt"

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
	if !ok {
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
