// undici and axios, each as its users write it, in every form that it can speak.
//
// `clients.mjs CLIENT` sends one request per form and connection, and those that must be refused.
// It knows the proxy and an access token, and no credential; run.py judges what has arrived.
// Each line of its output is `sent PATH` or `refused CASE`.

import assert from 'node:assert/strict'
import axios from 'axios'
import axios116 from 'axios-1.16'
import { Agent, Client, interceptors, ProxyAgent, request } from 'undici'

// STRICT has plain_http = "refuse" and a unix socket, UPGRADE and SECURE have "upgrade", SECURE
// speaks TLS to its callers; NODE_EXTRA_CA_CERTS says whom to trust there.
const { STRICT, UPGRADE, SECURE, SOCKET, TOKEN } = process.env
const HOST = 'api.example.test'
const CONNECTIONS = ['bearer', 'key', 'basic']

// Where an SDK puts its API key: there the access token may stand in base-URL form.
const slot = connection => ({
  bearer: { authorization: `Bearer ${TOKEN}` },
  key: { 'X-Api-Key': TOKEN },
  basic: { authorization: `Basic ${btoa(`anyone:${TOKEN}`)}` }
})[connection]
const tags = connection =>
  ({ 'X-Zis-Connection': connection, 'Proxy-Authorization': `Bearer ${TOKEN}` })
const gateway = (connection, host = HOST) => ({ 'X-Zis-Host': host, ...tags(connection) })
const proxyUrl = (proxy, connection) => proxy.replace('://', `://demo.${connection}:${TOKEN}@`)

// Each form is what `request` takes; without a URL it is the dispatcher itself that is asked.
const undici = {
  forms: {
    'base-url': (c, p) => [`${STRICT}/~/${c}${p}`, { headers: slot(c) }],
    'base-url-redirect': (c, p) => [`${STRICT}/~/${c}/moved${p}`, {
      headers: slot(c),
      dispatcher: new Agent().compose(interceptors.redirect({ maxRedirections: 1 }))
    }],
    'base-url-socket': (c, p) => [`http://localhost/~/${c}${p}`, {
      headers: slot(c),
      dispatcher: new Client('http://localhost', { socketPath: SOCKET })
    }],
    'base-url-tls-h2': (c, p) => [`${SECURE}/~/${c}${p}`, {
      headers: slot(c),
      dispatcher: new Agent({ allowH2: true })
    }],
    gateway: (c, p) => [STRICT + p, { headers: gateway(c) }],
    'gateway-socket': (c, p) => [`http://localhost${p}`, {
      headers: gateway(c),
      dispatcher: new Client('http://localhost', { socketPath: SOCKET })
    }],
    'absolute-https': (c, p) => [null, {
      headers: tags(c),
      dispatcher: new Client(STRICT),
      path: `https://${HOST}${p}`
    }],
    'absolute-http': (c, p) => [`http://${HOST}${p}`, {
      dispatcher: new ProxyAgent({ uri: proxyUrl(UPGRADE, c), proxyTunnel: false })
    }]
  },
  refusals: {
    'base-url-no-token': p => [`${STRICT}/~/bearer${p}`, {}],
    // A ProxyAgent keeps a 407 to itself and throws; the client below it sees the answer.
    'absolute-http-no-token': p => [null, {
      dispatcher: new Client(UPGRADE),
      path: `http://${HOST}${p}`
    }],
    'gateway-wrong-domain': p => [STRICT + p, { headers: gateway('bearer', 'evil.example.test') }],
    'absolute-http-refused': p => [`http://${HOST}${p}`, {
      dispatcher: new ProxyAgent({ uri: proxyUrl(STRICT, 'bearer'), proxyTunnel: false })
    }]
  },
  async run ([url, given], path) {
    const options = { method: 'POST', body: path, ...given }
    const answer = await (url ? request(url, options) : options.dispatcher.request(options))
    const text = await answer.body.text()
    await options.dispatcher?.close()
    return { status: answer.statusCode, text, fields: answer.headers }
  }
}

