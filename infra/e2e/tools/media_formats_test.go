//go:build tools

package tools_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/media"
)

// A mediaFormat is an audio format, with the ffmpeg arguments that write it.
type mediaFormat struct {
	file      string // name of the file; the extension selects the container
	args      string // arguments of ffmpeg; empty for a file of testdata
	mediaType string
	piped     bool // whether ffmpeg can also write the format to a pipe

	// The variants whose duration is unknown. For example, a tag before an MP4 file makes the offsets in the file wrong.
	unknown string
}

// mediaFormats returns the formats that the API accepts.
func mediaFormats() []mediaFormat {
	return []mediaFormat{
		{file: "u8.wav", args: "-c:a pcm_u8", mediaType: "audio/wav"},
		{file: "s16.wav", args: "-c:a pcm_s16le", mediaType: "audio/wav", piped: true},
		{file: "s24.wav", args: "-c:a pcm_s24le -ac 6", mediaType: "audio/wav"},
		{file: "f64.wav", args: "-c:a pcm_f64le", mediaType: "audio/wav"},
		{file: "rf64.wav", args: "-rf64 always", mediaType: "audio/wav"},
		{file: "alaw.wav", args: "-c:a pcm_alaw -ar 8000", mediaType: "audio/wav"},
		{file: "mulaw.wav", args: "-c:a pcm_mulaw -ar 8000", mediaType: "audio/wav"},
		{file: "ima.wav", args: "-c:a adpcm_ima_wav -ac 2", mediaType: "audio/wav"},
		{file: "ms.wav", args: "-c:a adpcm_ms", mediaType: "audio/wav"},
		{file: "gsm.wav", args: "-c:a libgsm_ms -ar 8000", mediaType: "audio/wav"},
		{file: "mp3.wav", args: "-c:a libmp3lame", mediaType: "audio/wav", unknown: "cut"}, // the cut may be within a frame
		{file: "s16.aiff", args: "-c:a pcm_s16be", mediaType: "audio/aiff"},
		{file: "alaw.aiff", args: "-c:a pcm_alaw", mediaType: "audio/aiff"},
		{file: "ima.aiff", args: "-c:a adpcm_ima_qt", mediaType: "audio/aiff"},
		{file: "s16.caf", args: "-c:a pcm_s16be", mediaType: "audio/x-caf", piped: true},
		{file: "f32.caf", args: "-c:a pcm_f32le", mediaType: "audio/x-caf"},
		{file: "alac.caf", args: "-c:a alac", mediaType: "audio/x-caf"},
		{file: "alac-6.caf", args: "-c:a alac -ac 6", mediaType: "audio/x-caf"},
		{file: "flac.caf", args: "-c:a flac", mediaType: "audio/x-caf", unknown: "whole tagged"},
		{file: "opus.caf", args: "-c:a libopus", mediaType: "audio/x-caf"},
		{file: "ima.caf", args: "-c:a adpcm_ima_qt", mediaType: "audio/x-caf"},
		{file: "a.flac", args: "-c:a flac", mediaType: "audio/flac", piped: true},
		{file: "cbr.mp3", args: "-b:a 64k", mediaType: "audio/mpeg", piped: true},
		{file: "vbr.mp3", args: "-q:a 4 -ac 2", mediaType: "audio/mpeg"},
		{file: "8k.mp3", args: "-ar 8000", mediaType: "audio/mpeg"},
		{file: "plain.mp3", args: "-write_xing 0 -id3v2_version 0", mediaType: "audio/mpeg"},
		{file: "a.mp2", args: "-c:a mp2", mediaType: "audio/mpeg"},
		{file: "a.aac", args: "-c:a aac", mediaType: "audio/aac", piped: true},
		{file: "vorbis.ogg", args: "-c:a libvorbis", mediaType: "audio/ogg", piped: true},
		{file: "opus.ogg", args: "-c:a libopus", mediaType: "audio/ogg", piped: true},
		{file: "long.opus", args: "-c:a libopus -frame_duration 60 -ac 2", mediaType: "audio/ogg"},
		{file: "flac.ogg", args: "-c:a flac", mediaType: "audio/ogg", piped: true},
		{file: "speex.ogg", args: "-c:a libspeex -ar 16000", mediaType: "audio/ogg"},
		{file: "end.m4a", args: "-c:a aac", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "front.m4a", args: "-c:a aac -movflags faststart", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "fragments.mp4", args: "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000", mediaType: "audio/mp4", piped: true},
		{file: "opus-fragments.mp4", args: "-c:a libopus -strict -2 -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 500000", mediaType: "audio/mp4", piped: true},
		{file: "alac.m4a", args: "-c:a alac", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "opus.mp4", args: "-c:a libopus -strict -2", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "s16.mov", args: "-c:a pcm_s16le", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "film.mp4", args: "-f lavfi -i testsrc=d=1:s=32x32:r=5 -map 0:a -map 1:v -c:v mpeg4 -c:a aac", mediaType: "audio/mp4", unknown: "tagged"},
		{file: "opus.webm", args: "-c:a libopus", mediaType: "audio/webm", piped: true},
		{file: "live.webm", args: "-c:a libopus -live 1", mediaType: "audio/webm"},
		{file: "vorbis.webm", args: "-c:a libvorbis", mediaType: "audio/webm", piped: true},
		{file: "film.webm", args: "-f lavfi -i testsrc=d=1:s=32x32:r=5 -map 0:a -map 1:v -c:v libvpx -c:a libopus", mediaType: "audio/webm"},
		{file: "narrow.amr", args: "", mediaType: "audio/amr"},
		{file: "wide.amr", args: "", mediaType: "audio/amr-wb"},
	}
}

