package media

// amr reads the storage format of AMR and AMR-WB (RFC 4867, section 5): a sequence of frames of 20
// ms. The header of each frame states its size. A decoder treats every byte after a frame as the
// header of the next one, also in a tag after the sound, and plays what it can.
type amr struct {
	wide     bool
	channels int   // number of channels; each channel has one frame every 20 ms
	frames   int64 // number of frames that a decoder plays
	silent   int64 // number of frames that a decoder does not play
	last     int64 // 1 if the last frame plays only if it is complete, otherwise 0
	end      int64 // byte at which the last frame ends
	damaged  bool  // bytes that are no frame were read
	trailing bool  // a tag was read
}

const amrLost = 14 // the first of the frame types without speech

// amrSizes returns the size in bytes of a frame with its header, by frame type, of AMR (3GPP TS
// 26.101) or AMR-WB (TS 26.201). Undefined types have a header only.
func amrSizes(wide bool) [16]int64 {
	if wide {
		return [...]int64{18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1}
	}
	return [...]int64{13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1}
}

func (a *amr) step(off int64, b []byte) (int64, int) {
	if off == 0 {
		return a.magic(b)
	}
	if a.channels == 0 { // the last 4 bits of the channel description are the number of channels
		a.channels = int(b[3] & 15)
		if a.channels == 0 {
			return stop()
		}
		return off + 4, 1
	}
	const padding = 0b10000011 // mask of the header bits that are always 0
	kind, size := b[0]>>3&15, amrSizes(a.wide)[b[0]>>3&15]
	if known := b[0]&padding == 0 && (size > 1 || kind >= amrLost); !known && !a.damaged && !a.trailing {
		if len(b) < 4 {
			return off, 4
		}
		a.trailing = trailer(b)
		a.damaged = !a.trailing
	}
	a.end = off + size
	a.frame(b[0])
	return a.end, 1
}

// frame counts a frame by the type in its header. Decoders do not play frames of comfort noise. In
// AMR-WB they play a frame without data, or one that is marked as damaged, as silence.
func (a *amr) frame(header byte) {
	const noData, good, speechTypes, wideSpeechTypes = 15, 0b100, 8, 9
	kind := header >> 3 & 15
	a.last = 0
	switch {
	case a.wide && (kind == noData || header&good == 0):
		a.frames++
	case kind < speechTypes, a.wide && kind < wideSpeechTypes:
		a.frames, a.last = a.frames+1, 1
	default:
		a.silent++
	}
}

func (a *amr) magic(b []byte) (int64, int) {
	const most = 15
	if len(b) < most {
		return 0, most
	}
	for _, m := range [...]struct {
		prefix         string
		wide, channels bool
	}{{"#!AMR\n", false, false}, {"#!AMR-WB\n", true, false}, {"#!AMR_MC1.0\n", false, true}, {"#!AMR-WB_MC1.0\n", true, true}} {
		if n := len(m.prefix); string(b[:n]) == m.prefix {
			a.wide = m.wide
			if m.channels {
				return int64(n), 4
			}
			a.channels = 1
			return int64(n), 1
		}
	}
	return stop()
}

func (a *amr) describe(info *Info, size int64, _ []byte) {
	info.Codec, info.SampleRate, info.Channels = "amr_nb", 8000, a.channels
	if a.wide {
		info.Codec, info.SampleRate = "amr_wb", 16000
	}
	if a.trailing {
		info.warn(TrailingData)
	}
	if a.damaged {
		info.warn(Damaged)
	}
	frames := a.frames
	if a.end > size { // the file ends within the last frame
		if !a.damaged && !a.trailing {
			info.warn(Truncated)
		}
		frames -= a.last
	}
	if a.channels == 1 || a.channels > 1 && a.silent == 0 { // if a frame of one channel is not played, it is unknown which frames play at the same time
		info.play(float64(frames/int64(a.channels)), 50)
	}
}
