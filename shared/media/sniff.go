package media

// HeadSize is how many leading bytes Sniff wants, in bytes. It holds a whole ADTS frame of the greatest length (8191)
// with the header after it, and ID3v2 tags without pictures. A head shorter than HeadSize is taken for the whole body.
const HeadSize = 16 << 10

// detectors are asked in this order; the first that answers decides. Those with a signature come before those without.
func detectors() [9]func(head []byte) string {
	return [...]func(head []byte) string{sniffRIFF, sniffAIFF, sniffOgg, sniffMP4, sniffWebM, sniffAMR, sniffCAF, sniffFLAC, sniffFrames}
}

// Sniff returns the media type of the audio that begins with head, and whether there is one. Known are
//
//	audio/wav     WAV, RF64 and BW64     audio/ogg     Ogg with Vorbis, Opus, FLAC or Speex
//	audio/aiff    AIFF and AIFF-C        audio/mp4     MP4, M4A and 3GP
//	audio/flac    FLAC                   audio/webm    WebM
//	audio/mpeg    MP3 and MP2            audio/amr     AMR, narrow-band
//	audio/aac     AAC in ADTS            audio/amr-wb  AMR, wide-band
//	audio/x-caf   Core Audio Format
//
// Give it the first HeadSize bytes, or the whole body where that is shorter.
func Sniff(head []byte) (mediaType string, ok bool) {
	for _, detect := range detectors() {
		if mediaType = detect(head); mediaType != "" {
			return mediaType, true
		}
	}
	return "", false
}
