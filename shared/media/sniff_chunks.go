package media

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// at returns the n bytes of head that begin at off, as a string, or "" if head ends before.
func at(head []byte, off, n int) string {
	if off < 0 || n < 0 || off > len(head)-n {
		return ""
	}
	return string(head[off : off+n])
}

// sniffRIFF recognises WAV (Microsoft RIFF, "Multimedia Programming Interface 1.0") and its 64-bit
// forms: RF64 (EBU Tech 3306) and BW64 (ITU-R BS.2088). The form type after the size distinguishes
// it from WebP, AVI and the other RIFF files.
func sniffRIFF(head []byte) string {
	switch at(head, 0, 4) {
	case "RIFF", "RF64", "BW64":
		if at(head, 8, 4) == "WAVE" {
			return "audio/wav"
		}
	}
	return ""
}

// sniffAIFF recognises AIFF 1.3 and AIFF-C, which are forms of IFF (EA IFF 85). Other forms are
// images and texts.
func sniffAIFF(head []byte) string {
	if at(head, 0, 4) == "FORM" {
		switch at(head, 8, 4) {
		case "AIFF", "AIFC":
			return "audio/aiff"
		}
	}
	return ""
}

// sniffAMR recognises the storage format of AMR and AMR-WB, single- and multi-channel (RFC 4867,
// section 5.1).
func sniffAMR(head []byte) string {
	for _, magic := range [...]struct{ prefix, mediaType string }{
		{"#!AMR\n", "audio/amr"},
		{"#!AMR_MC1.0\n", "audio/amr"},
		{"#!AMR-WB\n", "audio/amr-wb"},
		{"#!AMR-WB_MC1.0\n", "audio/amr-wb"},
	} {
		if bytes.HasPrefix(head, []byte(magic.prefix)) {
			return magic.mediaType
		}
	}
	return ""
}

// sniffCAF recognises Apple's Core Audio Format 1.0: the file header, then always the audio
// description chunk.
func sniffCAF(head []byte) string {
	if at(head, 0, 8) == "caff\x00\x01\x00\x00" && at(head, 8, 4) == "desc" {
		return "audio/x-caf"
	}
	return ""
}

// sniffFLAC recognises native FLAC: the signature, then always a STREAMINFO block of 34 bytes (RFC
// 9639, sections 6 and 8.2).
func sniffFLAC(head []byte) string {
	if at(head, 0, 4) == "fLaC" && len(head) >= 8 && binary.BigEndian.Uint32(head[4:])&^(1<<31) == 34 {
		return "audio/flac"
	}
	return ""
}

// sniffMP4 recognises the ISO base media file format by its ftyp box (ISO/IEC 14496-12, section
// 4.3). The brands decide, since HEIF and AVIF images, JPEG 2000 and Canon's raw pictures begin
// with the same box.
func sniffMP4(head []byte) string {
	if at(head, 4, 4) != "ftyp" || len(head) < 16 {
		return ""
	}
	size := uint64(binary.BigEndian.Uint32(head))
	if size < 16 || size%4 != 0 || size > HeadSize {
		return ""
	}
	if imageBrand(at(head, 8, 4)) {
		return ""
	}
	if filmBrand(at(head, 8, 4)) {
		return "audio/mp4"
	}
	for off := 16; off < int(size); off += 4 {
		if filmBrand(at(head, off, 4)) {
			return "audio/mp4"
		}
	}
	return ""
}

// imageBrand reports whether a major brand stands for a still picture or a sequence of pictures
// (ISO/IEC 23008-12, AVIF 1.1). Such a file may also list a brand of a film among its compatible brands
// (filmBrand). So imageBrand is checked first.
func imageBrand(brand string) bool {
	switch brand {
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "avif", "avis", "jpeg", "jpgs", "crx ":
		return true
	}
	return false
}

// filmBrand reports whether a brand belongs to the MP4 family, as registered at mp4ra.org: ISO and
// MPEG-4 files, iTunes audio, QuickTime, 3GPP and 3GPP2, DASH and CMAF fragments, Flash audio.
func filmBrand(brand string) bool {
	for _, prefix := range [...]string{"iso", "mp4", "qt  ", "M4", "3g", "dash", "msdh", "cmf", "avc1", "mmp4", "MSNV", "NDS", "F4"} {
		if brand != "" && strings.HasPrefix(brand, prefix) {
			return true
		}
	}
	return false
}
