import type { Language } from ".";
import { isIn } from "./format";

type Sentences = Record<Language, string>;

// What a result warns of, by its code.
export const warnings: Record<string, Sentences> = {
  truncated: { ko: "파일이 중간에 끊겨 있어, 남아 있는 부분까지만 분석했습니다.", en: "The file ends in the middle. What is in it was analysed." },
  "trailing-data": { ko: "오디오 뒤에 다른 데이터가 붙어 있어 무시했습니다.", en: "Other data follows the audio. It was ignored." },
  "leading-junk": { ko: "오디오 앞에 다른 데이터가 있어 건너뛰었습니다.", en: "Other data comes before the audio. It was skipped." },
  "wrong-block-align": { ko: "WAV 헤더의 블록 크기가 잘못되어 형식에 맞게 바로잡아 읽었습니다.", en: "The WAV header tells a wrong block size. It was corrected by the format." },
  "clipped-samples": { ko: "소리가 너무 커서 잘린 구간이 있습니다. 음량과 피치가 부정확할 수 있습니다.", en: "Parts of the recording are clipped, since it is too loud. Loudness and pitch may be inexact." },
  "non-finite-samples": { ko: "숫자가 아닌 표본(NaN, 무한대)이 있어 무음으로 바꾸었습니다.", en: "Some samples are no finite numbers (NaN, infinity). They were taken as silence." },
  "damaged-frames": { ko: "손상된 프레임이 있어 건너뛰었습니다.", en: "Some frames are damaged. They were skipped." },
  "reference-unusable": { ko: "기준 피치 파일을 읽을 수 없어 억양을 비교하지 못했습니다.", en: "The reference could not be read, so the melody was not compared." },
  "too-few-voiced-frames": { ko: "목소리가 있는 부분이 너무 짧아 억양을 비교하지 못했습니다.", en: "There is too little voice in the recording to compare the melody." },
  "no-results": { ko: "분석 서버가 결과 없이 완료를 알렸습니다.", en: "The analysis server said that it is done and sent no results." },
  "non-finite-numbers": { ko: "분석 결과에 숫자가 아닌 값(NaN, 무한대)이 있어 빈 값으로 바꾸었습니다.", en: "The result has values that are no finite numbers (NaN, infinity). They were left empty." },
};

// The sentences in which older analysis servers say the same.
const sentences: [RegExp, string][] = [
  [/^pitch reference not used/, "reference-unusable"],
  [/^too few voiced frames/, "too-few-voiced-frames"],
];

/** The code of a warning, which may be a sentence; empty where it is no code. */
export function codeOf(warning: string): string {
  const known = sentences.find(([sentence]) => sentence.test(warning))?.[1];
  return known ?? (/^[a-z0-9]+(-[a-z0-9]+)*$/.test(warning) ? warning : "");
}

/** A warning in words. One that is not known here is quoted, unless it is in another language. */
export function warningFor(warning: string, language: Language, quoted: (code: string) => string): string {
  const code = codeOf(warning);
  const known = warnings[code]?.[language];
  if (known) {
    return known;
  }
  return code === "" && isIn(language, warning) ? warning : quoted(code || warning);
}
