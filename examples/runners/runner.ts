// Calls an API through Keyferry and tells Keyferry's own answers from the API's.
//
// `runner.ts CONNECTION https://HOST/PATH`, with a caller token in KEYFERRY_TOKEN and, where it
// is not http://127.0.0.1:8080, the proxy in KEYFERRY_PROXY. Exit codes: 0 for a 2xx, 1 for any
// other answer of the API, 2 for wrong usage, 3 for a refusal, or where Keyferry can't be reached.
//
// Its types are all inferred, so that it is JavaScript as it stands: a Node that does not know
// TypeScript runs it with `node --input-type=module - CONNECTION URL < runner.ts`.

// With these, and with a Retry-After, the same request may well pass a little later.
const PASSING = ['RateLimited', 'Overloaded', 'ShuttingDown', 'StoreUnavailable']

// Keyferry's own answer. The code is stable; the title is for people and says who must act.
class Refusal extends Error {
  code = ''
  wait = 0

  static async from (answer = new Response()) {
    const [error] = (await answer.json()).errors
    const refusal = new Refusal(`${error.code}: ${error.title}`)
    refusal.code = error.code
    refusal.wait = Number(answer.headers.get('retry-after') ?? 0)
    return refusal
  }
}

// What the API answers. The fields are the whole of the contract: who, with what, and where.
const call = async (proxy = '', token = '', connection = '', url = '') => {
  const origin = new URL(url)
  const answer = await fetch(new URL(proxy).origin + origin.pathname + origin.search, {
    headers: {
      'Proxy-Authorization': `Bearer ${token}`,
      'X-Zis-Connection': connection,
      'X-Zis-Host': origin.host
    },
    // A redirect of the API would be followed past Keyferry, or to it without these fields.
    redirect: 'manual',
    signal: AbortSignal.timeout(30_000)
  })
  if (isRefusal(answer.headers.get('proxy-status') ?? '')) throw await Refusal.from(answer)
  return { status: answer.status, body: new Uint8Array(await answer.arrayBuffer()) }
}

// Whether one member is `keyferry`. In an answer of the API's there is never one; in quotes, or
// as another member, the name says nothing.
const isRefusal = (proxyStatus = '') =>
  proxyStatus.replace(/"(?:[^"\\]|\\.)*"/g, '').split(',')
    .some(member => member.split(';', 1).join('').trim() === 'keyferry')

const persist = async (proxy = '', token = '', connection = '', url = '') => {
  try {
    return await call(proxy, token, connection, url)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { code, wait } = error
    if (!PASSING.includes(code) || wait > 60) throw error
    await new Promise(resolve => setTimeout(resolve, wait * 1000))
    return await call(proxy, token, connection, url)
  }
}

const main = async () => {
  const [connection, url] = process.argv.slice(2)
  const { KEYFERRY_TOKEN: token, KEYFERRY_PROXY: proxy = 'http://127.0.0.1:8080' } = process.env
  if (!token || !connection || !url?.startsWith('https://') || process.argv.length !== 4) {
    console.error('usage: KEYFERRY_TOKEN=… runner.ts CONNECTION https://HOST/PATH')
    return 2
  }
  try {
    const { status, body } = await persist(proxy, token, connection, url)
    console.error(`answered by the API: ${status}`)
    process.stdout.write(body)
    return status >= 200 && status < 300 ? 0 : 1
  } catch (error) {
    const refused = error instanceof Refusal
    console.error(refused ? `refused by Keyferry: ${error.message}` : 'no answer from Keyferry')
    return 3
  }
}

process.exitCode = await main()

// Nothing to give: it says that this is a module, which may await.
export {}
