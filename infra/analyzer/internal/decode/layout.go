package decode

import (
	"io"
	"os"
)

// standardRoles returns the roles of n channels in the order of WAVE and FLAC (front left, front right, centre, LFE,
// back, side).
func standardRoles(n int) []Role {
	roles := make([]Role, n)
	switch n {
	case 4:
		roles[2], roles[3] = RoleSurround, RoleSurround
	case 5:
		roles[3], roles[4] = RoleSurround, RoleSurround
	case 6, 7, 8:
		roles[3] = RoleLFE
		for i := 4; i < n; i++ {
			roles[i] = RoleSurround
		}
	}
	return roles
}

// roles returns the roles of the channels according to the speaker mask of WAVEFORMATEXTENSIBLE, or the standard roles
// if the mask is 0 or there are at most two channels. Bit 3 of the mask is the LFE; bits 4, 5, 8, 9 and 10 are speakers
// behind or beside the listener.
func roles(channels int, mask uint32) []Role {
	roles := standardRoles(channels)
	if mask == 0 || channels <= 2 {
		return roles
	}
	i := 0
	for bit := 0; bit < 32 && i < channels; bit++ {
		if mask&(1<<bit) == 0 {
			continue
		}
		switch bit {
		case 3:
			roles[i] = RoleLFE
		case 4, 5, 8, 9, 10:
			roles[i] = RoleSurround
		default:
			roles[i] = RoleFront
		}
		i++
	}
	return roles
}

// container returns the name of a container in results. demuxer is ffmpeg's name of it; for a WAV file the first bytes
// of the file decide, too.
func container(demuxer, path string) string {
	switch demuxer {
	case "mov,mp4,m4a,3gp,3g2,mj2":
		return "mp4"
	case "matroska,webm":
		return "webm"
	case "aac":
		return "adts"
	case "amrnb", "amrwb":
		return "amr"
	case "wav":
		if begins(path, "RF64") || begins(path, "BW64") {
			return "rf64"
		}
	}
	return demuxer
}

// begins reports whether a file begins with the given bytes.
func begins(path, magic string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	head := make([]byte, len(magic))
	_, err = io.ReadFull(file, head)
	return err == nil && string(head) == magic
}
