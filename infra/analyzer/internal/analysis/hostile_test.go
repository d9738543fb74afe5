package analysis_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sori.internal/infra/analyzer/hostile"
	"sori.internal/infra/analyzer/internal/analysis"
	"sori.internal/infra/analyzer/internal/decode"
	"sori.internal/infra/analyzer/internal/decode/decodetest"
	"sori.internal/shared/decoding"
)

// Limits for one recording, in bytes: the memory of the decoder's process, and the growth of the test's own heap.
const (
	maxResident = 700 << 20
	maxHeap     = 200 << 20
)

// analyse analyses a recording that may last up to longest seconds. It returns the result, and the code of the failure,
// which is "" after a success. The test fails if the heap grows by more than maxHeap.
func analyse(t *testing.T, d *decode.Decoder, src decode.Source) (result *analysis.Result, code string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	result, err := analysis.Run(t.Context(), d, src, analysis.Options{MaxSeconds: longest, MaxPitchPoints: 30000})
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if after.HeapSys > maxHeap+before.HeapSys {
		t.Errorf("the analyzer's heap grew from %d to %d MB", before.HeapSys>>20, after.HeapSys>>20)
	}
	if e, ok := errors.AsType[*decode.Error](err); ok {
		code = e.Code
	} else if err != nil {
		code = err.Error()
	}
	t.Logf("%d bytes: %q after %v; heap of %d MB", src.Size, code, took.Round(time.Millisecond), after.HeapSys>>20)
	return result, code
}

