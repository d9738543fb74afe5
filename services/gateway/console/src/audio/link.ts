const longest = 8192; // the server's own limit

/** Why a link is not sent; each has its sentence in the dictionaries. */
export type BadLink = "needLink" | "noLink" | "linkUser" | "linkTooLong";

/** A link to a recording. What follows the path may be secret: it is not shown. */
export interface Link {
  url: string;
  name: string; // of the file
  host: string;
}

/** Reads a link that a person has typed or pasted, without its fragment. */
export function readLink(text: string): Link | BadLink {
  const trimmed = text.trim();
  if (trimmed === "") {
    return "needLink";
  }
  let url: URL;
  try {
    url = new URL(trimmed);
  } catch {
    return "noLink";
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return "noLink";
  }
  if (url.username !== "" || url.password !== "") {
    return "linkUser";
  }
  url.hash = "";
  return url.href.length > longest ? "linkTooLong" : { url: url.href, name: fileName(url), host: url.host };
}

/** The last part of the path, else the host. */
function fileName(url: URL): string {
  const last = url.pathname.split("/").pop() ?? "";
  try {
    return decodeURIComponent(last) || url.host;
  } catch {
    return last;
  }
}
