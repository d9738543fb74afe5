package media

// amr reads the storage format of AMR and AMR-WB (RFC 4867, section 5): a row of frames of 20 ms, each of which tells its size.
type amr struct {
	wide     bool
	channels int // speech frames in 20 ms
	frames   int64
	end      int64 // where it ends
	lost     bool  // something else than a frame was met
	trailing bool  // a tag was
}

// amrSizes are the bytes of a frame with its header, by frame type, of AMR (3GPP TS 26.101) and AMR-WB (TS 26.201); 0: no such type.
func amrSizes(wide bool) [16]int64 {
	if wide {
		return [...]int64{18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1}
	}
	return [...]int64{13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1}
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
	size := amrSizes(a.wide)[b[0]>>3&15]
	if size == 0 || b[0]&padding != 0 {
		if len(b) < 4 {
			return off, 4
		}
		a.trailing = trailer(b)
		a.lost = !a.trailing || a.wide // a decoder of AMR-WB plays what the letters of a tag make it believe
		return stop()
	}
	a.frames, a.end = a.frames+1, off+size
	return a.end, 1
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
	frames := a.frames
	if a.end > size { // the last one was cut
		info.warn(Truncated)
		frames--
	}
	if !a.lost && a.channels != 0 {
		info.play(float64(frames/int64(a.channels)), 50)
	}
}
