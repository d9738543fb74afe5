package media

import (
	"fmt"
	"slices"
	"strings"
)

// Codecs returns the codecs that the decoders built into ffmpeg 5.1 can decode, by the names that
// Info uses.
func Codecs() []string {
	return strings.Fields(`
		aac aac_latm ac3 alac amr_nb amr_wb ape atrac1 atrac3 atrac3p atrac9 cook dst dts eac3 evrc flac g723_1 g729 gsm
		gsm_ms iac ilbc imc mace3 mace6 metasound mlp mp1 mp2 mp3 mp3adu mp3on4 mp4als musepack7 musepack8 nellymoser
		opus qcelp qdm2 qdmc ra_144 ra_288 ralf s302m sbc shorten sipr siren speex tak truehd truespeech tta twinvq vorbis
		wavpack wmalossless wmapro wmav1 wmav2 wmavoice xma1 xma2
		adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_ima_dk3 adpcm_ima_dk4 adpcm_ima_oki adpcm_g722 adpcm_g726 adpcm_g726le
		adpcm_yamaha adpcm_swf adpcm_ct
		dsd_lsbf dsd_lsbf_planar dsd_msbf dsd_msbf_planar
		pcm_alaw pcm_mulaw pcm_s8 pcm_u8 pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_s64le pcm_s64be
		pcm_f16le pcm_f24le pcm_f32le pcm_f32be pcm_f64le pcm_f64be
	`)
}

// Decodable reports whether a codec is one of Codecs.
func Decodable(codec string) bool { return slices.Contains(Codecs(), codec) }

// pcmBytes returns the size in bytes of a sample of PCM, A-law or mu-law, or 0 for other codecs.
func pcmBytes(codec string) int {
	kind, ok := strings.CutPrefix(codec, "pcm_")
	if !ok {
		return 0
	}
	switch strings.TrimSuffix(strings.TrimSuffix(kind, "le"), "be") {
	case "s8", "u8", "alaw", "mulaw":
		return 1
	case "s16", "u16":
		return 2
	case "s24", "u24":
		return 3
	case "s32", "u32", "f32", "f24", "f16": // f24 and f16 samples are stored in 4 bytes, too
		return 4
	case "s64", "f64":
		return 8
	}
	return 0
}

// codec returns the name of the codec of a WAV file, by its format tag (RFC 2361 and later
// additions) or by its GUID.
func (w *wave) codec() string {
	const ( // ends of the GUIDs that contain a format tag
		tail      = "\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
		ambisonic = "\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\x00\x00\x00" // of recorders with several microphones (B-format)
	)
	tag := w.format
	if w.guid != "" {
		switch {
		case strings.HasSuffix(w.guid, tail), strings.HasSuffix(w.guid, ambisonic):
			tag = uint16(w.guid[0]) | uint16(w.guid[1])<<8
		case w.guid == "\xd2\x42\xe1\x47\xba\x36\x8d\x4d\x88\xfc\x61\x65\x4f\x8c\x83\x6c":
			return "atrac9"
		case w.guid == "\xbf\xaa\x23\xe9\x58\xcb\x71\x44\xa1\x19\xff\xfa\x01\xe4\xce\x62":
			return "atrac3p"
		case w.guid == "\x2c\x80\x6d\xe0\x46\xdb\xcf\x11\xb4\xd1\x00\x80\x5f\x6c\xbb\xea":
			return "ac3"
		case w.guid == "\xaf\x87\xfb\xa7\x02\x2d\xfb\x42\xa4\xd4\x05\xcd\x93\x84\x3b\xdd":
			return "eac3"
		default:
			return fmt.Sprintf("wav-guid-%x", w.guid)
		}
	}
	switch name := waveTag(tag); name {
	case "pcm":
		return w.pcm()
	case "float":
		if w.bits == 64 {
			return "pcm_f64le"
		}
		return "pcm_f32le"
	case "":
		return fmt.Sprintf("wav-0x%04x", tag)
	default:
		return name
	}
}

// pcm returns the codec name of the integer PCM in a WAV file. A sample may have fewer bits than
// its bytes can hold, such as 20 bits in 3 bytes.
func (w *wave) pcm() string {
	bytes := (int(w.bits) + 7) / 8
	if bytes == 3 && w.bits == 24 && int(w.frameBytes) == 4*int(w.channels) {
		return "pcm_f24le"
	}
	switch bytes {
	case 1:
		return "pcm_u8"
	case 2, 3, 4, 8:
		return fmt.Sprintf("pcm_s%dle", bytes*8)
	}
	return fmt.Sprintf("pcm-%d-bit", w.bits)
}

