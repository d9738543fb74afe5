package media

import "encoding/binary"

// wave reads WAV (Microsoft RIFF, "Multimedia Programming Interface 1.0", and its "New Multimedia Data Types", which brought
// the fact chunk) and the 64-bit forms, RF64 (EBU Tech 3306) and BW64 (ITU-R BS.2088).
type wave struct {
	large    bool   // RF64 or BW64: sizes of 32 ones stand in the ds64 chunk
	riffSize uint64 // of what follows the file's first 8 bytes
	dataSize uint64 // as ds64 says, then as the data chunk says
	dataAt   int64  // 0 until the data chunk was found

	format     uint16
	channels   uint16
	rate       uint32 // sample frames a second
	byteRate   uint32 // bytes a second
	frameBytes uint16 // bytes of a sample frame (PCM) or block
	bits       uint16
	samples    uint32 // a channel, from the fact chunk
}

// Format tags (RFC 2361) whose sample frames all have frameBytes bytes.
const (
	wavePCM        = 0x0001
	waveFloat      = 0x0003
	waveALaw       = 0x0006
	waveMuLaw      = 0x0007
	waveExtensible = 0xFFFE // the tag stands in the first bytes of the sub-format

	ones32 = 0xFFFFFFFF // a size that is told elsewhere or was never filled in
)

func (w *wave) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		if string(b[8:12]) != "WAVE" {
			return stop()
		}
		w.large, w.riffSize = string(b[:4]) != "RIFF", uint64(binary.LittleEndian.Uint32(b[4:]))
		return 12, 8
	}
	size := binary.LittleEndian.Uint32(b[4:])
	need := 0
	switch string(b[:4]) {
	case "ds64":
		need = 16
	case "fmt ":
		need = 26
	case "fact":
		need = 4
	case "data":
		w.dataAt = off + 8
		if !w.large || size != ones32 {
			w.dataSize = uint64(size)
		}
		return stop()
	}
	if need = 8 + int(min(uint32(need), size)); len(b) < need {
		return off, need
	}
	w.chunk(string(b[:4]), b[8:])
	return off + 8 + int64(size) + int64(size&1), 8
}

// chunk takes what is needed of a chunk's data.
func (w *wave) chunk(id string, b []byte) {
	le := binary.LittleEndian
	switch {
	case id == "ds64" && len(b) >= 16 && w.large:
		w.riffSize, w.dataSize = le.Uint64(b), le.Uint64(b[8:])
	case id == "fmt " && len(b) >= 16:
		w.format, w.channels, w.rate = le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:])
		w.byteRate, w.frameBytes, w.bits = le.Uint32(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:])
		if w.format == waveExtensible && len(b) >= 26 {
			w.format = le.Uint16(b[24:])
		}
	case id == "fact" && len(b) >= 4:
		w.samples = le.Uint32(b)
	}
}

func (w *wave) seconds(size int64) float64 {
	if w.dataAt == 0 || w.dataAt > size || w.rate == 0 {
		return 0
	}
	data := w.present(size)
	switch w.format {
	case wavePCM, waveFloat, waveALaw, waveMuLaw:
		if w.frameBytes == 0 || uint32(w.frameBytes) != uint32(w.channels)*((uint32(w.bits)+7)/8) {
			return 0
		}
		return float64(data/int64(w.frameBytes)) / float64(w.rate)
	}
	if w.byteRate == 0 {
		return 0
	}
	estimate := float64(data) / float64(w.byteRate)
	if told := float64(w.samples) / float64(w.rate); told > 0 && told < 2*estimate+1 { // else the file was cut, or written to a pipe
		return told
	}
	return estimate
}

// present is how many bytes of sound the file has. A writer that cannot seek back leaves a size that is 0, or larger than any file: then
// all that follows is sound. A size of 0 is meant where the file's own size was filled in.
func (w *wave) present(size int64) int64 {
	rest := size - w.dataAt
	streamed := w.dataSize == 0 && w.riffSize != uint64(size-8)
	if streamed || w.dataSize > uint64(rest) {
		return rest
	}
	return int64(w.dataSize)
}

func (w *wave) describe(info *Info) { info.SampleRate, info.Channels = int(w.rate), int(w.channels) }
