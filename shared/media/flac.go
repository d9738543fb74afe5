package media

import "encoding/binary"

// flac reads native FLAC: STREAMINFO, always the first metadata block, tells the number of samples (RFC 9639, section 8.2).
type flac struct {
	rate    uint32 // samples a second
	samples uint64 // a channel; 0 where the encoder did not know
}

func (f *flac) step(off int64, b []byte) (int64, int) {
	const need = 4 + 4 + 34
	if len(b) < need {
		return off, need
	}
	if binary.BigEndian.Uint32(b[4:])&^(1<<31) == 34 {
		f.rate, f.samples, _ = streamInfo(b[8:])
	}
	return stop()
}

func (f *flac) seconds(int64) float64 {
	return float64(f.samples) / float64(f.rate)
}

// streamInfo reads the 34 bytes of a STREAMINFO block: the sampling rate, the number of samples, and the most samples of a block.
func streamInfo(b []byte) (rate uint32, samples uint64, block uint16) {
	fields := binary.BigEndian.Uint64(b[10:]) // rate 20 bits, channels 3, depth 5, samples 36
	return uint32(fields >> 44), fields & (1<<36 - 1), binary.BigEndian.Uint16(b[2:])
}

func (f *flac) describe(info *Info) {
	info.Container, info.MediaType, info.Codec, info.SampleRate = "flac", "audio/flac", "flac", int(f.rate)
}
