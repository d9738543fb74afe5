// A look at a file before it is sent, so that people need not wait for a refusal.
// It refuses what cannot be a recording; whether it is one, the server decides.

/** Why a file is not sent; each has its sentence in the dictionaries. */
export type Unfit = "empty" | "too-large" | "unreadable" | "text" | "image" | "pdf" | "archive";

const headSize = 512;

/** Tells why a file cannot be a recording; null where it may be one. */
export async function inspect(file: Blob, maxBytes = Infinity): Promise<Unfit | null> {
  if (file.size === 0) {
    return "empty";
  }
  if (file.size > maxBytes) {
    return "too-large";
  }
  try {
    return unfit(new Uint8Array(await file.slice(0, headSize).arrayBuffer()));
  } catch {
    return "unreadable"; // a folder that was dropped, or a file that is gone
  }
}

const signatures: [Unfit, string, at?: number][] = [
  ["image", "\xff\xd8\xff"], ["image", "\x89PNG\r\n"], ["image", "GIF8"], ["image", "WEBP", 8], ["image", "II*\0"], ["image", "MM\0*"],
  ["image", "ftyphei", 4], ["image", "ftypmif1", 4], ["image", "ftypavif", 4],
  ["pdf", "%PDF-"],
  ["archive", "PK\x03\x04"], ["archive", "PK\x05\x06"], ["archive", "\x1f\x8b"], ["archive", "Rar!"], ["archive", "7z\xbc\xaf"], ["archive", "BZh"],
  ["archive", "\xfd7zXZ"], ["archive", "ustar", 257],
];

/** What the first bytes of a file show it to be, instead of a recording. */
export function unfit(head: Uint8Array): Unfit | null {
  const bytes = String.fromCharCode(...head);
  const found = signatures.find(([, signature, at = 0]) => bytes.startsWith(signature, at));
  return found?.[0] ?? (isText(head) ? "text" : null);
}

/** Whether bytes are nothing but text in UTF-8, of which the last character may be cut. */
function isText(head: Uint8Array): boolean {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return !/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(text);
  } catch {
    return false;
  }
}
