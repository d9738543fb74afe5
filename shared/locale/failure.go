package locale

// FailureText returns the reason of a job's failure in a language, by the code of the failure. own
// is the detail of the failure. There are three cases:
//
//  1. For a code with a sentence here, FailureText returns the sentence, without own.
//  2. For fetch-failed it appends own to the sentence: own has the status of the server's response.
//  3. A code without a sentence comes from an analysis server. FailureText then returns own, the
//     server's message in its own language, or a general sentence if own is empty.
//
// The caller must ensure that own is safe to display.
func FailureText(l Language, code, own string) string {
	s, ok := failure(code)
	switch {
	case !ok && own != "":
		return own
	case !ok:
		s = pair{"작업이 실패했습니다.", "The job failed."}
	}
	text := s.ko
	if l == English {
		text = s.en
	}
	if code == "fetch-failed" && own != "" {
		text += " " + own
	}
	return text
}

// failure returns the sentences for a code. No sentence states whether another attempt may succeed:
// clients read that in another field, and the answer may differ from job to job.
func failure(code string) (pair, bool) {
	if s, ok := failureOfRecording(code); ok {
		return s, true
	}
	if s, ok := failureOfFetch(code); ok {
		return s, true
	}
	switch code {
	case "audio-unreachable":
		return pair{"분석 서버가 녹음 파일을 가져오지 못했습니다.", "The analysis server could not fetch the recording."}, true
	case "analysis-failed":
		return pair{"분석 중 오류가 발생했습니다.", "The analysis failed."}, true
	case "analysis-timeout":
		return pair{"분석이 제한 시간 안에 끝나지 않았습니다.", "The analysis did not finish in time."}, true
	case "analysis-unavailable":
		return pair{"분석 서버를 사용할 수 없습니다.", "The analysis server is not available."}, true
	case "analysis-rejected":
		return pair{"분석 서버가 분석 요청을 거절했습니다.", "The analysis server refused the request."}, true
	case "dispatch-timeout":
		return pair{"제한 시간 안에 분석을 시작하지 못했습니다.", "The analysis could not be started in time."}, true
	case "staging-lost":
		return pair{"업로드한 녹음이 저장되기 전에 사라졌습니다. 다시 업로드해 주세요.", "The recording was lost before it could be stored. Please upload it again."}, true
	case "recording-unknown", "object-not-found":
		return pair{"저장된 녹음을 찾을 수 없습니다. 다시 업로드해 주세요.", "The stored recording cannot be found. Please upload it again."}, true
	case "reference-invalid":
		return pair{"토큰의 참조 파일 주소가 올바르지 않습니다.", "A reference of the token names no possible file."}, true
	case "reference-foreign", "reference-not-allowed":
		return pair{"토큰의 참조 파일이 허용되지 않은 위치에 있습니다. 토큰을 고친 뒤 다시 업로드해 주세요.", "A reference file of the token lies where references may not lie. Please have the token corrected and upload again."}, true
	case "log-lost":
		return pair{"작업의 진행 기록이 남아 있지 않습니다. 다시 업로드해 주세요.", "What became of the job is no longer known. Please upload the recording again."}, true
	case "unreadable-event", "unexpected-event", "unprojectable", "internal":
		return pair{"내부 오류로 작업을 마치지 못했습니다.", "The job could not be finished because of an internal error."}, true
	default:
		return pair{}, false
	}
}

// failureOfFetch returns the sentences for a code about the fetch of a recording from a URL.
func failureOfFetch(code string) (pair, bool) {
	switch code {
	case "fetch-failed":
		return pair{"주어진 주소에서 녹음 파일을 가져오지 못했습니다.", "The recording could not be fetched from its URL."}, true
	case "fetch-refused-address":
		return pair{"주어진 주소는 접근이 허용되지 않은 위치를 가리킵니다.", "The URL of the recording leads to an address that may not be reached."}, true
	case "fetch-too-large":
		return pair{"주어진 주소의 녹음 파일이 너무 큽니다.", "The recording at the URL is too large."}, true
	case "fetch-timeout":
		return pair{"녹음 파일이 제한 시간 안에 도착하지 않았습니다.", "The recording did not arrive from its URL in time."}, true
	case "digest-mismatch":
		return pair{"가져온 녹음 파일이 미리 알린 것과 다릅니다.", "The recording is not the one that the digest announced."}, true
	case "empty-file":
		return pair{"빈 파일입니다. 소리가 들어 있는 파일을 사용해 주세요.", "The file is empty. Please use one with sound in it."}, true
	case "source-unreadable":
		return pair{"녹음 파일의 주소를 더 이상 읽을 수 없습니다. 다시 요청해 주세요.", "The URL of the recording can no longer be read. Please send it again."}, true
	default:
		return pair{}, false
	}
}

// failureOfRecording returns the sentences for a code about the recording itself.
func failureOfRecording(code string) (pair, bool) {
	switch code {
	case "unsupported-codec":
		return pair{"지원하지 않는 코덱으로 녹음된 파일입니다. WAV, MP3, M4A 같은 다른 형식으로 업로드해 주세요.", "The recording's codec cannot be decoded. Please upload it in another format, such as WAV, MP3 or M4A."}, true
	case "unsupported-audio":
		return pair{"오디오 파일이 아닙니다. 파일을 확인해 주세요.", "The file is not audio. Please check it."}, true
	case "no-audio":
		return pair{"파일에서 소리를 찾을 수 없습니다. 녹음을 확인해 주세요.", "No sound can be decoded from the file. Please check the recording."}, true
	case "audio-too-long":
		return pair{"녹음이 너무 길어 분석할 수 없습니다. 나누어 업로드해 주세요.", "The recording is too long to be analysed. Please upload it in parts."}, true
	case "audio-too-large":
		return pair{"녹음 파일이 너무 커서 분석할 수 없습니다. 더 짧게 자르거나 압축해 업로드해 주세요.", "The file is too large to be analysed. Please shorten or compress it."}, true
	case "analysis-crashed":
		return pair{"이 녹음을 해석하던 프로그램이 중단되었습니다. 파일이 손상되었을 수 있습니다.", "The decoder stopped at this recording. The file may be damaged."}, true
	case "decode-limit-exceeded":
		return pair{"이 녹음을 해석하는 데 허용된 시간을 넘었습니다. 파일이 손상되었을 수 있습니다.", "Decoding this recording takes longer than is allowed. The file may be damaged."}, true
	default:
		return pair{}, false
	}
}
