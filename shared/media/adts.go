package media

// adts reads AAC in ADTS: a row of frames, each of which tells its size and how many blocks of 1024 samples it has, at the
// core's sampling rate, which spectral band replication does not change.
type adts struct {
	first    frame // of length 0 before the first one
	samples  int64
	last     int64 // samples in the last frame
	end      int64 // where that ends
	lost     bool  // something else than a frame was met
	trailing bool  // a tag was
}

func (a *adts) step(off int64, b []byte) (int64, int) {
	f, ok := adtsHeader(b)
	if !ok || a.first.length != 0 && a.first.stream != f.stream {
		a.trailing = trailer(b)
		a.lost = !a.trailing
		return stop()
	}
	if a.first.length == 0 {
		a.first = f
	}
	a.last, a.end = int64(f.samples), off+int64(f.length)
	a.samples += a.last
	return a.end, adtsHeaderSize
}

func (a *adts) describe(info *Info, size int64, _ []byte) {
	if a.first.rate == 0 {
		return
	}
	info.Codec, info.SampleRate, info.Channels = a.first.codec, a.first.rate, a.first.channels
	samples := a.samples
	if a.end > size { // the last frame was cut
		info.warn(Truncated)
		samples -= a.last
	}
	switch {
	case a.trailing:
		info.warn(TrailingData)
	case a.lost:
		info.warn(Damaged)
		return
	}
	info.play(float64(samples), float64(a.first.rate))
}
