// A file that the browser could not keep is chosen again by its user. Its bytes tell whether it
// is the same one: phones give a file another name and another date whenever it is chosen.

const pieces = 16;
const pieceBytes = 4096;

/** Reads the pieces of a file by which it is recognised: from its first to its last bytes. */
export async function sampleOf(file: Blob): Promise<Uint8Array> {
  const step = Math.max(0, file.size - pieceBytes) / (pieces - 1);
  const parts = Array.from({ length: pieces }, (_, i) => file.slice(Math.floor(i * step), Math.floor(i * step) + pieceBytes));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Whether a file is the one of a size and a sample. */
export async function isSame(file: Blob, size: number, sample: Uint8Array): Promise<boolean> {
  if (file.size !== size) {
    return false;
  }
  const found = await sampleOf(file);
  return found.length === sample.length && found.every((byte, i) => byte === sample[i]);
}
