package upload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sori.internal/shared/fault"
)

const boundary = "multipart/form-data; boundary=b"

func body(parts ...string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("--b\r\nContent-Disposition: form-data; name=" + p + "\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

func wav(n int) string {
	return "RIFF\xff\xff\xff\x7fWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\xbb\x00\x00\x00\x77\x01\x00\x02\x00\x10\x00data\xff\xff\xff\x7f" +
		string(bytes.Repeat([]byte("ab\r\n--"), n/6))
}

func read(whole []byte, r io.Reader, limit int64) (string, error) {
	rec, err := openRecording(Request{ContentType: boundary, Length: int64(len(whole)), Body: r}, Limits{MaxBytes: limit})
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(rec)
	return string(content), err
}

func TestARecordingIsReadHoweverItArrives(t *testing.T) {
	t.Parallel()
	content := wav(40 << 10)
	whole := body("x\r\n\r\n1", "file; filename=a\r\n\r\n"+content, "y\r\n\r\n2")
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(whole), "by bytes": iotest.OneByteReader(bytes.NewReader(whole)),
		"by halves": iotest.HalfReader(bytes.NewReader(whole)), "with its end": iotest.DataErrReader(bytes.NewReader(whole)),
	} {
		if got, err := read(whole, r, 1<<20); err != nil || got != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// FilePond sends the metadata of a file, an object in JSON, under the name of the file: newer versions
// before it, older ones after it.
func TestAnObjectUnderTheNameOfTheFileIsNoFile(t *testing.T) {
	t.Parallel()
	content, object := wav(600), "file\r\n\r\n{\"title\": \"a\"}"
	file, unnamed := "file; filename=a.wav\r\n\r\n"+content, "file\r\n\r\n"+content
	for name, c := range map[string]struct {
		parts []string
		code  string
	}{
		"before the file":             {[]string{"file\r\n\r\n{}", file}, ""},
		"after the file":              {[]string{file, object}, ""},
		"before a file without name":  {[]string{object, unnamed}, ""},
		"two of them":                 {[]string{object, file, object}, ""},
		"alone":                       {[]string{object}, "unsupported-audio"},
		"with the name of a file":     {[]string{"file; filename=a.json\r\n\r\n{}", file}, "unsupported-audio"},
		"another text before a file":  {[]string{"file\r\n\r\ntitle", file}, "unsupported-audio"},
		"nothing before a file":       {[]string{"file\r\n\r\n", file}, "empty-file"},
		"two files":                   {[]string{object, file, unnamed}, "file-ambiguous"},
		"beside a file of other name": {[]string{"audio; filename=a.wav\r\n\r\n" + content, object}, "file-missing"},
	} {
		whole := body(c.parts...)
		for arrival, r := range map[string]io.Reader{"at once": bytes.NewReader(whole), "by bytes": iotest.OneByteReader(bytes.NewReader(whole))} {
			got, err := read(whole, r, 1<<20)
			if c.code == "" && (err != nil || got != content) || c.code != "" && (err == nil || fault.As(err).Code != c.code) {
				t.Errorf("%s, %s: %d bytes, %v", name, arrival, len(got), err)
			}
		}
	}
}

// Dropzone sends the fields before the file. Each chunk is an MP3 file that can be decoded.
func TestAChunkOfAFileIsNoRecording(t *testing.T) {
	t.Parallel()
	const file = "file; filename=a.mp3\r\n\r\n"
	content := strings.Repeat("\xff\xfb\x90\x64"+zeros(413), 40)
	for name, c := range map[string]struct {
		parts        []string
		contentRange string
		refused      bool
	}{
		"Dropzone":                       {[]string{"dzchunkindex\r\n\r\n0", "dztotalchunkcount\r\n\r\n3", file + content}, "", true},
		"Dropzone, fields after":         {[]string{file + content, "dztotalchunkcount\r\n\r\n3"}, "", true},
		"Dropzone, one chunk":            {[]string{"dzchunkindex\r\n\r\n0", "dztotalchunkcount\r\n\r\n1", file + content}, "", false},
		"Resumable.js":                   {[]string{"resumableTotalChunks\r\n\r\n2", file + content}, "", true},
		"Flow.js":                        {[]string{"flowTotalChunks\r\n\r\n2", file + content}, "", true},
		"simple-uploader.js":             {[]string{"totalChunks\r\n\r\n2", file + content}, "", true},
		"Plupload":                       {[]string{"chunks\r\n\r\n2", file + content}, "", true},
		"Fine Uploader":                  {[]string{"qqtotalparts\r\n\r\n2", file + content}, "", true},
		"Syncfusion":                     {[]string{"total-chunk\r\n\r\n2", file + content}, "", true},
		"a field without a number":       {[]string{"chunks\r\n\r\nmany", file + content}, "", false},
		"jQuery File Upload":             {[]string{file + content}, "bytes 0-99/300", true},
		"jQuery File Upload, last chunk": {[]string{file + content}, "bytes 200-299/300", true},
		"a range of unknown size":        {[]string{file + content}, "bytes 0-99/*", true},
		"the range of the whole file":    {[]string{file + content}, "bytes 0-299/300", false},
	} {
		whole := body(c.parts...)
		rec, err := openRecording(Request{
			ContentType: boundary, ContentRange: c.contentRange, Length: int64(len(whole)), Body: bytes.NewReader(whole),
		}, Limits{MaxBytes: 1 << 20})
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if refused := err != nil && fault.As(err).Extra["reason"] == "chunk"; refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABrokenBodyIsNeverAccepted(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection broken")
	whole := body("x\r\n\r\n1", "file; filename=a\r\n\r\n"+wav(20<<10), "y\r\n\r\n2")
	// Cut off at least one byte of the closing boundary. The line end after it may be missing.
	for n := range len(whole) - 2 {
		if n > 200 && n < len(whole)-200 && n%97 != 0 {
			continue
		}
		if _, err := read(whole, io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(broken)), 1<<20); !errors.Is(err, broken) {
			t.Fatalf("broken after %d: %v", n, err)
		}
		if _, err := read(whole, bytes.NewReader(whole[:n]), 1<<20); !fault.Is(err, fault.Malformed) {
			t.Fatalf("ended after %d: %v", n, err)
		}
	}
}

// track returns an MP4 track of a kind with a sample coding.
func track(kind, coding string) string {
	entry := box(coding, zeros(16), "\x00\x02\x00\x10", zeros(4), "\xbb\x80\x00\x00")
	return box("trak", box("mdia", box("hdlr", zeros(8), kind), box("minf", box("stbl", box("stsd", zeros(7), "\x01", entry)))))
}

func box(kind string, body ...string) string {
	b := strings.Join(body, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(b)))) + kind + b
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

func TestAnUndecodableRecordingIsRefusedAsEarlyAsPossible(t *testing.T) {
	t.Parallel()
	ftyp, data := box("ftyp", "M4A ", zeros(4), "isom"), box("mdat", zeros(40<<10))
	sound, pictures := track("soun", "mp4a"), track("vide", "avc1")
	for _, c := range []struct {
		name, content, codec string
		atOnce               bool
	}{
		{"an unknown format tag", wav(100)[:20] + "\x34\x12" + wav(100)[22:], "wav-0x1234", true},
		{"encrypted", ftyp + box("moov", track("soun", "enca")) + data, "enca", true},
		{"told at the end", ftyp + data + box("moov", track("soun", "ac-4")), "ac4", false},
		{"pictures alone", ftyp + box("moov", pictures) + data, "h264", false},
		{"texts alone", ftyp + data + box("moov", track("text", "tx3g")), "mov_text", false},
		{"pictures, then sound behind the head", ftyp + box("moov", pictures, box("free", zeros(20<<10)), sound) + data, "", false},
		{"sound told at the end", ftyp + data + box("moov", sound), "", false},
		{"no description at all", ftyp + data, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			whole := body("file; filename=a\r\n\r\n" + c.content)
			rec, err := openRecording(Request{ContentType: boundary, Length: int64(len(whole)), Body: bytes.NewReader(whole)}, Limits{MaxBytes: 1 << 20})
			if (err != nil) != c.atOnce {
				t.Fatalf("opened with %v", err)
			}
			if err == nil {
				_, err = io.ReadAll(rec)
			}
			refusal, refused := errors.AsType[*fault.Error](err)
			if c.codec == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !refused || refusal.Kind != fault.Unsupported || refusal.Code != "unsupported-codec" || refusal.Extra["codec"] != c.codec {
				t.Errorf("answered %+v", err)
			}
		})
	}
}

func FuzzOpenRecording(f *testing.F) {
	f.Add(body("file; filename=a\r\n\r\n" + wav(100)))
	f.Add(body("x\r\n\r\n1", "file\r\n\r\n"))
	f.Add([]byte("--b--"))
	f.Fuzz(func(t *testing.T, whole []byte) {
		content, err := read(whole, bytes.NewReader(whole), 1000)
		if err == nil && (content == "" || len(content) > 1000) {
			t.Errorf("%d bytes were taken", len(content))
		}
		if err != nil && fault.KindOf(err) == fault.Internal {
			t.Errorf("an error without a kind: %v", err)
		}
	})
}

// FilePond begins an upload in chunks with a form that has the metadata of the file only, or nothing, and the length
// of the file in a header.
func TestAFormThatAnnouncesChunksIsNoRecording(t *testing.T) {
	t.Parallel()
	const file = "file; filename=a.wav\r\n\r\nRIFF"
	for name, c := range map[string]struct {
		parts        []string
		length, code string
	}{
		"metadata":                       {[]string{"file\r\n\r\n{}"}, "300", "malformed-multipart"},
		"metadata under another name":    {[]string{"filepond\r\n\r\n{}"}, "300", "malformed-multipart"},
		"no metadata":                    {nil, "300", "malformed-multipart"},
		"metadata without a length":      {[]string{"file\r\n\r\n{}"}, "", "unsupported-audio"},
		"a length beside a file":         {[]string{file}, "4", "unsupported-audio"},
		"a length beside another's file": {[]string{"audio; filename=a.wav\r\n\r\n" + strings.Repeat("RIFF", 100<<10)}, "4", "file-missing"},
	} {
		whole := body(c.parts...)
		_, err := openRecording(Request{
			ContentType: boundary, UploadLength: c.length, Length: int64(len(whole)), Body: bytes.NewReader(whole),
		}, Limits{MaxBytes: 1 << 20})
		if got := fault.As(err); err == nil || got.Code != c.code || (got.Extra["reason"] == "chunk") != (c.code == "malformed-multipart") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
