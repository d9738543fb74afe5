// Package sniff tells from a body's first bytes whether it is audio that Sori knows.
//
// It guarantees:
//   - Only bytes decide. No file name and no Content-Type is asked.
//   - Any input is safe: no panic, no allocation that grows with it, and work linear in len(head), whatever the bytes claim.
//   - A media type is told only on evidence: a signature of a container together with the field that says what it
//     contains, or, for the formats that have no signature (MP3, ADTS), two frames that follow each other as their
//     headers say. Images, documents, archives and pure video that share a container's outer shape are refused.
//
// It does not validate: a body that passes may still be damaged. It reads beginnings, so MP4 and WebM, whose tracks are told
// further on, pass with or without pictures beside the sound.
package sniff

// HeadSize is how many leading bytes Detect wants, in bytes. It holds a whole ADTS frame of the greatest length (8191)
// with the header after it, and ID3v2 tags without pictures. A head shorter than HeadSize is taken for the whole body.
const HeadSize = 16 << 10

// detectors are asked in this order; the first that answers decides. Those with a signature come before those without.
func detectors() [9]func(head []byte) string {
	return [...]func(head []byte) string{riff, aiff, ogg, mp4, webm, amr, caf, flac, framed}
}

// Detect returns the media type of the audio that begins with head, and whether there is one. Known are
//
//	audio/wav     WAV, RF64 and BW64     audio/ogg     Ogg with Vorbis, Opus, FLAC or Speex
//	audio/aiff    AIFF and AIFF-C        audio/mp4     MP4, M4A and 3GP
//	audio/flac    FLAC                   audio/webm    WebM
//	audio/mpeg    MP3 and MP2            audio/amr     AMR, narrow-band
//	audio/aac     AAC in ADTS            audio/amr-wb  AMR, wide-band
//	audio/x-caf   Core Audio Format
//
// Give it the first HeadSize bytes, or the whole body where that is shorter.
func Detect(head []byte) (mediaType string, ok bool) {
	for _, detect := range detectors() {
		if mediaType = detect(head); mediaType != "" {
			return mediaType, true
		}
	}
	return "", false
}
