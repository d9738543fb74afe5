package media

// amr reads the storage format of AMR and AMR-WB (RFC 4867, section 5): a row of frames of 20 ms, each of which tells its
// size. A decoder takes every byte for the beginning of a frame, also in a tag behind the sound, and plays what it can.
type amr struct {
	wide     bool
	channels int   // speech frames in 20 ms
	frames   int64 // that play
	silent   int64 // that do not
	last     int64 // 1 where the last frame plays only if it is whole
	end      int64 // where it ends
	damaged  bool  // something else than a frame was met
	trailing bool  // a tag was
}

const amrLost = 14 // the first of the frame types that have no speech

// amrSizes are the bytes of a frame with its header, by frame type, of AMR (3GPP TS 26.101) and AMR-WB (TS 26.201); those
// that are no types have a header alone.
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
	if a.channels == 0 { // the channel description: its last 4 bits
		a.channels = int(b[3] & 15)
		if a.channels == 0 {
			return stop()
		}
		return off + 4, 1
	}
	const padding = 0b10000011 // bits that are always 0
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

// frame takes a frame by its header. Comfort noise is not decoded; of AMR-WB a frame that is absent or marked as damaged
// plays in silence.
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
	if a.end > size { // the last one was cut
		if !a.damaged && !a.trailing {
			info.warn(Truncated)
		}
		frames -= a.last
	}
	if a.channels == 1 || a.channels > 1 && a.silent == 0 { // else it is not told which of the channels' frames play together
		info.play(float64(frames/int64(a.channels)), 50)
	}
}
