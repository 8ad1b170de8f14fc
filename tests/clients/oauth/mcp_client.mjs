// A real MCP client (Streamable HTTP). `mcp_client.mjs URL TOKEN SECONDS` calls the server's tool for
// so long, and prints `{ "tools", "calls", "progress", "changed", "gaps", "session" }`: the names of
// the tools, how often one was called, all progress, how often the list has changed, the least time
// between two notes of progress in ms, and whether there was a session.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const [url, token, seconds] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
const client = new Client({ name: "tests", version: "1.0.0" });
let [calls, changed] = [0, 0];
const progress = [];
const gaps = [];
client.setNotificationHandler(ToolListChangedNotificationSchema, () => { changed += 1; });
await client.connect(transport);
const { tools } = await client.listTools();
const end = Date.now() + Number(seconds) * 1000;
while (Date.now() < end) {
  let last;
  await client.callTool({ name: "count" }, undefined, {
    onprogress: (note) => {
      if (last) gaps.push(Date.now() - last);
      last = Date.now();
      progress.push(note.progress);
    },
  });
  calls += 1;
}
const session = Boolean(transport.sessionId);
await transport.terminateSession();
await client.close();
const names = tools.map(({ name }) => name);
const found = { tools: names, calls, progress, changed, gap: Math.min(...gaps), session };
console.log(JSON.stringify(found));
process.exit(0);
