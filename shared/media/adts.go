package media

// adts reads AAC in ADTS: a row of frames, each of which tells its size and how many blocks of 1024 samples it has, at the
// core's sampling rate, which spectral band replication does not change.
type adts struct {
	first   frame
	samples int64
	last    int64 // samples in the last frame
	end     int64 // where that ends
	lost    bool  // something else than a frame was met
}

func (a *adts) step(off int64, b []byte) (int64, int) {
	f, ok := adtsHeader(b)
	if !ok || a.first.stream != 0 && a.first.stream != f.stream {
		a.lost = !trailer(b)
		return stop()
	}
	if a.first.stream == 0 {
		a.first = f
	}
	a.last, a.end = int64(f.samples), off+int64(f.length)
	a.samples += a.last
	return a.end, adtsHeaderSize
}

func (a *adts) seconds(size int64) float64 {
	if a.lost || a.first.rate == 0 {
		return 0
	}
	samples := a.samples
	if a.end > size { // the last frame was cut
		samples -= a.last
	}
	return float64(samples) / float64(a.first.rate)
}

func (a *adts) describe(info *Info) {
	info.Container, info.MediaType = "adts", "audio/aac"
	info.Codec, info.SampleRate, info.Channels = a.first.codec, a.first.rate, a.first.channels
}
