package decode

import (
	"bufio"
	"errors"
	"io"

	"github.com/jfreymuth/oggvorbis"
)

// vorbisStream hands out the samples of an Ogg Vorbis file (Xiph.Org, "Vorbis I specification").
type vorbisStream struct {
	r *oggvorbis.Reader
}

// openVorbis hides the seeker from the library: its search for the last page is not needed, and reads the end of the file for nothing.
func openVorbis(r io.ReadSeeker, _ int64) (Info, sampler, error) {
	v, err := oggvorbis.NewReader(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return Info{}, nil, malformed("read ogg header", err)
	}
	ch := v.Channels()
	info := Info{Format: "ogg", Codec: "vorbis", SampleRate: v.SampleRate(), Channels: ch, Roles: vorbisRoles(ch)}
	return info, &vorbisStream{r: v}, nil
}

// vorbisRoles follows section 4.3.9 of the specification, whose order is not WAVE's: the LFE comes last, the centre second.
func vorbisRoles(n int) []Role {
	roles := make([]Role, n)
	switch n {
	case 4:
		roles[2], roles[3] = RoleSurround, RoleSurround
	case 5:
		roles[3], roles[4] = RoleSurround, RoleSurround
	case 6, 7, 8:
		for i := 3; i < n-1; i++ {
			roles[i] = RoleSurround
		}
		roles[n-1] = RoleLFE
	}
	return roles
}

// read tells a stream that ends with a page marked as the last from one that just stops: the library learns the length of a stream that it
// cannot seek in from that page alone.
func (v *vorbisStream) read(p []float32) (int, error) {
	n, err := v.r.Read(p)
	switch {
	case err == nil, n > 0 && errors.Is(err, io.EOF):
		return n, nil
	case !errors.Is(err, io.EOF):
		return 0, malformed("read vorbis packet", err)
	case v.r.Length() == 0:
		return 0, malformed("read vorbis packet", io.ErrUnexpectedEOF)
	}
	return 0, io.EOF
}
