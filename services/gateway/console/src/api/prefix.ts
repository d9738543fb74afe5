/**
 * What stands before every path of the API. The gateway writes it into the page,
 * since it may be served under a path such as /api (BASE_PATH), or behind a proxy
 * that cuts one off.
 */
const prefix = typeof document === "undefined" ? "" : (document.querySelector<HTMLMetaElement>('meta[name="sori-prefix"]')?.content ?? "");

/** Where a path of the API is for this page. */
export function at(path: string): string {
  return prefix + path;
}
