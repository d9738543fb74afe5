package media

import "encoding/binary"

// wave reads WAV (Microsoft RIFF, "Multimedia Programming Interface 1.0", and its "New Multimedia
// Data Types", which added the fact chunk) and the 64-bit forms, RF64 (EBU Tech 3306) and BW64
// (ITU-R BS.2088).
type wave struct {
	large    bool   // RF64 or BW64: a size of 0xFFFFFFFF means that the size is in the ds64 chunk
	riffSize uint64 // size after the file's first 8 bytes, as the header states
	dataSize uint64 // size of the sound, from the ds64 chunk or the data chunk
	dataAt   int64  // byte at which the sound begins; 0 until the data chunk was found

	format     uint16
	channels   uint16
	rate       uint32 // sample frames per second
	byteRate   uint32 // bytes per second
	frameBytes uint16 // bytes of a sample frame (PCM) or block
	bits       uint16
	guid       string // GUID of WAVE_FORMAT_EXTENSIBLE
	frames     *mpeg  // reads the sound if it consists of MPEG frames
	trailing   bool   // a tag follows the sound
}

const (
	waveExtensible = 0xFFFE     // format tag which means that a GUID states the format
	leastStreamed  = 0x7FFF0000 // sizes from here on are placeholders: the writer did not know the size
	ones32         = 0xFFFFFFFF // placeholder for a size that is in the ds64 chunk, or that the writer did not know
)

func (w *wave) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		if string(b[8:12]) != "WAVE" {
			return stop()
		}
		w.large, w.riffSize = string(b[:4]) != "RIFF", uint64(binary.LittleEndian.Uint32(b[4:]))
		return 12, 8
	}
	if w.frames != nil && off < w.dataAt+w.dataBytes() { // MPEG frames are read as in a file without a container
		next, want := w.frames.step(off-w.dataAt, b)
		if want > 0 {
			return w.dataAt + next, want
		}
		return w.afterSound()
	}
	if w.dataAt != 0 { // b follows the sound
		w.trailing = trailer(b)
		return stop()
	}
	size := binary.LittleEndian.Uint32(b[4:])
	need := 0
	switch string(b[:4]) {
	case "ds64":
		need = 16
	case "fmt ":
		need = 40
	case "data":
		w.dataAt = off + 8
		if !w.large || size != ones32 {
			w.dataSize = uint64(size)
		}
		if name := waveTag(w.format); name == "mp3" || name == "mp2" {
			w.frames = &mpeg{plain: true}
			return w.dataAt, mpegHeaderSize
		}
		return w.afterSound()
	}
	if need = 8 + int(min(uint32(need), size)); len(b) < need {
		return off, need
	}
	w.chunk(string(b[:4]), b[8:])
	return off + 8 + int64(size) + int64(size&1), 8
}

// dataBytes returns how many bytes of sound the header states, or pastEnd/2 if it states none.
func (w *wave) dataBytes() int64 {
	if w.dataSize == 0 || w.dataSize >= pastEnd/2 {
		return pastEnd / 2
	}
	return int64(w.dataSize)
}

// afterSound returns the bytes to read after the sound, or stops if the header does not state where
// the sound ends.
func (w *wave) afterSound() (next int64, want int) {
	size := w.dataBytes()
	if size == pastEnd/2 {
		return stop()
	}
	return w.dataAt + size + size&1, 8
}

// chunk reads the needed fields of a chunk's data.
func (w *wave) chunk(id string, b []byte) {
	le := binary.LittleEndian
	switch {
	case id == "ds64" && len(b) >= 16 && w.large:
		w.riffSize, w.dataSize = le.Uint64(b), le.Uint64(b[8:])
	case id == "fmt " && len(b) >= 16:
		w.format, w.channels, w.rate = le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:])
		w.byteRate, w.frameBytes, w.bits = le.Uint32(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:])
		if w.format == waveExtensible && len(b) >= 40 {
			w.guid = string(b[24:40])
			if valid := le.Uint16(b[18:]); valid != 0 {
				w.bits = valid
			}
		}
	}
}

