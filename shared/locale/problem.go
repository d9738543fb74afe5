package locale

import (
	"cmp"
	"fmt"
	"strings"
)

// Problem returns the detail of a problem document in a language. Services write the detail in
// English. Problem looks the Korean sentence up by the English sentence first, since one code may
// have several sentences, and then by the code, for sentences that contain values. {name} in a
// Korean sentence stands for the extension member of that name. A detail without a Korean sentence
// stays in English.
func Problem(l Language, code, english string, members map[string]any) string {
	if l != Korean {
		return english
	}
	text := cmp.Or(
		koreanOfLarge(code, members), koreanDetail(english), koreanOfResumable(english), koreanOfOutage(english), koreanOfForm(english),
		koreanOfAccess(english), koreanOfUpload(code), koreanOfRequest(code), koreanOfResource(code), english,
	)
	for name, value := range members {
		text = strings.ReplaceAll(text, "{"+name+"}", fmt.Sprint(value))
	}
	return text
}

// koreanOfLarge returns the sentence for a file that is too large for the chosen way of upload and
// may be sent in parts instead. It returns "" for other problems.
func koreanOfLarge(code string, members map[string]any) string {
	if _, other := members["way"]; code != "too-large" || !other {
		return ""
	}
	return "파일이 허용된 최대 크기({max_bytes}바이트)보다 큽니다. {way_max_bytes}바이트까지는 POST /s3/multipart로 나누어 보낼 수 있습니다."
}

// koreanDetail translates a sentence about a request. It returns "" for an unknown sentence.
func koreanDetail(english string) string {
	switch english {
	case "The request came too slowly.":
		return "요청이 너무 느리게 도착했습니다."
	case "The body came too slowly.":
		return "본문이 너무 느리게 도착했습니다."
	case "The body could not be read to its end.":
		return "본문을 끝까지 읽을 수 없습니다."
	case "The request could not be read.":
		return "요청을 읽을 수 없습니다."
	case "The path of the request is malformed.":
		return "요청의 경로 형식이 잘못되었습니다."
	case "The query of the request is malformed.":
		return "요청의 쿼리 형식이 잘못되었습니다."
	case "The body is not JSON in UTF-8.":
		return "본문이 UTF-8 JSON이 아닙니다."
	case "The body is no API key in JSON: name, scopes, expires_at and owner.":
		return "본문이 API 키를 나타내는 JSON(name, scopes, expires_at, owner)이 아닙니다."
	case "The pitch is not JSON in UTF-8.":
		return "피치 파일이 UTF-8 JSON이 아닙니다."
	case "The form could not be read.":
		return "폼을 읽을 수 없습니다."
	case "The results in a form must be one field with JSON.":
		return "폼의 결과는 JSON이 담긴 한 필드여야 합니다."
	case "The body is not what its Content-Encoding says.":
		return "본문이 Content-Encoding에 적힌 형식이 아닙니다."
	case "The body is no JSON object.":
		return "본문이 JSON 객체가 아닙니다."
	case "The Idempotency-Key was used for another token.":
		return "이 Idempotency-Key는 다른 문장에 이미 사용되었습니다."
	case "The Idempotency-Key was used for another file.":
		return "이 Idempotency-Key는 다른 파일에 이미 사용되었습니다."
	case "The job of this Idempotency-Key was deleted.":
		return "이 Idempotency-Key의 작업은 삭제되었습니다."
	case "An upload with the same Idempotency-Key is under way. Please try again.":
		return "같은 Idempotency-Key의 업로드가 진행 중입니다. 잠시 후 다시 시도해 주세요."
	case "Too many uploads are under way right now. Please try again.":
		return "지금은 진행 중인 업로드가 너무 많습니다. 잠시 후 다시 시도해 주세요."
	case "Your uploads that are not stored yet use all the space that you may use for them. Please try again later.":
		return "아직 저장되지 않은 업로드가 허용된 용량을 모두 쓰고 있습니다. 잠시 후 다시 시도해 주세요."
	case "Your recordings use all the space that you may use. Delete jobs that you no longer need, and try again.":
		return "저장된 녹음이 허용된 용량을 모두 쓰고 있습니다. 필요 없는 작업을 삭제한 뒤 다시 시도해 주세요."
	case "The logs of your jobs use all the space that you may use for them. Delete jobs that you no longer need, or try again later.":
		return "작업의 로그가 허용된 용량을 모두 쓰고 있습니다. 필요 없는 작업을 삭제하거나 나중에 다시 시도해 주세요."
	case "The job's recording was deleted when its retention was over. Please upload it again.":
		return "이 작업의 녹음은 보관 기간이 끝나 삭제되었습니다. 다시 업로드해 주세요."
	case "The job's audio is not stored. Please upload it again.":
		return "이 작업의 녹음이 저장되어 있지 않습니다. 다시 업로드해 주세요."
	}
	return ""
}

