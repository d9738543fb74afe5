package media

// HeadSize is the number of leading bytes that Sniff needs. It is large enough for an ADTS frame of
// the greatest length (8191 bytes) with the header after it, and for ID3v2 tags without pictures.
// If Sniff gets fewer bytes, it takes them for the whole file.
const HeadSize = 16 << 10

// Sniff returns the media type of the audio that begins with head, and whether there is one. The
// media types are
//
//	audio/wav     WAV, RF64 and BW64     audio/ogg     Ogg with Vorbis, Opus, FLAC or Speex
//	audio/aiff    AIFF and AIFF-C        audio/mp4     MP4, M4A, MOV and 3GP
//	audio/flac    FLAC                   audio/webm    WebM
//	audio/mpeg    MP3, MP2 and MP1       audio/amr     AMR, narrow-band
//	audio/aac     AAC in ADTS            audio/amr-wb  AMR, wide-band
//	audio/x-caf   Core Audio Format
//
// ID3v2 tags may precede all formats. Other bytes may also precede frames of MPEG audio and ADTS,
// for example if a stream was cut, unless these bytes begin like another kind of file. head must be
// the first HeadSize bytes of the file, or the whole file if it is shorter.
func Sniff(head []byte) (mediaType string, ok bool) {
	rest := head
	for size := tagSize(rest, false); size > 0; size = tagSize(rest, true) {
		rest = rest[min(size, int64(len(rest))):]
	}
	if f, ok := find(rest); ok {
		if f.mediaType == mediaOgg && !soundAlone(rest) {
			return "", false
		}
		return f.mediaType, true
	}
	// If a tag leaves too few bytes of head for frames (a tag with a picture), the file is assumed
	// to be MPEG audio, for which such tags were made.
	if len(rest) < len(head) && len(head) >= HeadSize && len(rest) < longestRow {
		return mediaMPEG, true
	}
	return "", false
}

// Media types that are used more than once.
const (
	mediaMPEG  = "audio/mpeg"
	mediaADTS  = "audio/aac"
	mediaOgg   = "audio/ogg"
	mediaAMRWB = "audio/amr-wb"
)

// Types returns the media types that Sniff knows.
func Types() []string {
	return []string{
		"audio/wav", "audio/aiff", "audio/flac", mediaMPEG, mediaADTS, "audio/x-caf", mediaOgg, "audio/mp4", "audio/webm", "audio/amr", mediaAMRWB,
	}
}

// found is a container that find has recognised.
type found struct {
	mediaType string
	container string
	off       int  // byte at which the container begins
	junk      bool // other bytes precede the container
}

// find returns the container that b begins with. The first function that finds one decides: formats
// with a signature come before those without, and frames after other bytes come last.
func find(b []byte) (found, bool) {
	for _, sniff := range [...]func([]byte) string{
		sniffRIFF, sniffAIFF, sniffOgg, sniffMP4, sniffWebM, sniffAMR, sniffCAF, sniffFLAC, sniffFrames,
	} {
		if mediaType := sniff(b); mediaType != "" {
			return found{mediaType: mediaType, container: containerOf(mediaType)}, true
		}
	}
	if mediaType, off := searchFrames(b); mediaType != "" {
		return found{mediaType: mediaType, container: containerOf(mediaType), off: off, junk: true}, true
	}
	return found{}, false
}

func containerOf(mediaType string) string {
	switch mediaType {
	case mediaMPEG:
		return "mpeg"
	case mediaADTS:
		return "adts"
	case mediaAMRWB:
		return "amr"
	case "audio/x-caf":
		return "caf"
	default:
		return mediaType[len("audio/"):]
	}
}

// open returns the reader for a media type of find.
func open(mediaType string) reader {
	switch mediaType {
	case "audio/wav":
		return &wave{}
	case "audio/aiff":
		return &aiff{}
	case mediaOgg:
		return &ogg{}
	case "audio/mp4":
		return &mp4{}
	case "audio/webm":
		return &webm{}
	case "audio/x-caf":
		return &caf{}
	case "audio/flac":
		return &flac{}
	case mediaMPEG:
		return &mpeg{}
	case mediaADTS:
		return &adts{}
	default:
		return &amr{}
	}
}
