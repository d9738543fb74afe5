package media

import (
	"fmt"

	"sori.internal/shared/fault"
)

// Unsupported returns the failure of a file that is not audio of a known format.
func Unsupported() error {
	return fault.New(fault.Unsupported, "unsupported-audio", "The file is not audio of a known format.")
}

// CheckHead returns the media type of a recording by its first HeadSize bytes, or by all its bytes if
// it has fewer. It fails with fault.Unsupported if the recording cannot be analysed.
func CheckHead(head []byte) (mediaType string, err error) {
	mediaType, ok := Sniff(head)
	if !ok {
		return "", Unsupported()
	}
	meter := NewMeter(-1)
	_, _ = meter.Write(head) // never fails
	return mediaType, meter.Info().CheckDecodable(false)
}

// CheckDecodable fails with fault.Unsupported if the codec of a recording is known and cannot be
// decoded. If whole is false, only the head of the recording is known: a track without sound is
// allowed then, since a track with sound may follow.
func (i Info) CheckDecodable(whole bool) error {
	sound := i.Channels > 0
	if i.Codec == "" || Decodable(i.Codec) || !whole && !sound {
		return nil
	}
	return &fault.Error{
		Kind: fault.Unsupported, Code: "unsupported-codec", Extra: map[string]any{"codec": i.Codec},
		Detail: fmt.Sprintf("The file holds %s, which cannot be decoded as sound. "+
			"Usable are PCM, FLAC, ALAC, MP3, AAC, Opus, Vorbis, Speex, AMR, GSM and ADPCM.", i.Codec),
	}
}