// koreanOfResumable translates a sentence about a request of a resumable upload. It returns "" for an
// unknown sentence.
func koreanOfResumable(english string) string {
	switch english {
	case "The request does not describe an upload.":
		return "요청에 업로드에 대한 설명이 없습니다."
	case "The request breaks the protocol of resumable uploads.":
		return "요청이 재개 가능한 업로드의 프로토콜에 맞지 않습니다."
	case "Only partial uploads can be concatenated. One of the uploads was begun without Upload-Concat: partial.":
		return "부분 업로드만 이어 붙일 수 있습니다. Upload-Concat: partial 없이 시작한 업로드가 있습니다."
	case "A partial upload is named twice. Each can be concatenated once.":
		return "같은 부분 업로드를 두 번 적었습니다. 부분 업로드는 한 번만 이어 붙일 수 있습니다."
	case "One of the partial uploads has already been concatenated otherwise. Its bytes are removed: please send them again.":
		return "이미 다르게 이어 붙인 부분 업로드가 있습니다. 그 바이트는 삭제되었으니 다시 보내 주세요."
	case "Too many forms and partial uploads were used lately. Please send the recording in another way, or try again later.":
		return "최근에 사용한 폼과 부분 업로드가 너무 많습니다. 다른 방법으로 보내거나 나중에 다시 시도해 주세요."
	case "The upload is complete and has become a job. Please cancel or erase the job.":
		return "업로드가 끝나서 작업이 되었습니다. 작업을 취소하거나 삭제해 주세요."
	case "Upload-Length must not be negative.":
		return "Upload-Length는 음수일 수 없습니다."
	case "Upload-Complete says that the recording ends with this request, but that is not its length.":
		return "Upload-Complete에 따르면 녹음이 이 요청으로 끝나지만, 알려진 길이와 다릅니다."
	case "Upload-Checksum must be sha1, sha256 or crc32, and a checksum in base64.":
		return "Upload-Checksum은 sha1, sha256, crc32 중 하나와 base64 체크섬이어야 합니다."
	}
	return ""
}

// koreanOfOutage translates a sentence about a dependency that does not serve requests. It returns
// "" for an unknown sentence.
func koreanOfOutage(english string) string {
	switch english {
	case "The database cannot be reached right now. Please try again.":
		return "지금은 데이터베이스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."
	case "The database refuses the service. Its settings have to be corrected.":
		return "데이터베이스가 서비스를 거부합니다. 운영자가 설정을 고쳐야 합니다."
	case "The database does not serve requests right now. Please try again.":
		return "지금은 데이터베이스가 요청을 처리하지 않습니다. 잠시 후 다시 시도해 주세요."
	case "The database is not set up yet. Please try again.":
		return "데이터베이스가 아직 준비되지 않았습니다. 잠시 후 다시 시도해 주세요."
	case "The storage cannot be reached right now. Please try again.":
		return "지금은 저장소에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."
	case "The message bus cannot be reached right now. Please try again.":
		return "지금은 메시지 버스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."
	}
	return ""
}

