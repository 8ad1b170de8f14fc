// A user with a browser of their own, who follows a link, logs in at the provider, and says yes or
// no to what the client wants. `browser.mjs JSON` takes
//
//   { "url", "chromium", "rules", "says": "yes" | "no" | null, "ends", "halts" }
//
// and prints `{ "visited": [URL…], "status", "text" }`: each address in its order, and what is at
// the last. Who says nothing only looks. The last address begins with `ends`; or the browser stops
// short of one that begins with `halts`.

import { chromium } from "playwright-core";

const { url, chromium: executablePath, rules, says, ends, halts } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=${rules}`,
  ],
});
const page = await browser.newPage();
page.setDefaultTimeout(20_000);
const session = await page.context().newCDPSession(page);
const visited = [];
let last;
page.on("request", (request) => {
  if (request.isNavigationRequest()) visited.push(request.url());
});
page.on("response", (response) => {
  if (response.request().isNavigationRequest()) last = response;
});

async function go() {
  const soon = { waitUntil: "domcontentloaded" };
  await page.goto(url, soon);
  if (!says) return;
  await page.fill("input[name=login]", "a-user");
  await page.fill("input[name=password]", "any password");
  await page.click("button[type=submit]");
  await page.waitForSelector("input[name=prompt][value=consent]", { state: "attached" });
  const choice = says === "yes" ? "button[type=submit]" : "a[href$='/abort']";
  await page.click(choice, { noWaitAfter: true });
  await (halts ? halted : page.waitForURL((to) => to.href.startsWith(ends), soon));
}

/** Resolves once the browser would ask for what begins with `halts`. */
const halted = new Promise((resolve) => {
  if (!halts) return;
  session.on("Fetch.requestPaused", ({ requestId, request }) => {
    if (visited.at(-1) !== request.url) visited.push(request.url);
    session.send("Fetch.failRequest", { requestId, errorReason: "Aborted" }).then(resolve);
  });
});

try {
  if (halts) await session.send("Fetch.enable", { patterns: [{ urlPattern: `${halts}*` }] });
  await go();
  const text = halts ? null : await page.textContent("body");
  console.log(JSON.stringify({ visited, status: last?.status(), text }));
} catch (error) {
  console.error(`${error}\n${visited.join("\n")}\n${await page.content()}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
