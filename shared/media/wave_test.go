package media

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestTheCodecOfAnExtensibleWaveIsInItsGUID(t *testing.T) {
	t.Parallel()
	le := binary.LittleEndian
	for name, c := range map[string]struct{ guid, codec string }{
		"PCM":            {"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71", "pcm_s16le"},
		"mu-law":         {"\x07\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71", "pcm_mulaw"},
		"PCM, ambisonic": {"\x01\x00\x00\x00\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\x00\x00\x00", "pcm_s16le"},
		"another one":    {"0123456789abcdef", "wav-guid-30313233343536373839616263646566"},
	} {
		format := le.AppendUint16(le.AppendUint16(nil, waveExtensible), 4)
		format = le.AppendUint32(le.AppendUint32(format, 48000), 8*48000)
		format = le.AppendUint16(le.AppendUint16(format, 8), 16)
		format = le.AppendUint32(le.AppendUint16(le.AppendUint16(format, 22), 16), 0)
		format = append(format, c.guid...)
		file := bytes.Join([][]byte{[]byte("RIFF\xff\xff\xff\xffWAVE"), le32("fmt ", 40), format, le32("data", 8), make([]byte, 8)}, nil)
		if info := describe(file, len(file)); info.Codec != c.codec || info.Channels != 4 {
			t.Errorf("%s: %+v", name, info)
		}
	}
}