// koreanOfForm translates a sentence about the form of an upload. It returns "" for an unknown
// sentence.
func koreanOfForm(english string) string {
	switch english {
	case "The Content-Type names no boundary. Do not set the Content-Type yourself: the HTTP library sets it together with its boundary.":
		return "Content-Type에 boundary가 없습니다. Content-Type을 직접 지정하지 말고 HTTP 라이브러리가 boundary와 함께 넣게 해 주세요."
	case "The boundary in the Content-Type cannot be used. There must be only one, of 1 to 70 characters.":
		return "Content-Type의 boundary를 쓸 수 없습니다. boundary는 하나여야 하고 1~70자여야 합니다."
	case "The body of the request is empty.":
		return "요청의 본문이 비어 있습니다."
	case "The boundary that the Content-Type names is not in the body. The two do not belong together.":
		return "Content-Type의 boundary가 본문에 없습니다. Content-Type과 본문이 서로 맞지 않습니다."
	case "The body ends before its closing boundary. The upload was cut short.":
		return "본문이 닫는 boundary 전에 끝났습니다. 업로드가 중간에 끊겼습니다."
	case "The form has a part whose header cannot be read.":
		return "폼에 헤더를 읽을 수 없는 필드가 있습니다."
	case "The form holds more than 128 KiB beside the file.":
		return "폼에 파일 외의 내용이 128 KiB보다 많습니다."
	case "The file is not audio of a known format.":
		return "알려진 형식의 오디오 파일이 아닙니다."
	case "The file is text, not audio. Send the bytes of the recording, not its name, its URL or its Base64.":
		return "파일이 오디오가 아니라 텍스트입니다. 파일 이름이나 URL, Base64가 아니라 녹음의 바이트를 그대로 보내 주세요."
	case "The form has only a chunk of a file. Turn chunking off in your upload library, or use a resumable upload (GET /limits).":
		return "폼에 파일의 조각 하나만 있습니다. 업로드 라이브러리의 청크 기능을 끄거나, 재개 가능한 업로드(GET /limits)를 사용해 주세요."
	case `The request has no Content-Type. Send multipart/form-data with the file in a part named "file".`:
		return `요청에 Content-Type이 없습니다. "file"이라는 이름의 필드에 파일을 담아 multipart/form-data로 보내 주세요.`
	case `The form is empty. Send the file in a part named "file".`:
		return `폼이 비어 있습니다. "file"이라는 이름의 필드에 파일을 담아 보내 주세요.`
	case "The upload has a Content-Encoding. Send it without one.":
		return "요청의 Content-Encoding이 {encoding}입니다. 업로드는 인코딩하지 말고 보내 주세요."
	case "The file is encoded as its Content-Transfer-Encoding says. Send its bytes as they are.":
		return "파일이 Content-Transfer-Encoding으로 인코딩되어 있습니다. 파일의 바이트를 그대로 보내 주세요."
	}
	return ""
}

// koreanOfUpload returns the sentence for a code about an upload, or "" for another code.
func koreanOfUpload(code string) string {
	switch code {
	case "digest-mismatch":
		return "받은 내용이 알린 다이제스트(Content-Digest, Repr-Digest, sha256)와 다릅니다."
	case "empty-file":
		return "파일이 비어 있습니다."
	case "file-ambiguous":
		return "폼에 \"file\"이라는 이름의 필드가 둘 이상 있습니다. 파일은 하나씩 보내 주세요."
	case "file-missing":
		return "폼에 \"file\"이라는 이름의 필드가 없습니다. 받은 필드의 이름: {fields}."
	case "idempotency-key-reused":
		return "이 Idempotency-Key는 다른 요청에 이미 사용되었습니다."
	case "invalid-parts":
		return "조각을 합칠 수 없습니다. 빠진 조각이 있거나, ETag가 다르거나, 모두 합하면 너무 큽니다."
	case "malformed-digest":
		return "Content-Digest와 Repr-Digest 헤더는 sha-256=:base64: 형식이어야 합니다."
	case "malformed-idempotency-key":
		return "Idempotency-Key 헤더에는 제어 문자가 없는 1~255바이트의 키 하나가 있어야 합니다."
	case "malformed-multipart":
		return "multipart 본문의 형식이 잘못되었습니다."
	case "source-unreadable":
		return "서비스의 비밀 값이 바뀌어 녹음 파일의 주소를 더 이상 읽을 수 없습니다."
	case "quota-exceeded":
		return "이 소유자의 한도({limit_bytes}바이트)를 넘었습니다."
	case "part-too-small":
		return "마지막을 제외한 모든 조각은 5 MiB 이상이어야 합니다."
	case "too-many-uploads":
		return "끝내지 않은 업로드가 {limit}개입니다. 몇 개를 끝내거나 취소해 주세요."
	case "upload-not-found":
		return "없는 업로드입니다. 시작하지 않았거나, 취소했거나, 기한이 지난 업로드입니다."
	case "offset-mismatch":
		return "업로드가 이 위치에서 끝나지 않습니다. 현재 위치를 확인한 뒤 거기서 이어 보내 주세요."
	case "upload-superseded":
		return "다른 요청이 이 업로드를 이어받았습니다. 현재 위치를 확인한 뒤 거기서 이어 보내 주세요."
	case "checksum-mismatch":
		return "받은 바이트가 체크섬과 다릅니다. 이 요청의 바이트는 저장되지 않았습니다."
	case "unsupported-tus-version":
		return "이 서버는 tus 1.0.0(Tus-Resumable 헤더)과 IETF 초안의 버전 3~6(Upload-Draft-Interop-Version 헤더)을 사용합니다."
	case "wrong-content-type":
		return "업로드의 바이트에는 Content-Type: application/offset+octet-stream 헤더가 필요합니다. IETF 초안에서는 application/partial-upload입니다."
	case "upload-not-finished":
		return "아직 끝나지 않은 부분 업로드가 있습니다."
	case "too-many-parts":
		return "업로드가 너무 자주 끊겼습니다. 처음부터 다시 보내 주세요."
	case "not-multipart":
		return "요청의 Content-Type이 {content_type}입니다. \"file\"이라는 이름의 필드에 파일을 담아 multipart/form-data로 보내 주세요."
	case "unsupported-encoding":
		return "지원하지 않는 Content-Encoding입니다."
	case "unsupported-codec":
		return "파일의 코덱({codec})은 소리로 디코딩할 수 없습니다. " +
			"PCM, FLAC, ALAC, MP3, AAC, Opus, Vorbis, Speex, AMR, GSM, ADPCM을 사용할 수 있습니다."
	}
	return ""
}