func TestRecordingsAreWhatFFmpegSays(t *testing.T) {
	t.Parallel()
	base := baseSound(t)
	for _, f := range mediaFormats() {
		t.Run(f.file, func(t *testing.T) {
			t.Parallel()
			for name, content := range f.variants(t, base) {
				file := filepath.Join(t.TempDir(), name+"-"+f.file)
				if err := os.WriteFile(file, content, 0o600); err != nil {
					t.Fatal(err)
				}
				f.compare(t, name, file, content)
			}
		})
	}
}

func (f mediaFormat) mayBeUnknown(variant string) bool { return strings.Contains(f.unknown, variant) }

// baseSound creates the WAV file from which the files of all formats are made.
func baseSound(t *testing.T) string {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base.wav")
	output(t.Context(), t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "aevalsrc=0.3*sin(440*2*PI*t)+0.1*random(0):s=48000:d=2.31043", base)
	return base
}

// variants returns files of the format as they occur in practice: whole, cut in the middle, with tags
// at the start and the end, and written to a pipe.
func (f mediaFormat) variants(t *testing.T, base string) map[string][]byte {
	t.Helper()
	whole := f.make(t, base)
	tag := append([]byte("ID3\x03\x00\x00\x00\x00\x07\x68"), make([]byte, 1000)...)
	variants := map[string][]byte{
		"whole": whole, "cut": whole[:len(whole)/2], "tagged": append(append(tag, whole...), "TAG"+strings.Repeat("a", 125)...),
	}
	if f.piped {
		variants["piped"] = f.pipe(t, base)
	}
	return variants
}

