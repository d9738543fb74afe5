package media

// adts reads AAC in ADTS: a sequence of frames. The header of each frame states its size and its
// number of blocks of 1024 samples. The samples count at the sampling rate of the AAC core, which
// spectral band replication does not change.
type adts struct {
	first    frame // the first frame; its length is 0 until it is read
	samples  int64
	last     int64 // samples in the last frame
	end      int64 // byte at which the last frame ends
	lost     bool  // reading stopped at bytes that are no frame
	trailing bool  // reading stopped at a tag
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
	if a.end > size { // the file ends within the last frame
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
