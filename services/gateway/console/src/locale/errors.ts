import type { Problem } from "../api/problem";
import type { JobError } from "../api/types";
import type { Language } from ".";
import { atMost, isIn } from "./format";

type Sentences = Record<Language, string>;

// What to do, for every code that a route of the gateway or a failed job may
// have. A code that is not here shows the server's own detail.
export const advice: Record<string, Sentences> = {
  // The console's own: nothing came back, or nothing that could be read.
  offline: { ko: "서버에 연결할 수 없습니다. 인터넷 연결을 확인하고 다시 시도하세요.", en: "The server cannot be reached. Check your connection and try again." },
  unexpected: { ko: "예상하지 못한 문제가 생겼습니다. 페이지를 새로 고쳐 보세요.", en: "Something unexpected happened. Try reloading the page." },
  "link-refused": { ko: "서버가 이 주소에서는 가져오지 않습니다. 누구나 열 수 있는 http 또는 https 주소를 쓰세요.", en: "The server does not fetch from this address. Use an http or https address that anybody may open." },

  // Uploads.
  "empty-file": { ko: "빈 파일입니다. 소리가 들어 있는 파일을 선택하세요.", en: "The file is empty. Choose one with sound in it." },
  "unsupported-audio": {
    ko: "오디오 파일이 아니거나 알 수 없는 형식입니다. WAV, FLAC, MP3, Ogg, M4A, WebM, AIFF, AMR, CAF 파일을 선택하세요.",
    en: "This is not audio of a known format. Choose a WAV, FLAC, MP3, Ogg, M4A, WebM, AIFF, AMR or CAF file.",
  },
  "too-large": { ko: "파일이 너무 큽니다. 더 짧게 자르거나 압축한 뒤 올리세요.", en: "The file is too large. Shorten or compress it, then upload it again." },
  "digest-mismatch": { ko: "파일이 전송 중에 손상되었습니다. 다시 보내세요.", en: "The file was damaged on its way. Send it again." },
  "file-missing": { ko: "파일이 함께 오지 않았습니다. 파일을 다시 선택하세요.", en: "No file arrived. Choose it again." },
  "file-ambiguous": { ko: "파일은 한 번에 하나만 올릴 수 있습니다.", en: "Only one file can be uploaded at a time." },
  "not-multipart": { ko: "업로드 형식이 잘못되었습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "The upload had the wrong form. Reload the page and try again." },
  "malformed-multipart": { ko: "업로드가 중간에 끊겼습니다. 다시 보내세요.", en: "The upload was cut short. Send it again." },
  "malformed-digest": { ko: "파일의 검증값이 잘못되었습니다. 다시 보내세요.", en: "The file's checksum was malformed. Send it again." },
  "body-truncated": { ko: "전송이 중간에 끊겼습니다. 다시 시도하세요.", en: "The transfer was cut short. Try again." },
  "request-timeout": { ko: "전송이 너무 느려 서버가 기다리지 못했습니다. 연결을 확인하고 다시 시도하세요.", en: "The transfer was too slow for the server. Check your connection and try again." },
  "idempotency-key-in-use": { ko: "같은 업로드가 아직 진행 중입니다. 잠시 후 다시 시도하세요.", en: "The same upload is still under way. Try again in a moment." },
  "idempotency-key-reused": { ko: "이 업로드는 다른 파일로 이미 끝났습니다. 파일을 다시 선택해 새로 시작하세요.", en: "This upload was already made with another file. Choose the file again to start anew." },
  "malformed-idempotency-key": { ko: "업로드를 식별할 수 없습니다. 파일을 다시 선택해 새로 시작하세요.", en: "The upload could not be identified. Choose the file again to start anew." },
  busy: { ko: "지금은 업로드가 많습니다. 잠시 후 다시 시도하세요.", en: "Many uploads are under way. Try again in a moment." },
  "bus-full": { ko: "서버의 대기 공간이 가득 찼습니다. 잠시 후 다시 시도하고, 계속되면 운영자에게 알리세요.", en: "The server has no room for more work. Try again later; if it persists, tell the operator." },

  "quota-exceeded": { ko: "쓸 수 있는 용량을 모두 썼습니다. 필요 없는 작업을 삭제하거나 나중에 다시 시도하세요.", en: "You have used all your space. Delete jobs that you no longer need, or try again later." },

  // Requests in general.
  "validation-failed": { ko: "입력한 값 중에 맞지 않는 것이 있습니다. 표시된 항목을 고치세요.", en: "Some values are not right. Correct the fields that are marked." },
  "malformed-request": { ko: "요청을 읽을 수 없습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "The request could not be read. Reload the page and try again." },
  "malformed-json": { ko: "요청을 읽을 수 없습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "The request could not be read. Reload the page and try again." },
  "not-json": { ko: "요청의 형식이 잘못되었습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "The request had the wrong form. Reload the page and try again." },
  "headers-too-large": { ko: "요청의 헤더가 너무 큽니다. 이 사이트의 쿠키를 지우고 다시 시도하세요.", en: "The request's header is too large. Clear this site's cookies and try again." },
  "data-refused": { ko: "저장할 수 없는 글자가 들어 있습니다. 입력을 고치고 다시 시도하세요.", en: "The data holds something that cannot be stored. Correct it and try again." },
  "route-not-found": { ko: "이 서버는 이 기능을 아직 제공하지 않습니다. 운영자에게 업데이트를 문의하세요.", en: "This server does not offer that yet. Ask its operator for an update." },
  "method-not-allowed": { ko: "이 서버는 이 기능을 아직 제공하지 않습니다. 운영자에게 업데이트를 문의하세요.", en: "This server does not offer that yet. Ask its operator for an update." },
  "origin-not-allowed": { ko: "이 주소에서는 서버를 쓸 수 없습니다. 운영자에게 프록시 설정(TRUSTED_PROXIES)이나 허용할 주소(CORS_ALLOWED_ORIGINS)를 확인해 달라고 하세요.", en: "The server takes nothing from this address. Ask its operator to check the proxy (TRUSTED_PROXIES) or the allowed origins (CORS_ALLOWED_ORIGINS)." },
  "host-not-allowed": { ko: "이 주소로는 서버를 쓸 수 없습니다. 운영자에게 허용할 호스트 이름(ALLOWED_HOSTS)을 확인해 달라고 하세요.", en: "The server is not served under this host name. Ask its operator to check the allowed hosts (ALLOWED_HOSTS)." },
  "invalid-parts": { ko: "업로드의 조각이 맞지 않습니다. 파일을 다시 올리세요.", en: "The parts of the upload do not fit together. Upload the file again." },
  "part-too-small": { ko: "업로드의 조각이 너무 작습니다. 파일을 다시 올리세요.", en: "A part of the upload is too small. Upload the file again." },
  "upload-not-found": { ko: "이 업로드는 취소되었거나 기한이 지났습니다. 파일을 다시 올리세요.", en: "This upload was aborted or has expired. Upload the file again." },
  "too-many-uploads": { ko: "끝나지 않은 업로드가 너무 많습니다. 먼저 몇 개를 끝내거나 취소하세요.", en: "Too many uploads are unfinished. Finish or cancel some of them first." },
  "too-many-parts": { ko: "업로드가 너무 많은 조각으로 나뉘었습니다. 파일을 다시 올리세요.", en: "The upload has too many parts. Upload the file again." },
  "offset-mismatch": { ko: "업로드가 다른 곳에서 이어졌습니다. 다시 시도하면 이어서 올립니다.", en: "The upload was continued from elsewhere. Try again to continue it." },
  "upload-superseded": { ko: "이 업로드는 다른 연결에서 이어지고 있습니다.", en: "The upload goes on over another connection." },
  "checksum-mismatch": { ko: "전송 중에 손상된 부분이 있습니다. 다시 시도하면 이어서 올립니다.", en: "A part was damaged on its way. Try again to continue." },
  "upload-not-finished": { ko: "업로드가 아직 끝나지 않았습니다.", en: "The upload is not finished yet." },
  "unsupported-tus-version": { ko: "서버가 이 업로드 방식의 버전을 지원하지 않습니다. 페이지를 새로 고치세요.", en: "The server does not know this version of the upload protocol. Reload the page." },
  "wrong-content-type": { ko: "요청의 형식이 잘못되었습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "The request had the wrong form. Reload the page and try again." },
  "rate-limited": { ko: "너무 많은 요청을 보냈습니다. 잠시 후 다시 시도하세요.", en: "Too many requests were sent. Try again in a moment." },
  "precondition-failed": { ko: "그사이 다른 사람이 고쳤습니다. 새로 불러와 확인한 뒤 다시 저장하세요.", en: "Somebody else has changed it meanwhile. Reload, look again, then save." },
  unavailable: { ko: "서버의 일부가 잠시 응답하지 않습니다. 잠시 후 다시 시도하세요.", en: "A part of the server is away for the moment. Try again shortly." },
  contended: { ko: "같은 작업을 여러 곳에서 바꾸고 있습니다. 잠시 후 다시 시도하세요.", en: "This is being changed from several places at once. Try again in a moment." },
  stopping: { ko: "서버가 다시 시작하는 중입니다. 잠시 후 다시 시도하세요.", en: "The server is restarting. Try again in a moment." },
  internal: { ko: "서버에서 문제가 생겼습니다. 계속되면 요청 번호와 함께 운영자에게 알리세요.", en: "Something went wrong at the server. If it persists, tell the operator the request's number." },

  // What is not there, or is there already.
  "token-not-found": { ko: "없는 문장입니다. 삭제되었을 수 있으니 다른 문장을 선택하세요.", en: "There is no such line. It may have been deleted; choose another." },
  "token-missing": { ko: "대본이 속한 문장이 없습니다. 삭제되었을 수 있으니 다른 문장을 선택하세요.", en: "The script's line is not there. It may have been deleted; choose another." },
  "script-not-found": { ko: "없는 대본입니다. 삭제되었을 수 있습니다.", en: "There is no such script. It may have been deleted." },
  "actor-not-found": { ko: "없는 배우입니다. 삭제되었을 수 있습니다.", en: "There is no such actor. It may have been deleted." },
  "actor-exists": { ko: "같은 이름의 배우가 이미 있습니다. 다른 이름을 쓰세요.", en: "There is already an actor of this name. Use another." },
  "job-not-found": { ko: "없는 작업이거나 다른 사람의 작업입니다. 주소와 로그인한 사용자를 확인하세요.", en: "There is no such job. Check the address, and that you are signed in as the one who made it." },
  "job-erased": { ko: "삭제된 작업입니다. 녹음과 결과도 함께 지워졌습니다.", en: "This job was deleted, with its recording and result." },
  "job-not-cancelable": { ko: "이미 끝난 작업이라 취소할 수 없습니다.", en: "The job has ended already and cannot be canceled." },
  "job-not-retryable": { ko: "지금 상태에서는 다시 시도할 수 없습니다. 녹음을 새로 올리세요.", en: "The job cannot be tried again as it is. Upload the recording anew." },
  "audio-deleted": { ko: "녹음의 보관 기간이 끝나 삭제되었습니다. 다시 분석하려면 새로 올리세요.", en: "This recording was deleted when its retention was over. Upload it again to analyse it again." },
  "audio-not-stored": { ko: "녹음이 아직 저장되지 않았습니다. 잠시 후 다시 시도하세요.", en: "The recording is not stored yet. Try again in a moment." },

  "not-retryable": { ko: "다시 시도해도 같은 이유로 실패합니다. 다른 녹음을 올리세요.", en: "It would fail again for the same reason. Upload another recording." },
  "unsupported-encoding": { ko: "압축된 전송은 받지 않습니다. 페이지를 새로 고친 뒤 다시 시도하세요.", en: "Compressed transfers are not taken. Reload the page and try again." },

  unauthenticated: { ko: "이 서비스를 쓰려면 로그인해야 합니다.", en: "You have to sign in to use this service." },
  "invalid-token": { ko: "로그인이 만료되었거나 유효하지 않습니다. 다시 로그인하세요.", en: "The sign-in has expired or is not valid. Sign in again." },
  "invalid-ticket": { ko: "링크가 만료되었습니다. 페이지를 새로 고치세요.", en: "The link has expired. Reload the page." },
  "insufficient-scope": { ko: "로그인한 사용자나 API 키에 이 작업을 할 권한이 없습니다. 운영자에게 문의하세요.", en: "You are signed in, but not allowed to do this. Ask the operator for the permission." },
  "identity-provider-unavailable": { ko: "지금은 로그인을 확인할 수 없습니다. 잠시 후 다시 시도하세요.", en: "Sign-ins cannot be checked right now. Try again in a moment." },
  "api-key-not-found": { ko: "해당 API 키가 없습니다.", en: "There is no such API key." },
  "too-many-api-keys": { ko: "API 키가 너무 많습니다. 쓰지 않는 키를 먼저 폐기하세요.", en: "There are too many API keys. Revoke one that is not used first." },

  // Why a job failed.
  "unsupported-codec": { ko: "분석할 수 없는 코덱입니다. WAV, FLAC, MP3 등으로 변환해 다시 올리세요.", en: "The recording's codec cannot be analysed. Convert it, to WAV, FLAC or MP3 say, and upload it again." },
  "no-audio": { ko: "파일에서 소리를 찾을 수 없습니다. 다른 파일을 올리세요.", en: "There is no sound in the file. Upload another one." },
  "audio-too-long": { ko: "녹음이 너무 깁니다. 나누어 올리세요.", en: "The recording is too long. Upload it in parts." },
  "audio-too-large": { ko: "녹음 파일이 너무 큽니다. 더 짧게 자르거나 압축해 올리세요.", en: "The file is too large to be analysed. Shorten or compress it." },
  "analysis-crashed": { ko: "파일이 손상되어 분석할 수 없습니다. 다시 저장하거나 변환해 올리세요.", en: "The file is damaged in a way that stops the analysis. Save or convert it anew, and upload it again." },
  "decode-limit-exceeded": { ko: "파일을 읽는 데 너무 오래 걸려 분석을 멈추었습니다. WAV나 FLAC으로 변환해 다시 올리세요.", en: "Reading the file took too long. Convert it to WAV or FLAC, and upload it again." },
  "audio-unreachable": { ko: "분석 서버가 녹음을 받아 오지 못했습니다. 다시 시도하세요.", en: "The analysis server could not fetch the recording. Try again." },
  "analysis-failed": { ko: "분석 서버가 이 녹음을 분석하지 못했습니다. 계속되면 운영자에게 알리세요.", en: "The analysis server could not analyse this recording. If it happens again, tell the operator." },
  "analysis-rejected": { ko: "분석 서버가 이 녹음을 받지 않았습니다. 운영자에게 알리세요.", en: "The analysis server refused this recording. Tell the operator." },
  "analysis-timeout": { ko: "분석이 제시간에 끝나지 않았습니다. 다시 시도하세요.", en: "The analysis did not finish in time. Try again." },
  "analysis-unavailable": { ko: "분석 서버가 응답하지 않습니다. 잠시 후 다시 시도하세요.", en: "The analysis server is away. Try again later." },
  "dispatch-timeout": { ko: "정해진 시간 안에 분석을 시작하지 못했습니다. 다시 시도하거나 녹음을 새로 올리세요.", en: "The analysis could not be started in time. Try again, or upload the recording anew." },
  "staging-lost": { ko: "올린 녹음을 저장하기 전에 잃어버렸습니다. 다시 올려 주세요.", en: "The recording was lost before it was stored. Please upload it again." },
  "fetch-failed": { ko: "주어진 주소에서 녹음을 가져오지 못했습니다. 주소를 확인하고 다시 시도하세요.", en: "The recording could not be fetched from its URL. Check the URL, and try again." },
  "fetch-refused-address": { ko: "주어진 주소에는 접근할 수 없습니다. 공개된 주소를 사용하세요.", en: "The URL leads to an address that may not be reached. Use a public one." },
  "fetch-too-large": { ko: "주어진 주소의 녹음이 너무 큽니다. 더 짧게 자르거나 압축하세요.", en: "The recording at the URL is too large. Shorten or compress it." },
  "fetch-timeout": { ko: "녹음이 제시간에 도착하지 않았습니다. 다시 시도하세요.", en: "The recording did not arrive from its URL in time. Try again." },
  "source-unreadable": { ko: "녹음의 주소를 더는 읽을 수 없습니다. 다시 요청하세요.", en: "The URL of the recording can no longer be read. Send it again." },
  "recording-unknown": { ko: "녹음이 저장된 곳을 알 수 없습니다. 다시 올려 주세요.", en: "It is not known where the recording is stored. Please upload it again." },
  "object-not-found": { ko: "저장된 녹음을 찾을 수 없습니다. 다시 올려 주세요.", en: "The stored recording is gone. Please upload it again." },
  "reference-invalid": { ko: "문장의 기준 파일 주소가 잘못되었습니다. 문장을 고친 뒤 다시 시도하세요.", en: "The line's reference is no valid address. Correct the line, then try again." },
  "reference-not-allowed": { ko: "문장의 기준 파일이 허용되지 않은 위치에 있습니다. 운영자에게 알리세요.", en: "The line's reference lies where references may not lie. Tell the operator." },
  "reference-foreign": { ko: "문장의 기준 파일이 다른 서버에 있습니다. 운영자에게 알리세요.", en: "The line's reference lies on another server. Tell the operator." },
  "result-lost": { ko: "결과를 기록하기 전에 잃어버렸습니다. 다시 시도하세요.", en: "The result was lost before it was recorded. Try again." },
  "result-malformed": { ko: "분석 서버의 결과를 읽을 수 없습니다. 운영자에게 알리세요.", en: "The analysis server's result cannot be read. Tell the operator." },
  unprojectable: { ko: "작업을 기록할 수 없습니다. 운영자에게 알리세요.", en: "The job could not be recorded. Tell the operator." },
  "log-lost": { ko: "작업의 경과를 더는 알 수 없습니다. 녹음을 다시 올려 주세요.", en: "What became of the job is no longer known. Please upload the recording again." },
};

// For codes that are not known here, as of an answer that a proxy made: what the
// status alone says.
const byStatus: Record<number, string> = { 408: "request-timeout", 410: "job-erased", 413: "too-large", 429: "rate-limited", 502: "unavailable", 503: "unavailable", 504: "unavailable" };

function codeOf(status: number): string {
  return byStatus[status] ?? (status >= 500 ? "internal" : status >= 400 ? "malformed-request" : "unexpected");
}

/** What to tell a person about a failure, in words that say what to do. */
export function adviceFor(failure: Problem | JobError, language: Language): string {
  const limit = "extra" in failure ? failure.extra["max_bytes"] : undefined;
  if (failure.code === "too-large" && typeof limit === "number") {
    return tooLarge[language](atMost(limit, language));
  }
  if (linkFault(failure) !== undefined) {
    return (advice["link-refused"] as Sentences)[language];
  }
  const budget = "extra" in failure ? failure.extra["budget"] : undefined;
  if (failure.code === "quota-exceeded" && typeof budget === "string" && budget in overBudget) {
    return (overBudget[budget] as Sentences)[language];
  }
  const known = advice[failure.code];
  if (known) {
    return known[language];
  }
  if (failure.detail !== "" && isIn(language, failure.detail)) {
    return failure.detail;
  }
  return (advice["status" in failure ? codeOf(failure.status) : "analysis-failed"] as Sentences)[language];
}

/** What is wrong with the URL of a recording, if that is why a request was refused. */
function linkFault(failure: Problem | JobError): string | undefined {
  return "errors" in failure ? failure.errors.find(({ pointer }) => pointer === "/audio_url")?.detail : undefined;
}

/**
 * What the server says beside the advice; empty where that adds nothing. It is an
 * analysis server's own reason, under a code of its own, the codec that was found, or
 * what is wrong with a URL.
 */
export function reasonFor(failure: Problem | JobError, language: Language): string {
  const fault = linkFault(failure);
  if (fault !== undefined) {
    return fault;
  }
  const adds = "retryable" in failure ? !(failure.code in advice) : failure.code === "unsupported-codec";
  return adds && failure.detail !== adviceFor(failure, language) ? failure.detail : "";
}

// What to do about each budget of the owner.
const overBudget: Record<string, Sentences> = {
  staged_bytes: { ko: "앞서 올린 녹음이 아직 저장되지 않았습니다. 잠시 후 다시 시도하세요.", en: "Your earlier uploads are not stored yet. Try again in a moment." },
  stored_bytes: { ko: "녹음이 쓸 수 있는 용량을 모두 썼습니다. 필요 없는 작업을 삭제한 뒤 다시 올리세요.", en: "Your recordings use all your space. Delete jobs that you no longer need, then upload it again." },
  log_bytes: { ko: "최근 작업이 너무 많습니다. 필요 없는 작업을 삭제하거나 나중에 다시 시도하세요.", en: "You have too many recent jobs. Delete those that you no longer need, or try again later." },
};

const tooLarge: Record<Language, (limit: string) => string> = {
  ko: (limit) => `파일이 올릴 수 있는 크기(${limit})보다 큽니다. 더 짧게 자르거나 압축한 뒤 올리세요.`,
  en: (limit) => `The file is larger than the ${limit} that can be uploaded. Shorten or compress it, then upload it again.`,
};