// waveTag returns the name of a codec by its format tag. The names "pcm" and "float" are
// incomplete: they do not state the size of a sample.
func waveTag(tag uint16) string {
	return map[uint16]string{
		0x0001: "pcm", 0x0002: "adpcm_ms", 0x0003: "float", 0x0006: "pcm_alaw", 0x0007: "pcm_mulaw",
		0x6c75: "pcm_mulaw", 0x000a: "wmavoice", 0x0010: "adpcm_ima_oki", 0x0017: "adpcm_ima_oki",
		0x0011: "adpcm_ima_wav", 0x0069: "adpcm_ima_wav", 0x0020: "adpcm_yamaha", 0x0022: "truespeech",
		0x1501: "truespeech", 0x0031: "gsm_ms", 0x0032: "gsm_ms", 0x1500: "gsm_ms", 0x0038: "amr_nb",
		0x0057: "amr_nb", 0x0042: "g723_1", 0x0111: "g723_1", 0xa100: "g723_1", 0x0014: "adpcm_g726",
		0x0040: "adpcm_g726", 0x0045: "adpcm_g726", 0x0064: "adpcm_g726", 0x0050: "mp2", 0x0055: "mp3",
		0x0058: "amr_wb", 0x0061: "adpcm_ima_dk4", 0x0062: "adpcm_ima_dk3", 0x0083: "g729",
		0x729a: "g729", 0x00ff: "aac", 0x1600: "aac", 0x706d: "aac", 0x4143: "aac", 0xa106: "aac",
		0x1602: "aac_latm", 0x0160: "wmav1", 0x0161: "wmav2", 0x0162: "wmapro", 0x0163: "wmalossless",
		0x0165: "xma1", 0x0166: "xma2", 0x0200: "adpcm_ct", 0x0270: "atrac3", 0x028f: "adpcm_g722",
		0x2000: "ac3", 0x2001: "dts", 0x5346: "adpcm_swf", 0x566f: "vorbis", 0xa109: "speex",
		0xf1ac: "flac",
	}[tag]
}

// appleCodec returns the name of a codec in AIFF-C, CAF and QuickTime by its code of four
// characters; bits is the size of a sample.
func appleCodec(coding string, bits int) string {
	size, order := (bits+7)/8*8, "be"
	switch coding {
	case "sowt":
		order = "le"
		fallthrough
	case "NONE", "twos":
		if size == 8 {
			return "pcm_s8"
		}
		return fmt.Sprintf("pcm_s%d%s", size, order)
	}
	if name := appleLetters(coding); name != "" {
		return name
	}
	return printable(coding)
}

func appleLetters(coding string) string {
	return map[string]string{
		"raw ": "pcm_u8", "in24": "pcm_s24be", "in32": "pcm_s32be", "fl32": "pcm_f32be",
		"FL32": "pcm_f32be", "fl64": "pcm_f64be", "FL64": "pcm_f64be", "ulaw": "pcm_mulaw",
		"ULAW": "pcm_mulaw", "alaw": "pcm_alaw", "ALAW": "pcm_alaw", "ima4": "adpcm_ima_qt",
		"MAC3": "mace3", "MAC6": "mace6", "agsm": "gsm", "GSM ": "gsm", "alac": "alac", "aac ": "aac",
		"mp4a": "aac", ".mp1": "mp1", ".mp2": "mp2", ".mp3": "mp3", "mp3 ": "mp3", "ms\x00\x55": "mp3",
		"samr": "amr_nb", "sawb": "amr_wb", "ac-3": "ac3", "sac3": "ac3", "ec-3": "eac3", "ac-4": "ac4",
		"dtsc": "dts", "dtsh": "dts", "dtsl": "dts", "dtse": "dts", "Opus": "opus", "opus": "opus",
		"fLaC": "flac", "flac": "flac", "QDM2": "qdm2", "QDMC": "qdmc", "Qclp": "qcelp",
		"Qclq": "qcelp", "sqcp": "qcelp", "sevc": "evrc", "ilbc": "ilbc", "spex": "speex",
		"ms\x00\x02": "adpcm_ms", "ms\x00\x11": "adpcm_ima_wav", "mlpa": "truehd",
	}[coding]
}

// printable makes a name from the code of a codec that has no other name.
func printable(coding string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '.'
		}
		return r
	}, strings.TrimSpace(coding)))
}

// matroskaCodec returns the name of a codec by its Matroska identifier (RFC 9559's registry).
func matroskaCodec(id string) string {
	switch {
	case id == "":
		return ""
	case strings.HasPrefix(id, "A_AAC"):
		return "aac"
	case strings.HasPrefix(id, "A_EAC3"):
		return "eac3"
	case strings.HasPrefix(id, "A_AC3"):
		return "ac3"
	case strings.HasPrefix(id, "A_DTS"):
		return "dts"
	}
	switch id {
	case "A_OPUS", "A_VORBIS", "A_FLAC", "A_ALAC", "A_TRUEHD", "A_MLP", "V_VP8", "V_VP9", "V_AV1", "V_THEORA":
		return strings.ToLower(id[2:])
	case "A_TTA1":
		return "tta"
	case "A_WAVPACK4":
		return "wavpack"
	case "A_MPEG/L3":
		return "mp3"
	case "A_MPEG/L2":
		return "mp2"
	case "A_MPEG/L1":
		return "mp1"
	case "A_PCM/INT/LIT":
		return "pcm_s16le"
	case "A_PCM/FLOAT/IEEE":
		return "pcm_f32le"
	case "V_MPEG4/ISO/AVC":
		return "h264"
	case "V_MPEGH/ISO/HEVC":
		return "hevc"
	case "S_TEXT/WEBVTT", "D_WEBVTT/SUBTITLES", "D_WEBVTT/CAPTIONS":
		return "webvtt"
	case "S_TEXT/UTF8":
		return "subrip"
	}
	return printable(id)
}