// make returns a file of the format. Formats that Debian's ffmpeg cannot write are read from testdata.
func (f mediaFormat) make(t *testing.T, base string) []byte {
	t.Helper()
	file := filepath.Join("../../../shared/media/testdata", f.file)
	if f.args != "" {
		file = filepath.Join(t.TempDir(), f.file)
		args := append([]string{"-v", "error", "-i", base}, strings.Fields(f.args)...)
		output(t.Context(), t, "ffmpeg", append(args, file)...)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f mediaFormat) pipe(t *testing.T, base string) []byte {
	t.Helper()
	container := map[string]string{".m4a": "mp4", ".aac": "adts"}[filepath.Ext(f.file)]
	if container == "" {
		container = filepath.Ext(f.file)[1:]
	}
	args := append([]string{"-v", "error", "-i", base}, strings.Fields(f.args)...)
	b, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, "-f", container, "-")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compare compares the codec and the duration that a media.Meter finds in a file with those that ffmpeg finds.
func (f mediaFormat) compare(t *testing.T, variant, file string, content []byte) {
	t.Helper()
	meter := media.NewMeter(int64(len(content)))
	_, _ = meter.Write(content)
	info := meter.Info()
	if got, _ := media.Sniff(content[:min(len(content), media.HeadSize)]); got != f.mediaType || info.MediaType != f.mediaType {
		t.Errorf("%s: sniffed %q, measured %q", variant, got, info.MediaType)
	}
	codec, decoded := decodedBy(t, file)
	if decoded == 0 { // the description of the audio was in the part that is cut off
		if info.DurationKnown {
			t.Errorf("%s: %v, ffmpeg decodes nothing", variant, info.Duration)
		}
		return
	}
	if info.Codec != codec || !media.Decodable(codec) {
		t.Errorf("%s: codec is %q, ffmpeg says %q", variant, info.Codec, codec)
	}
	if f.mayBeUnknown(variant) && !info.DurationKnown {
		return
	}
	if !info.DurationKnown || math.Abs((info.Duration-decoded).Seconds()) > 0.001 {
		t.Errorf("%s: %v (known: %v), ffmpeg decodes %v", variant, info.Duration, info.DurationKnown, decoded)
	}
}

// decodedBy returns the codec of a file's audio and the duration of the audio that ffmpeg decodes, or zero values if
// ffmpeg finds no audio.
func decodedBy(t *testing.T, file string) (codec string, decoded time.Duration) {
	t.Helper()
	var said, sound bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-threads", "1", "-i", file, "-map", "0:a:0", "-f", "s16le", "-ac", "1", "-")
	cmd.Stdout, cmd.Stderr = &sound, &said
	_ = cmd.Run() // for a cut file ffmpeg exits with an error after the audio that it can decode
	stream := regexp.MustCompile(`Audio: (\w+).*?, (\d+) Hz`).FindSubmatch(said.Bytes())
	if stream == nil {
		return "", 0
	}
	hertz, err := strconv.Atoi(string(stream[2]))
	if err != nil {
		t.Fatal(err)
	}
	return string(stream[1]), time.Duration(sound.Len()/2) * time.Second / time.Duration(hertz)
}

func TestDamagedRecordingsPlayAsFFmpegPlaysThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := func(name, args string) []byte {
		file := filepath.Join(dir, name)
		output(t.Context(), t, "ffmpeg", strings.Fields("-v error -f lavfi -i sine=d=1.2345:r=48000 "+args+" "+file)...)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wav, mp3, flac := made("a.wav", "-c:a pcm_s16le"), made("a.mp3", "-write_xing 0 -id3v2_version 0"), made("a.ogg", "-c:a flac")
	opus, again, vorbis := made("opus.ogg", "-c:a libopus"), made("again.ogg", "-c:a libopus"), made("vorbis.ogg", "-c:a libvorbis")
	narrow, wide := mediaFormat{file: "narrow.amr"}.make(t, ""), mediaFormat{file: "wide.amr"}.make(t, "")
	short, tag := made("short.webm", "-t 0.013 -c:a libopus"), []byte("TAG"+strings.Repeat("a", 125))
	align := func(n uint16) []byte {
		b := bytes.Clone(wav)
		binary.LittleEndian.PutUint16(b[32:], n)
		return b
	}
	for _, c := range []struct {
		name, mediaType, warning string
		content                  []byte
	}{
		{"no block align.wav", "audio/wav", media.WrongBlockAlign, align(0)},
		{"block align 3.wav", "audio/wav", media.WrongBlockAlign, align(3)},
		{"middle of a frame.mp3", "audio/mpeg", media.LeadingJunk, mp3[100:]},
		{"cut 100 bytes before its end.mp3", "audio/mpeg", media.Truncated, mp3[:len(mp3)-100]},
		{"chained.ogg", "audio/ogg", "", slices.Concat(flac, flac)},
		{"chained opus.ogg", "audio/ogg", "", slices.Concat(opus, again, opus)},
		{"chained opus of one name.ogg", "audio/ogg", "", slices.Concat(opus, opus, opus)},
		{"chained vorbis.ogg", "audio/ogg", "", slices.Concat(vorbis, vorbis)},
		{"chained and cut.ogg", "audio/ogg", media.Truncated, slices.Concat(opus, again[:len(again)-100])},
		{"chained, of two codecs.ogg", "audio/ogg", "", slices.Concat(opus, vorbis)},
		{"tag behind.amr", "audio/amr", media.TrailingData, slices.Concat(narrow, tag)},
		{"tag behind wide.amr", "audio/amr-wb", media.TrailingData, slices.Concat(wide, tag)},
		{"rubbish behind wide.amr", "audio/amr-wb", media.Damaged, slices.Concat(wide, wav[:5000])},
		{"nothing to say.amr", "audio/amr-wb", "", slices.Concat(wide, bytes.Repeat([]byte("\x7c"), 50))},
		{"very short.webm", "audio/webm", "", short},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), c.name)
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			mediaFormat{mediaType: c.mediaType}.compare(t, c.name, file, c.content)
			meter := media.NewMeter(-1)
			_, _ = meter.Write(c.content)
			if got := meter.Info().Warnings; c.warning != "" && !strings.Contains(fmt.Sprint(got), c.warning) {
				t.Errorf("warnings are %q", got)
			}
		})
	}
}

func TestWhatIsDecodableIsWhatFFmpegDecodes(t *testing.T) {
	t.Parallel()
	decoders := map[string]bool{}
	for line := range strings.Lines(output(t.Context(), t, "ffmpeg", "-v", "error", "-codecs")) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[0], "D") && len(fields[0]) == 6 && fields[0][2] == 'A' {
			decoders[fields[1]] = true
		}
	}
	for _, codec := range media.Codecs() {
		if !decoders[codec] || !media.Decodable(codec) {
			t.Errorf("ffmpeg has no decoder of %s", codec)
		}
	}
}
