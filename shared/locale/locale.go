// Package locale contains the Korean and English sentences that clients read: the stages of a job,
// the reasons of failures and the details of problem documents. It chooses the language by
// Accept-Language.
package locale

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// Language is a language of the sentences, as a BCP 47 tag.
type Language string

// The languages.
const (
	Korean  Language = "ko"
	English Language = "en"
)

// UnmarshalText reads the value of the setting DEFAULT_LANGUAGE.
func (l *Language) UnmarshalText(text []byte) error {
	switch given := Language(text); given {
	case Korean, English:
		*l = given
		return nil
	default:
		return fmt.Errorf("language %q is neither ko nor en", text)
	}
}

// Choose returns the language that an Accept-Language header (RFC 9110, section 12.5.4) prefers. If
// the header is absent or malformed, or names no known language, Choose returns the parameter
// fallback, which is the configured default.
func Choose(acceptLanguage string, fallback Language) Language {
	tags, weights, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		return fallback
	}
	for i, tag := range tags {
		base, _ := tag.Base()
		if l := Language(base.String()); weights[i] > 0 && (l == Korean || l == English) {
			return l
		}
	}
	return fallback
}

// Message names a sentence.
type Message string

// The sentences. The sentence of a stage is named after the event that begins the stage.
const (
	Accepted   Message = "accepted" // the response to an upload
	Received   Message = "received"
	Fetching   Message = "fetching"
	Uploading  Message = "uploading"
	Stored     Message = "stored"
	Waiting    Message = "waiting" // the sentence contains a time, which TextAt fills in
	Queued     Message = "queued"  // of the stage "waiting" if the job is in the queue, so that no time is known
	Shared     Message = "shared"  // of the stage "waiting" while another job with the same recording is analysed
	Dispatched Message = "dispatched"
	Refused    Message = "refused"
	Completed  Message = "completed"
	Failed     Message = "failed"
	Canceled   Message = "canceled"
	Erased     Message = "erased"
	AlreadyHad Message = "already-completed" // the response to a repeated callback
)

// Text returns a sentence in a language, or the name of the message if it has no sentence. A test
// ensures that every message has one.
func Text(l Language, m Message) string {
	if s, ok := sentence(m); ok {
		if l == English {
			return s.en
		}
		return s.ko
	}
	return string(m)
}

// timePlace stands for the time in a sentence.
const timePlace = "{time}"

// TextAt is like Text, and puts the given time, in UTC, into a sentence that contains a time.
func TextAt(l Language, m Message, at time.Time) string {
	return strings.ReplaceAll(Text(l, m), timePlace, at.UTC().Format("15:04:05 UTC"))
}

type pair struct{ ko, en string }

func sentence(m Message) (pair, bool) {
	switch m {
	case Accepted:
		return pair{"업로드 완료, 백그라운드에서 처리됩니다.", "Upload complete, processing in the background."}, true
	case Received:
		return pair{"업로드 시작", "Upload accepted"}, true
	case Fetching:
		return pair{"녹음 파일 가져오는 중...", "Fetching the recording..."}, true
	case Uploading:
		return pair{"S3 업로드 중...", "Uploading to S3..."}, true
	case Stored:
		return pair{"분석 서버 요청 중...", "Requesting analysis..."}, true
	case Waiting:
		return pair{"분석 서버 대기 중, 다음 시도 " + timePlace, "Waiting for the analysis server, next try at " + timePlace}, true
	case Queued:
		return pair{"분석 순서 대기 중...", "Waiting for its turn to be analysed"}, true
	case Shared:
		return pair{"같은 녹음의 분석 결과 대기 중...", "The same recording is being analysed, waiting for its result"}, true
	case Dispatched:
		return pair{"분석 중... 결과 대기", "Analysing, waiting for the result"}, true
	case Refused:
		return pair{"분석 서버의 보고를 읽을 수 없어 다음 보고 대기 중...", "The analysis server's report could not be read, waiting for another one"}, true
	case Completed:
		return pair{"분석 완료", "Analysis complete"}, true
	case Failed:
		return pair{"분석 실패", "Analysis failed"}, true
	case Canceled:
		return pair{"분석 취소", "Analysis canceled"}, true
	case Erased:
		return pair{"작업 삭제됨", "Job deleted"}, true
	case AlreadyHad:
		return pair{"이미 완료된 작업", "The job is already complete"}, true
	default:
		return pair{}, false
	}
}
