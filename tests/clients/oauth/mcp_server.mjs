// A real MCP server (Streamable HTTP) on loopback, over TLS, which takes only tokens that the
// provider gave for it. `mcp_server.mjs CONFIG CERT KEY` reads
//
//   { "host": …, "port": …, "issuer": …, "id": …, "secret": … }
//
// and says on standard output where it is. By its id and secret it asks the provider about tokens.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:https";

import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { isInitializeRequest } from "@modelcontextprotocol/sdk/types.js";

const [config, cert, key] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const { host, port, issuer, id, secret } = JSON.parse(config);
const url = `https://${host}:${port}`;

/** What the provider says of a token (RFC 7662). */
function introspected(token) {
  const { hostname, port } = new URL(issuer);
  const pair = [id, secret].map(encodeURIComponent).join(":");
  const options = {
    host: "127.0.0.1", port, servername: hostname, method: "POST", path: "/token/introspection",
    rejectUnauthorized: false,
    headers: {
      host: `${hostname}:${port}`, "content-type": "application/x-www-form-urlencoded",
      authorization: `Basic ${Buffer.from(pair).toString("base64")}`,
    },
  };
  return new Promise((resolve, reject) => {
    const asking = request(options, async (answer) => {
      let text = "";
      for await (const piece of answer) text += piece;
      resolve(JSON.parse(text));
    });
    asking.on("error", reject);
    asking.end(new URLSearchParams({ token }).toString());
  });
}

const verifier = {
  async verifyAccessToken(token) {
    const said = await introspected(token);
    return {
      token, clientId: said.client_id ?? "", scopes: (said.scope ?? "").split(" "),
      expiresAt: said.active ? said.exp : 0,
      resource: said.aud ? new URL(said.aud) : undefined,
    };
  },
};

function toolServer() {
  const server = new McpServer({ name: "example", version: "1.0.0" });
  server.registerTool("count", { description: "Counts to three, and says so" }, async (extra) => {
    for (let progress = 1; progress <= 3; progress += 1) {
      await extra.sendNotification({
        method: "notifications/progress",
        params: { progressToken: extra._meta.progressToken, progress, total: 3 },
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    // This one goes by the stream that the client has opened for what nobody has asked.
    await server.server.sendToolListChanged();
    return { content: [{ type: "text", text: "counted" }] };
  });
  return server;
}

const app = createMcpExpressApp({ host, allowedHosts: [host] });
const metadata = "/.well-known/oauth-protected-resource/mcp";
app.get(metadata, (_request, response) => response.json({
  resource: `${url}/mcp`, authorization_servers: [issuer], scopes_supported: ["tools"],
}));
const guard = requireBearerAuth({
  verifier, requiredScopes: ["tools"], resourceMetadataUrl: `${url}${metadata}`,
  expectedResource: new URL(`${url}/mcp`),
});
const transports = {};
app.all("/mcp", guard, async (request, response) => {
  let transport = transports[request.headers["mcp-session-id"]];
  if (!transport && isInitializeRequest(request.body)) {
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => { transports[session] = transport; },
    });
    await toolServer().connect(transport);
  }
  if (!transport) return response.status(404).end();
  return transport.handleRequest(request, response, request.body);
});
createServer({ cert, key }, app).listen(port, "127.0.0.1", () => console.log(`mcp ${url}/mcp`));