// koreanOfAccess translates a sentence about the credentials of a request. It returns "" for an
// unknown sentence.
func koreanOfAccess(english string) string {
	switch english {
	case "The request has more than one Authorization or X-API-Key header.":
		return "요청에 Authorization 또는 X-API-Key 헤더가 둘 이상 있습니다. 하나만 보내 주세요."
	case "The header Authorization must be the word Bearer and a token or an API key.":
		return "Authorization 헤더는 Bearer라는 단어와 토큰 또는 API 키여야 합니다."
	case "The token has expired.":
		return "토큰의 유효 기간이 지났습니다."
	case "The token is not valid yet.":
		return "토큰이 아직 유효하지 않습니다."
	case "The token is meant for another service: its audience differs.":
		return "다른 서비스를 위한 토큰입니다. 대상(aud)이 다릅니다."
	case "The token is of another issuer.":
		return "다른 발급자의 토큰입니다."
	case "The token lacks a claim that is required: exp, or aud.":
		return "토큰에 필요한 클레임(exp 또는 aud)이 없습니다."
	case "The token is signed with a key that the identity provider does not have.":
		return "토큰이 인증 제공자에게 없는 키로 서명되어 있습니다."
	case "The signature of the token is wrong, or its algorithm is not accepted.":
		return "토큰의 서명이 맞지 않거나 허용되지 않는 알고리즘입니다."
	case "The token is of a kind that is not accepted.":
		return "허용되지 않는 종류의 토큰입니다."
	case "The token has a time after the year 9999: exp and nbf are seconds since 1970.":
		return "토큰의 시각이 9999년 이후입니다. exp와 nbf는 1970년부터 센 초여야 합니다."
	case "The token names no subject, or one that cannot be used.":
		return "토큰에 주체(sub)가 없거나 쓸 수 없는 값입니다."
	case "The token cannot be read.":
		return "토큰을 읽을 수 없습니다."
	case "The API key is not valid.":
		return "API 키가 맞지 않습니다."
	case "The API key was revoked.":
		return "폐기된 API 키입니다."
	case "The API key has expired.":
		return "API 키의 유효 기간이 지났습니다."
	}
	return ""
}

