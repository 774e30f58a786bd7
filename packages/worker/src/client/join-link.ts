/** The join link, as printed by the coordinator: where to connect, and the token in its fragment. */

export interface JoinLink {
  /** "https://host:port". */
  readonly origin: string;
  readonly token?: string;
}

/** Reads a link. Errors where it is no http(s) address. */
export function parseJoinLink(link: string): JoinLink {
  const address = /^[a-z]+:\/\//i.test(link) ? link : `http://${link}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol))
    throw new Error(
      `a join link like http://192.168.1.20:8080/#token was expected (got ${JSON.stringify(link)}): copy it from the coordinator`,
    );
  return { origin: url.origin, token: tokenOf(url.hash) };
}

/** The token in a fragment: "#T" or "#token=T". */
export function tokenOf(fragment: string): string | undefined {
  const text = decodeURIComponent(fragment.replace(/^#/, ""));
  const token = text.startsWith("token=") ? text.slice("token=".length) : text;
  return token || undefined;
}