const axiosProxy = (proxy, connection) => {
  const { hostname, port } = new URL(proxy)
  const auth = connection && { username: `demo.${connection}`, password: TOKEN }
  return { protocol: 'http', host: hostname, port: Number(port), auth }
}

// Each form is what `axios.request` takes. From 1.16.1 on, axios asks for a tunnel where the URL
// is https://; the releases before it send absolute-form.
const axiosClient = {
  forms: {
    'base-url': (c, p) => ({ baseURL: `${STRICT}/~/${c}`, url: p, headers: slot(c) }),
    'base-url-redirect': (c, p) =>
      ({ baseURL: `${STRICT}/~/${c}`, url: `/moved${p}`, headers: slot(c) }),
    'base-url-socket': (c, p) =>
      ({ socketPath: SOCKET, url: `http://localhost/~/${c}${p}`, headers: slot(c) }),
    'base-url-tls': (c, p) => ({ baseURL: `${SECURE}/~/${c}`, url: p, headers: slot(c) }),
    'base-url-tls-h2': (c, p) =>
      ({ baseURL: `${SECURE}/~/${c}`, url: p, headers: slot(c), httpVersion: 2 }),
    gateway: (c, p) => ({ baseURL: STRICT, url: p, headers: gateway(c) }),
    'gateway-socket': (c, p) =>
      ({ socketPath: SOCKET, url: `http://localhost${p}`, headers: gateway(c) }),
    'absolute-http': (c, p) => ({ url: `http://${HOST}${p}`, proxy: axiosProxy(UPGRADE, c) }),
    'absolute-https': (c, p) =>
      ({ release: axios116, url: `https://${HOST}${p}`, proxy: axiosProxy(STRICT, c) })
  },
  refusals: {
    'base-url-no-token': p => ({ url: `${STRICT}/~/bearer${p}` }),
    'absolute-http-no-token': p => ({ url: `http://${HOST}${p}`, proxy: axiosProxy(UPGRADE) }),
    'gateway-wrong-domain': p =>
      ({ url: STRICT + p, headers: gateway('bearer', 'evil.example.test') }),
    'absolute-http-refused': p =>
      ({ url: `http://${HOST}${p}`, proxy: axiosProxy(STRICT, 'bearer') })
  },
  async run ({ release = axios, ...options }, path) {
    const answer = await release.request({
      method: 'post',
      data: path,
      responseType: 'text',
      transformResponse: text => text,
      validateStatus: null,
      timeout: 20000,
      ...options
    })
    return { status: answer.status, text: answer.data, fields: answer.headers }
  }
}

const REFUSED = {
  'base-url-no-token': [401, 'CallerUnknown'],
  'absolute-http-no-token': [407, 'CallerUnknown'],
  'gateway-wrong-domain': [403, 'DomainNotAllowed'],
  'absolute-http-refused': [403, 'HttpsRequired']
}

const name = process.argv[2]
const client = { undici, axios: axiosClient }[name]
for (const [form, make] of Object.entries(client.forms)) {
  for (const connection of CONNECTIONS) {
    const path = `/${name}/${form}/${connection}`
    const answer = await client.run(make(connection, path), path)
    assert.equal(answer.status, 200, `${path}: ${answer.status} ${answer.text}`)
    assert.equal(typeof JSON.parse(answer.text).received, 'number', path)
    console.log('sent', path)
  }
}
for (const [refusal, make] of Object.entries(client.refusals)) {
  const path = `/${name}/${refusal}/never`
  const answer = await client.run(make(path), path)
  const [{ code }] = JSON.parse(answer.text).errors
  assert.deepEqual([answer.status, code], REFUSED[refusal], refusal)
  assert.match(answer.fields['proxy-status'], /^keyferry; error=/)
  console.log('refused', refusal, answer.status, code)
}
if (client === undici) {
  const dispatcher = new ProxyAgent({ uri: UPGRADE, proxyTunnel: false })
  await assert.rejects(
    request(`http://${HOST}/undici/proxy-agent-no-token/never`, { dispatcher }),
    /Proxy Authentication Required \(407\)/
  )
}
process.exit()