// koreanOfRequest returns the sentence for a code about a request or a service, or "" for another
// code.
func koreanOfRequest(code string) string {
	switch code {
	case "busy":
		return "지금은 처리 중인 요청이 너무 많습니다. 잠시 후 다시 시도해 주세요."
	case "bus-full":
		return "지금은 서비스에 여유 공간이 없습니다. 잠시 후 다시 시도해 주세요."
	case "contended":
		return "작업의 상태가 너무 자주 바뀌고 있습니다. 잠시 후 다시 시도해 주세요."
	case "data-refused":
		return "데이터를 저장할 수 없습니다."
	case "headers-too-large":
		return "요청 헤더가 너무 큽니다."
	case "host-not-allowed":
		return "이 호스트 이름으로는 서비스를 쓸 수 없습니다. 허용할 호스트는 운영자가 ALLOWED_HOSTS로 정합니다."
	case "identity-provider-unavailable":
		return "지금은 인증 제공자에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."
	case "insufficient-scope":
		return "이 인증 정보에는 필요한 권한({scope})이 없습니다."
	case "internal":
		return "서버에서 문제가 발생했습니다."
	case "invalid-token":
		return "인증 정보가 유효하지 않습니다."
	case "method-not-allowed":
		return "이 경로에는 이 메서드를 쓸 수 없습니다. Allow 헤더에 쓸 수 있는 메서드가 있습니다."
	case "not-json":
		return "본문에는 Content-Type: application/json 헤더가 필요합니다."
	case "origin-not-allowed":
		return "이 출처(origin)의 페이지는 여기에서 아무것도 바꿀 수 없습니다. 허용할 출처는 운영자가 CORS_ALLOWED_ORIGINS로 정합니다."
	case "rate-limited":
		return "이 클라이언트의 한도({limit})를 넘었습니다. 잠시 후 다시 시도해 주세요."
	case "route-not-found":
		return "이 경로와 메서드에는 아무것도 없습니다."
	case "stopping":
		return "서비스가 다시 시작하는 중입니다. 잠시 후 다시 시도해 주세요."
	case "too-large":
		return "내용이 허용된 최대 크기({max_bytes}바이트)보다 큽니다."
	case "unavailable":
		return "지금은 필요한 서비스에 연결할 수 없습니다. 잠시 후 다시 시도해 주세요."
	case "unauthenticated":
		return "Authorization: Bearer 헤더에 토큰 또는 API 키를 담아 보내 주세요."
	case "validation-failed":
		return "요청이 하나 이상의 규칙에 어긋납니다."
	}
	return ""
}

// koreanOfResource returns the sentence for a code about a job, an entry of the catalogue or an
// object, or "" for another code.
func koreanOfResource(code string) string {
	switch code {
	case "actor-exists":
		return "같은 이름의 배우가 이미 있습니다."
	case "actor-not-found":
		return "해당 배우가 없습니다."
	case "api-key-not-found":
		return "해당 API 키가 없습니다."
	case "audio-deleted":
		return "이 작업의 녹음은 보관 기간이 끝나 삭제되었습니다."
	case "audio-not-stored":
		return "이 작업의 녹음이 저장되어 있지 않거나 아직 저장되지 않았습니다."
	case "job-erased":
		return "작업이 삭제되었습니다."
	case "job-id-missing":
		return "쿼리 매개변수 job_id가 없습니다."
	case "job-not-cancelable":
		return "작업의 현재 상태({current_status})에서는 취소할 수 없습니다."
	case "invalid-ticket":
		return "티켓의 유효 기간이 지났거나 이 작업의 티켓이 아닙니다. 새로 발급받아 주세요."
	case "job-not-found":
		return "해당 작업이 없습니다."
	case "job-not-retryable":
		return "작업의 현재 상태({current_status})에서는 다시 시도할 수 없습니다."
	case "not-retryable":
		return "다시 시도해도 결과가 달라지지 않는 이유로 실패한 작업입니다. 그래도 다시 시도하려면 ?force=true를 붙여 주세요."
	case "precondition-failed":
		return "그사이 다른 사람이 변경했습니다. 다시 읽은 뒤 시도해 주세요."
	case "reference-foreign":
		return "참조가 이 저장소의 객체를 가리키지 않습니다."
	case "reference-not-allowed":
		return "토큰의 참조 파일이 허용되지 않은 위치에 있습니다. 토큰을 고쳐야 합니다."
	case "reference-invalid":
		return "참조가 가리킬 수 있는 객체가 없습니다."
	case "script-not-found":
		return "해당 대본이 없습니다."
	case "signature-invalid":
		return "서명이 맞지 않습니다. 받은 웹훅 URL을 그대로 사용해 주세요."
	case "too-many-api-keys":
		return "한 소유자가 가질 수 있는 API 키를 모두 사용했습니다."
	case "token-missing":
		return "대본의 token_id에 해당하는 문장이 없습니다."
	case "token-not-found":
		return "해당 문장이 없습니다."
	}
	return ""
}