// present returns how many bytes of sound the file has. A writer that cannot seek back to the
// header leaves a size there that is 0, or larger than the file: then all bytes to the end are
// sound. A size of 0 is correct if the RIFF header has the file's true size.
func (w *wave) present(size int64) int64 {
	rest := size - w.dataAt
	streamed := w.dataSize == 0 && w.riffSize != uint64(size-8)
	if streamed || w.dataSize > uint64(rest) {
		return rest
	}
	return int64(w.dataSize)
}

func (w *wave) describe(info *Info, size int64, _ []byte) {
	info.SampleRate, info.Channels = int(w.rate), int(w.channels)
	if w.rate == 0 && w.channels == 0 {
		return
	}
	info.Codec = w.codec()
	if w.dataAt == 0 || w.dataAt > size || w.rate == 0 || w.channels == 0 {
		return
	}
	data := w.present(size)
	if w.dataSize > uint64(size-w.dataAt) && w.dataSize < leastStreamed {
		info.warn(Truncated)
	}
	if w.trailing {
		info.warn(TrailingData)
	}
	if w.frames != nil {
		info.play(float64(w.frames.frames*int64(w.frames.first.samples)), float64(w.rate))
		return
	}
	if sample := pcmBytes(info.Codec); sample != 0 {
		frame := sample * int(w.channels)
		if int(w.frameBytes) != frame {
			info.warn(WrongBlockAlign)
		}
		info.play(float64(pcmFrames(data, int64(w.frameBytes), int64(frame))), float64(w.rate))
		return
	}
	info.play(w.blocks(info.Codec, data), float64(w.rate))
}

// blocks returns the number of samples per channel in data bytes of a block codec, or 0 if it is
// not known.
func (w *wave) blocks(codec string, data int64) float64 {
	align, channels, bits := int64(w.frameBytes), int64(w.channels), int64(w.bits)
	switch codec {
	case "adpcm_ima_wav":
		if head := 4 * channels; bits >= 2 && bits <= 5 && align > head {
			return inBlocks(data, align, func(n int64) int64 { return 1 + max(0, n-head)*8/(bits*channels) }, head)
		}
	case "adpcm_ms":
		if head := 7 * channels; channels <= 2 && align > head {
			return inBlocks(data, align, func(n int64) int64 { return 2 + (n-head)*2/channels }, head)
		}
	case "gsm_ms":
		const block, samples = 65, 320
		if align == block {
			return float64(data / block * samples)
		}
		return float64(data) * float64(w.rate) / float64(w.byteRate)
	case "adpcm_g726":
		if bits >= 2 && bits <= 5 {
			return float64(data * 8 / bits)
		}
	case "adpcm_yamaha":
		return float64(data * 2 / channels)
	}
	return 0
}

// inBlocks returns the number of samples in data that consists of blocks. The parameter data is the
// size of all blocks, align the size of one block, and head the size of a block's header, all in
// bytes. samples returns the number of samples in a block of a given size. The last block may be
// shorter, but must be longer than its header.
func inBlocks(data, align int64, samples func(block int64) int64, head int64) float64 {
	n := data / align * samples(align)
	if rest := data % align; rest > head {
		n += samples(rest)
	}
	return float64(n)
}

// pcmFrames returns the number of sample frames in PCM data. The parameter data is the size of the
// data, frame the actual size of a sample frame, and align the size of a sample frame that the
// header states, all in bytes. A decoder gets packets whose size is a multiple of align, and drops
// the incomplete sample frame at the end of each packet.
func pcmFrames(data, align, frame int64) int64 {
	const packet = 4096 // approximate size of a packet, in bytes
	if align <= 1 || frame == align {
		return data / frame
	}
	whole := max(packet/align, 1) * align
	return data/whole*(whole/frame) + data%whole/frame
}
