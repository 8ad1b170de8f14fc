// Node's clients, each as its users write it: `client.mjs NAME URL`.

const [name, url] = process.argv.slice(2);
const proxy = process.env.https_proxy;

const clients = {
  async undici() {
    const { EnvHttpProxyAgent, fetch } = await import("undici");
    return (await fetch(url, { dispatcher: new EnvHttpProxyAgent() })).text();
  },
  async axios() {
    const { default: axios } = await import("axios");
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    const agent = { httpsAgent: new HttpsProxyAgent(proxy), proxy: false };
    return JSON.stringify((await axios.get(url, agent)).data);
  },
  async got() {
    const { default: got } = await import("got");
    const { HttpsProxyAgent } = await import("https-proxy-agent");
    return got(url, { agent: { https: new HttpsProxyAgent(proxy) }, retry: { limit: 0 } }).text();
  },
};

console.log(await clients[name]());