// processor returns the processor time of this process (RUSAGE_SELF) or of its child processes that have ended
// (RUSAGE_CHILDREN). The test fails if a child process used more than maxResident.
func processor(t *testing.T, who int) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		t.Fatal(err)
	}
	if who == syscall.RUSAGE_CHILDREN && usage.Maxrss<<10 > maxResident {
		t.Errorf("a process took %d MB", usage.Maxrss>>10)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measureCost returns a function that closes the decoder. The function fails the test if this process and the decoder's
// processes have used more processor time than limit since the call of measureCost.
func measureCost(t *testing.T, d *decode.Decoder) func(limit time.Duration) {
	t.Helper()
	if err := d.Prepare(t.Context()); err != nil { // the time to build the decoder must not count
		t.Fatal(err)
	}
	self, children := processor(t, syscall.RUSAGE_SELF), processor(t, syscall.RUSAGE_CHILDREN)
	return func(limit time.Duration) {
		t.Helper()
		d.Close()
		self, children = processor(t, syscall.RUSAGE_SELF)-self, processor(t, syscall.RUSAGE_CHILDREN)-children
		t.Logf("processor time: %v of the analyzer, %v of the decoder", self.Round(time.Millisecond), children.Round(time.Millisecond))
		if self/detector+children > limit {
			t.Errorf("%v and %v of processor time, more than %v", self, children, limit)
		}
	}
}

// A long AAC recording, like a meeting on a voice recorder, must be analysed within the limits of memory and processor
// time. Its frames are those of a short recording, repeated.
func TestLongAACIsAnalysed(t *testing.T) { //nolint:paralleltest // measures the process
	second := read(t, "stereo.aac") // 23 frames of 1024 samples at 44.1 kHz, which is half a second
	path := filepath.Join(t.TempDir(), "long.aac")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const times = long * 44100 / (23 * 1024)
	for range times {
		if _, err := file.Write(second); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	d := decodetest.New(t, decode.Settings{MaxSeconds: longest})
	check := measureCost(t, d)
	got, code := analyse(t, d, decode.Source{Path: path, Size: int64(times * len(second))})
	if code != "" || got.Duration < long-10 || got.Duration > long+10 {
		t.Errorf("%q", code)
	}
	check(10*time.Second + long*15*time.Millisecond)
}

func TestAHeaderThatAnnouncesBillionsOfSamplesCostsNothing(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{MaxSeconds: longest})
	wav := bytes.Clone(read(t, "pcm16.wav"))
	at := bytes.Index(wav, []byte("data"))
	binary.LittleEndian.PutUint32(wav[at+4:], 0xfffffff0)
	if got, code := analyse(t, d, decodetest.File(t, wav)); code != "" || got.Duration != 0.3125 {
		t.Errorf("WAV: %q", code)
	}
	flac := bytes.Clone(read(t, "mono.flac"))
	for i := range 4 { // bytes 22 to 25 are the low 32 bits of the number of samples
		flac[22+i] = 0xff
	}
	if got, code := analyse(t, d, decodetest.File(t, flac)); code != "" || got.Duration != 0.3125 {
		t.Errorf("FLAC: %q", code)
	}
}

func TestSamplesThatAreMadeOfNothingAreBounded(t *testing.T) { //nolint:paralleltest // measures the process
	d := decodetest.New(t, decode.Settings{MaxSeconds: longest})
	check := measureCost(t, d)
	if got, code := analyse(t, d, decodetest.File(t, hostile.FLAC(48000, 2, 3))); code != "" || got.Duration < 4 {
		t.Errorf("a small one: %q", code)
	}
	for name, data := range map[string][]byte{
		"655 kHz, 8 channels": hostile.FLAC(655350, 8, 25000), "192 kHz, 8 channels": hostile.FLAC(192000, 8, 25000),
	} {
		if _, code := analyse(t, d, decodetest.File(t, data)); code != decoding.CodeLimit {
			t.Errorf("%s: %q", name, code)
		}
	}
	check(20*time.Second + longest*15*time.Millisecond)
}

// wideWAV returns a WAV file with 32 channels at 768 kHz.
func wideWAV() []byte {
	le := binary.LittleEndian
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x28\x00\x00\x00\xfe\xff\x20\x00")
	b = le.AppendUint32(b, 768000)
	b = le.AppendUint32(b, 768000*64)
	b = append(b, 64, 0, 16, 0, 22, 0, 16, 0, 0, 0, 0, 0)
	b = append(b, "\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71data"...)
	return append(le.AppendUint32(b, 1<<20), make([]byte, 1<<20)...)
}

// The decoder program does not exist. Recordings must be refused because of what their containers state, before the
// decoder is started.
func TestWhatTheContainerShowsToBeTooMuchIsNotDecoded(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{MaxSeconds: longest, Program: filepath.Join(t.TempDir(), "absent")})
	for name, c := range map[string]struct {
		data []byte
		code string
	}{
		"32 channels at 768 kHz":       {wideWAV(), decoding.CodeLimit},
		"8 channels at 655 kHz":        {hostile.FLAC(655350, 8, 10), decoding.CodeLimit},
		"8 channels at 192 kHz, 2.4 h": {hostile.FLAC(192000, 8, 25000), decoding.CodeLimit},
		"9 hours":                      {hostile.FLAC(48000, 2, 25000), analysis.ErrTooLong.Error()},
	} {
		if _, code := analyse(t, d, decodetest.File(t, c.data)); !strings.HasSuffix(code, c.code) {
			t.Errorf("%s: %q, want %s", name, code, c.code)
		}
	}
}

// corpus returns hostile files by name: an Ogg file that declares 2^32-1 comments, and for each test file of package
// media a copy with a damaged beginning and a copy with bit errors everywhere. The damage is the same in every run.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"2^32-1 comments": hostile.Ogg()}
	entries, err := os.ReadDir(recordings)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		plain, random := read(t, entry.Name()), rand.New(rand.NewPCG(7, uint64(len(files))))
		head, body := bytes.Clone(plain), bytes.Clone(plain)
		for range 8 {
			head[4+random.IntN(200)] = 0xff
		}
		for range len(body) / 50 {
			body[random.IntN(len(body))] ^= byte(1 << random.IntN(8))
		}
		files["head of "+entry.Name()], files["body of "+entry.Name()] = head, body
	}
	return files
}

