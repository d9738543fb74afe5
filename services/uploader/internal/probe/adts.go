package probe

import "encoding/binary"

// adts reads AAC in ADTS (ISO/IEC 13818-7, section 6.2; ISO/IEC 14496-3, section 1.A.2.2): a row of frames, each of which tells
// its size and how many blocks of 1024 samples it has, at the core's sampling rate, which spectral band replication does not change.
type adts struct {
	stream uint32 // the fields that stay the same; 0 before the first frame
	rate   int    // samples a second
	blocks int64
	last   int64 // blocks in the last frame
	end    int64 // where that ends
	lost   bool  // something else than a frame was met
}

func (a *adts) step(off int64, b []byte) (int64, int) {
	const (
		header    = 7
		layer     = 0x00060000
		sameKinds = 0xFFFEFDC0 // sync, version, layer, profile, sampling rate, channels
	)
	h := binary.BigEndian.Uint32(b)
	stream, rate := h&sameKinds, adtsRate(h>>10&15)
	length := int64(binary.BigEndian.Uint32(b[2:])>>5) & 0x1FFF
	if h>>20 != 0xFFF || h&layer != 0 || length <= header || rate == 0 || a.stream != 0 && a.stream != stream {
		a.lost = !trailer(b)
		return stop()
	}
	a.stream, a.rate, a.last, a.end = stream, rate, int64(b[6]&3)+1, off+length
	a.blocks += a.last
	return a.end, header
}

// adtsRate is the sampling rate of an index (ISO/IEC 14496-3, table 1.18), 0 where there is none.
func adtsRate(index uint32) int {
	return [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}[index]
}

func (a *adts) seconds(size int64) float64 {
	if a.lost || a.rate == 0 {
		return 0
	}
	blocks := a.blocks
	if a.end > size { // the last frame was cut
		blocks -= a.last
	}
	return float64(blocks) * 1024 / float64(a.rate)
}
