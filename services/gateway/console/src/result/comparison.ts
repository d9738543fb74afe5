import type { Analysis, Token } from "../api/types";
import { codeOf } from "../locale/warnings";

/** Why a result has no similarity; each has its words in the dictionaries. */
export type NotCompared = "noReference" | "referenceUnusable" | "noVoice" | "tooLittleVoice" | "notCompared";

/** Tells why a result was not compared with its token's reference; the token is undefined while it is unknown. */
export function notCompared(result: Analysis, token: Token | undefined): NotCompared {
  const codes = (result.warnings ?? []).map(codeOf);
  if (codes.includes("reference-unusable")) {
    return "referenceUnusable";
  }
  if (token && !token.s3_pitch_url) {
    return "noReference";
  }
  if (result.pitch && !result.pitch.hz.some((hz) => hz !== null)) {
    return "noVoice";
  }
  return codes.includes("too-few-voiced-frames") ? "tooLittleVoice" : "notCompared";
}