// knownCodes returns the codes with which the analysis of a hostile file may end; "" is a success.
func knownCodes() []string {
	return []string{
		"", decoding.CodeUnsupportedAudio, decoding.CodeUnsupportedCodec, decoding.CodeNoAudio, decoding.CodeLimit, decoding.CodeCrashed,
	}
}

func TestHostileFilesAreBoundedAndHarmNoOther(t *testing.T) {
	t.Parallel()
	d := decodetest.New(t, decode.Settings{MaxSeconds: longest})
	files := corpus(t)
	if len(files) < 50 {
		t.Fatalf("%d files", len(files))
	}
	known := knownCodes()
	for name, data := range files {
		if _, code := analyse(t, d, decodetest.File(t, data)); !slices.Contains(known, code) {
			t.Errorf("%s: %s", name, code)
		}
	}
	if got, code := analyse(t, d, decodetest.File(t, read(t, "opus.webm"))); code != "" || got.Codec != "opus" {
		t.Errorf("afterwards: %q", code)
	}
}

// sealed wraps data in a file with correct checksums, so that a decoder parses the data: in pages of Ogg, or in frames
// of FLAC. Each part of data becomes one page or frame; the first byte of a part determines its length.
func sealed(ogg bool, data []byte) []byte {
	var file []byte
	if !ogg {
		file = hostile.FLAC(16000, 1, 0)
	}
	for number := uint32(0); len(data) > 0; number++ {
		size := min(1+int(data[0])*4, len(data)-1)
		part := data[1 : 1+size]
		data = data[1+size:]
		if ogg {
			flags := byte(0)
			if number == 0 {
				flags = 2
			}
			file = append(file, hostile.OggPage(flags, number, uint64(number)*960, part)...)
			continue
		}
		frame := append([]byte{0xff, 0xf8}, part[:min(4, len(part))]...)
		frame = append(frame, byte(hostile.CRC(frame, 0x07, 8)))
		frame = append(frame, part[min(4, len(part)):]...)
		file = binary.BigEndian.AppendUint16(append(file, frame...), hostile.CRC(frame, 0x8005, 16))
	}
	return file
}

// parts is the reverse of sealed: it returns data that sealed divides into the given pages or frames.
func parts(all ...[]byte) (data []byte) {
	for _, part := range all {
		data = append(data, byte((len(part)+2)/4))
		data = append(data, part...)
		data = append(data, make([]byte, 1+int(byte((len(part)+2)/4))*4-len(part))...)
	}
	return data
}

func FuzzWhatChecksumsProtect(f *testing.F) {
	f.Add(true, hostile.Ogg()[28:])
	f.Add(true, parts([]byte("OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"), []byte{0x08, 1, 2, 3}))
	f.Add(true, parts([]byte("\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22"), []byte("\x84\x00\x00\x00")))
	f.Add(true, parts([]byte("Speex   1.2")))
	f.Add(false, parts([]byte{0x70, 0x08, 0, 0xff, 0xfe, 0, 0x10, 0}, []byte{0xc9, 0x08, 1, 0, 2, 0, 0, 0}))
	f.Add(false, parts([]byte{0xc9, 0x18, 0, 0, 0x4c, 0, 1, 2, 3, 4, 5, 6, 7}))
	d := decodetest.New(f, decode.Settings{MaxSeconds: 60})
	// This call builds the decoder, which on a busy machine takes longer than a fuzz test may take for one input.
	_, _ = analysis.Run(f.Context(), d, decodetest.File(f, sealed(true, hostile.Ogg()[28:])), analysis.Options{MaxSeconds: longest, MaxPitchPoints: 1})
	f.Fuzz(func(t *testing.T, ogg bool, data []byte) {
		file := sealed(ogg, data)
		_, code := analyse(t, d, decodetest.File(t, file))
		if !slices.Contains(knownCodes(), code) && !strings.HasSuffix(code, analysis.ErrTooLong.Error()) {
			t.Error(code)
		}
	})
}
