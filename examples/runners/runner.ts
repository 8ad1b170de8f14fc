// The whole of what a program must know of Keyferry, in TypeScript: `runner.ts URL CONNECTION`.
//
// It names a connection, shows its own token, and tells a refusal of Keyferry's from an answer of
// the API's. It needs no library. KEYFERRY_PROXY is http://127.0.0.1:8080 unless it is set, and
// KEYFERRY_TOKEN is the program's access token.

/** Keyferry has sent nothing, or got no answer; `code` says who must act (docs/ERRORS.md). */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, title: string) {
    super(`${code}: ${title}`);
    this.code = code;
  }
}

/** What the API answers. The answer's body streams, as that of any fetch. */
export async function call(
  url: string,
  connection: string,
  init: RequestInit = {},
): Promise<Response> {
  const { host, pathname, search } = new URL(url);
  const proxy = process.env.KEYFERRY_PROXY ?? "http://127.0.0.1:8080";
  const headers = new Headers(init.headers);
  headers.set("X-Zis-Connection", connection);
  headers.set("X-Zis-Host", host);
  headers.set("Proxy-Authorization", `Bearer ${process.env.KEYFERRY_TOKEN}`);
  const answer = await fetch(`${proxy}${pathname}${search}`, {
    ...init,
    headers,
    redirect: "manual",
  });
  // An API's own 403 has no such member: Keyferry takes it out of what it relays.
  if (answer.headers.get("Proxy-Status")?.includes("keyferry")) {
    const { errors } = (await answer.json()) as { errors: { code: string; title: string }[] };
    throw new Refused(errors[0].code, errors[0].title);
  }
  return answer;
}

const [url, connection] = process.argv.slice(2);
if (url && connection) {
  try {
    const answer = await call(url, connection);
    console.log(answer.status, await answer.text());
  } catch (error) {
    console.error(error instanceof Refused ? error.message : error);
    process.exitCode = 1;
  }
}
