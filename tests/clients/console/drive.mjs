// Somebody who runs Keyferry in a browser: signs in, makes a connection of each type, uses each,
// replaces secrets, connects to a provider, looks at what happened, and deletes it all again.
// `drive.mjs JSON` takes
//
//   { "url", "proxy", "token", "runner", "issuer", "password", "machine", "chromium", "rules", "shots", "axe",
//     "ailing", "rate", "causes" }
//
// and takes pictures of each page: narrow and wide, light and dark. On each, axe must find nothing,
// nothing may stand out at the side, and the browser may report nothing, the policy's breaches
// included. It prints what was seen, as JSON.

import { mkdirSync, readFileSync } from "node:fs";
import { strict as assert } from "node:assert";
import { chromium } from "playwright-core";

const plan = JSON.parse(process.argv[2]);
const axe = readFileSync(plan.axe, "utf8");
mkdirSync(plan.shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: plan.chromium,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    `--host-resolver-rules=${plan.rules}`,
  ],
});
const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin" });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const complaints = [], weights = {};
// What is answered with an error is said by the browser too, and meant to be.
page.on("console", (message) => {
  const meant = /status of (400|401|403|404|429)/.test(message.text());
  const ours = page.url().startsWith(plan.url);
  if (ours && ["error", "warning"].includes(message.type()) && !meant) complaints.push(`${page.url()}: ${message.text()}`);
});
page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
page.on("response", async (response) => {
  if (!response.url().startsWith(plan.url) || response.request().resourceType() !== "document") return;
  const length = Number(response.headers()["content-length"] ?? 0);
  const path = new URL(response.url()).pathname;
  weights[path] = Math.max(weights[path] ?? 0, length);
});

const LOOKS = [[360, "light"], [1440, "dark"], [360, "dark"], [1440, "light"]];

// Between these nothing may stand out either.
const WIDTHS = [390, 700, 720, 1000, 1100, 1220];

/** Looks at the page in each way that it can be looked at. */
async function look(name) {
  for (const [width, colorScheme] of LOOKS) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    // What arrives glows for a moment, in the colors that it has arrived in.
    await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {}))));
    await page.screenshot({ path: `${plan.shots}/${name}-${width}-${colorScheme}.png`, fullPage: true });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${name} at ${width}: ${over} pixels stand out at the side`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
    assert.deepEqual(found, [], `${name} at ${width}, ${colorScheme}`);
  }
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${name} at ${width}: ${over} pixels stand out at the side`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  const text = await page.content();
  for (const secret of secrets) assert.ok(!text.includes(secret), `${name} shows a secret`);
}

const secrets = [];
const secret = (text) => { secrets.push(text); return text; };
const within = (path) => `${plan.url}/console/i/my_integration${path}`;
const go = (path) => page.goto(within(path));
const press = (name) => page.getByRole("button", { name, exact: true }).click();
const follow = (name) => page.locator("main").getByRole("link", { name, exact: true }).click();
const fill = async (fields) => {
  for (const [label, value] of Object.entries(fields)) await page.locator("main").getByLabel(label, { exact: true }).fill(value);
};
const said = (text) => page.getByText(text).first().waitFor();

/** A program's request by a connection, through the proxy's base URL. */
async function use(name, more = {}) {
  const headers = { authorization: `Bearer ${plan.runner}`, ...more };
  return (await fetch(`${plan.proxy}/~/${name}/echo`, { headers })).text();
}

async function signIn() {
  await page.goto(plan.url);
  await look("sign-in");
  await fill({ "Access token": `kf_${"A".repeat(43)}` });
  await press("Sign in");
  await said("No such token is good here");
  await fill({ "Access token": plan.token });
  await press("Sign in");
  await said("Choose an integration");
  await look("integrations");
  await page.locator("main").getByLabel("Integration").fill("my_integration");
  await press("Open");
  await said("no connections yet");
  await look("connections-empty");
}

async function create(title, fields, name) {
  await go("/connections");
  await page.getByRole("link", { name: /^Create/ }).first().click();
  if (title === "API key") await look("create");
  // Further down are well-known APIs, whose names may have the same words.
  await page.locator("ul.choices").first().getByRole("link", { name: new RegExp(`^${title} `) }).click();
  await fill(fields);
  await press("Save");
  await said("The connection is there and in force.");
  assert.equal(new URL(page.url()).pathname.split("/").at(-1), name);
}

/** A connection of each static type, each used by a program, and used again with another secret. */
async function statics() {
  await go("/connections/new/bearer_token");
  await fill({ Name: "a b", "Allowed domain": "*.com", Token: secret("never-shown-1") });
  await said("can't cover a public suffix");
  await press("Save");
  await said("Nothing was saved");
  await look("create-faulty");
  await page.getByLabel("Allowed domain").fill("*.example.test");
  await said("https://eu.api.example.test");
  await look("create-preview");

  const domain = { "Allowed domain": "api.example.test" };
  await create("API key", { Name: "orders", ...domain, "HTTP header name": "X-Api-Key", "API key": secret("first-key-of-orders") }, "orders");
  await create("Basic authentication", { Name: "billing", ...domain, Username: "<b>Zoë</b> & co", Password: secret("first-password-of-billing") }, "billing");
  await create("Bearer token", { Name: "tickets", ...domain, Token: secret("first-token-of-tickets") }, "tickets");
  for (const name of ["orders", "billing", "tickets"]) await use(name);
  assert.match(await use("orders"), /x-api-key: first-key-of-orders/i);
  for (const [type, name, label, button] of [
    ["api_key", "orders", "API key", "second-key-of-orders"],
    ["basic_auth", "billing", "Password", "second-password-of-billing"],
    ["bearer_token", "tickets", "Token", "second-token-of-tickets"],
  ]) {
    await go(`/connections/${type}/${name}`);
    await page.getByLabel(label, { exact: true }).fill(secret(button));
    await press("Replace");
    await said("The connection was changed; the change is in force.");
  }
  assert.match(await use("tickets"), /authorization: Bearer second-token-of-tickets/i);
  const pair = Buffer.from("<b>Zoë</b> & co:second-password-of-billing").toString("base64");
  assert.ok((await use("billing")).includes(`Basic ${pair}`));
  await go("/connections/basic_auth/billing");
  await said("<b>Zoë</b> & co");
  await page.getByText("curl", { exact: true }).click();
  await look("connection");
}

/** A connection to AWS: a key that is told nobody, by a form that says what is wrong with it. */
async function aws() {
  await go("/connections/new");
  await page.getByRole("link", { name: /^AWS Secret access key/ }).click();
  assert.match(page.url(), /preset=aws$/);
  await fill({
    Name: "signing", "Allowed domain": "api.example.test", "Access key ID": "AKIDEXAMPLE",
    "Secret access key": secret("first-key-of-signing"), "Region (optional)": "us-east-1",
    "Service (optional)": "execute-api", "External ID (optional)": "agreed",
  });
  await press("Save");
  await said("Nothing was saved");
  await look("create-aws-faulty");
  await fill({ "Secret access key": "first-key-of-signing", "External ID (optional)": "" });
  await look("create-aws");
  await press("Save");
  await said("The connection is there and in force.");
  assert.match(await use("signing"), /authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/i);
  await fill({ "Access key ID": "AKIDSECOND", "Secret access key": secret("second-key-of-signing") });
  await press("Replace");
  await said("The connection was changed; the change is in force.");
  assert.match(await use("signing"), /Credential=AKIDSECOND/);
  await look("connection-aws");
  await fill({ "Secret expires on (optional)": "soon" });
  await press("Change");
  await said("Must be a day");
  assert.equal(await page.locator(".fault-box").count(), 1);
  await fill({ "Type the connection’s name": "signing" });
  await press("Delete");
  await said("The connection is deleted.");
}

/** A connection by OAuth: somebody signs in at the provider and says yes. */
async function authorized() {
  await go("/clients");
  await look("clients-empty");
  await page.getByRole("link", { name: "Create OAuth client" }).click();
  await providers();
  await follow("Another provider");
  await fill({
    Name: "id_server", "Client ID": "id of:my_oauth_client_name", "Client secret": secret(plan.password),
    "Authorization URL (with authorization code)": `${plan.issuer}/auth?prompt=consent`, "Token URL": `${plan.issuer}/token`,
    "Default scopes (optional)": "openid offline_access api",
  });
  await look("client-create");
  await press("Save");
  await said("The OAuth client is there.");
  await follow("Connect");
  await fill({ Name: "calendar" });
  await press("Connect").catch(() => {});
  // The browser itself asks for what is required.
  assert.equal(await page.getByLabel("Allowed domain").evaluate((input) => input.validity.valueMissing), true);
  await fill({ "Allowed domain": "api.example.test" });
  await look("connect");
  await press("Connect");
  await consent();
  await said("The provider gave tokens; the connection is in force.");
  assert.equal(new URL(page.url()).pathname, "/console/i/my_integration/connections/oauth/calendar");
  assert.match(await use("calendar"), /authorization: Bearer /i);
  await page.reload();
  await look("connection-oauth");
  await press("Refresh now");
  await said("The provider gave new tokens");
  await press("Authorize again");
  await consent();
  await said("The provider gave tokens; the connection is in force.");
  await go("/clients");
  await look("clients");
  await follow("id_server");
  await said("give it this one");
  await look("client");
}

/** A provider of the catalogue is looked for, by the script and by the server, and made a client. */
async function providers() {
  await look("providers");
  const items = page.locator("#providers > li:visible");
  const all = await items.count();
  assert.ok(all >= 60, `${all} providers`);
  await page.getByLabel("Name or domain").fill("zendesk");
  await said(`1 of ${all}`);
  assert.equal(await items.count(), 1);
  await press("Search");
  assert.equal(await items.count(), 1);
  await page.getByRole("link", { name: /^Zendesk/ }).click();
  await fill({ Name: "support", "Client ID": "a", "Client secret": secret("secret-of-support") });
  await page.getByLabel(/^Subdomain of the Zendesk account/).fill("a/b");
  await press("Save");
  await said("Stands in a URL or a domain");
  await look("client-provider-faulty");
  await page.getByLabel(/^Subdomain of the Zendesk account/).fill("acme");
  await page.getByLabel("Client secret", { exact: true }).fill("secret-of-support");
  await page.locator("details", { hasText: "What differs from the catalogue" }).first()
    .evaluate((details) => { details.open = true; });
  await page.getByLabel(/^Lifetime of access tokens/).fill("20m");
  await look("client-provider");
  await press("Save");
  await said("The OAuth client is there.");
  await said("https://acme.zendesk.com/oauth/tokens");
  await said("refresh_token_expires_in=2592000");
  await said("20m");
  await follow("Connect");
  assert.equal(await page.getByLabel(/^Allowed domain/).inputValue(), "acme.zendesk.com");
  await look("connect-offered");
  await go("/clients");
  await follow("support");
  await fill({ "Type the client’s name": "support" });
  await press("Delete");
  await said("The OAuth client is deleted");
  await go("/clients/new");
}

/** Somebody who says no makes no connection; a client with credentials of its own asks nobody. */
async function others() {
  await go("/connections/new/oauth");
  await fill({ Name: "refused", "Allowed domain": "api.example.test" });
  await press("Connect");
  await page.locator("a[href$='/abort']").click({ noWaitAfter: true });
  await said("You, or the provider, said no.");
  await page.getByRole("link", { name: "Begin again" }).waitFor();
  await look("not-connected");
  assert.match(await use("refused"), /ConnectionNotFound/);
  await go("/clients/new?provider=other");
  await fill({
    Name: "machine", "Client ID": "id of:machine", "Client secret": secret(plan.machine),
    "Token URL": `${plan.issuer}/token`, "Default scopes (optional)": "api",
  });
  await page.getByLabel("Grant type").selectOption("client_credentials");
  await page.getByLabel("How the secret is sent").selectOption("client_secret_basic");
  await press("Save");
  await follow("Connect");
  await fill({ Name: "nightly", "Allowed domain": "api.example.test" });
  await press("Connect");
  await said("The provider gave tokens; the connection is in force.");
  assert.match(await use("nightly"), /authorization: Bearer /i);
  await fill({ "Type the connection’s name": "nightly" });
  await press("Delete");
  await said("The connection is deleted.");
}

/** The form of a well-known API has its title, its documentation and its hints. */
async function presets() {
  await go("/connections/new");
  await page.getByRole("link", { name: /^Telegram, Bot API/ }).click();
  await page.getByRole("heading", { name: "Create a connection: Telegram, Bot API" }).waitFor();
  assert.equal(await page.getByLabel("Token of the bot", { exact: true }).count(), 1);
  await look("create-preset");
}

/** The form of an MCP server says beside its field what is wrong with a URL. */
async function mcp() {
  await go("/connections/new");
  await page.getByRole("link", { name: /^MCP server/ }).click();
  await fill({ "URL of the server": "http://mcp.example.test/mcp" });
  await look("connect-mcp");
  await press("Connect");
  await said("Nothing was saved");
  assert.equal(await page.getByLabel("URL of the server", { exact: true }).getAttribute("aria-invalid"), "true");
  await look("connect-mcp-faulty");
}

/** What the provider's own pages ask. */
async function consent() {
  await page.waitForURL((url) => url.href.startsWith(plan.issuer));
  const login = page.locator("input[name=login]");
  if (await login.count()) {
    await login.fill("a-user");
    await page.fill("input[name=password]", "any password");
    await page.click("button[type=submit]");
  }
  await page.waitForSelector("input[name=prompt][value=consent]", { state: "attached" });
  await page.click("button[type=submit]", { noWaitAfter: true });
  await page.waitForURL((url) => url.pathname.startsWith("/console/i/"));
}

/** A request, decided and sent from here; what the origin gives back of the secret is masked. */
async function attempt() {
  await go("/connections/bearer_token/tickets");
  await follow("Try it");
  await look("try");
  await fill({ URL: "https://elsewhere.example.test/echo" });
  await press("Explain only");
  await said("It would be refused: DomainNotAllowed (403).");
  await look("try-refused");
  await fill({ URL: "https://api.example.test/echo?x=1" });
  await press("Send");
  await said("by the origin");
  await said("authorization: *****");
  await look("try-sent");
}

/** What has happened, and what happens while somebody looks. */
async function activity() {
  assert.match(await use("orders", { "x-zis-host": "elsewhere.example.test" }), /DomainNotAllowed/);
  await go("/activity");
  await page.getByText("/~/calendar").or(page.getByText("calendar", { exact: true })).first().waitFor();
  await use("billing");
  await page.locator("tr.fresh", { hasText: "billing" }).first().waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await look("activity");
  await follow("Last day");
  await page.getByLabel("Connection", { exact: true }).fill("orders");
  await press("Filter");
  await page.locator("td", { hasText: "orders" }).first().waitFor();
  assert.equal(await page.locator("tbody td", { hasText: "billing" }).count(), 0);
  await page.getByLabel("Decision").selectOption("refuse");
  await press("Filter");
  assert.equal(await page.locator(".entries tbody tr").count(), 1);
  await page.getByLabel("Caller", { exact: true }).fill("nobody");
  await press("Filter");
  await said("No request is like that yet.");
  await look("activity-none");
}

/**
 * From a failing connection on the home page to the cause of its failure, in one click; and on to the
 * connection, in another. The connections are of an integration of their own.
 */
async function causes() {
  // 1. The connections, of which two are authorized at a provider that gives tokens once.
  const headers = { authorization: `Bearer ${plan.token}`, "content-type": "application/json" };
  const send = async (path, body) => {
    const answer = await fetch(`${plan.url}/api${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, await answer.clone().text());
    return answer.json();
  };
  const domains = {
    rejected: "api.forge.example.test", miscertified: "wrong.test", hidden: "hidden.example.test",
    astray: "api.example.test", ungranted: "api.example.test", limited: plan.ailing, hurried: "api.example.test",
  };
  for (const [name, allowed_domain] of Object.entries(domains)) {
    await send("/services/zis/integrations/causes/connections/bearer_token", { name, allowed_domain, token: secret(`secret-of-${name}`) });
  }
  for (const name of ["down", "dead"]) {
    await send("/services/zis/connections/oauth/clients/causes", {
      name, client_id: `id of:${name}`, client_secret: secret(`secret-of-${name}`), grant_type: "authorization_code",
      auth_url: `https://${plan.ailing}/authorize`, token_url: `https://${plan.ailing}/token`,
      default_scopes: "all", token_endpoint_auth_method: "client_secret_post",
    });
    await page.goto(`${plan.url}/console/i/causes/connections/new/oauth?client=${name}`);
    await fill({ Name: name, "Allowed domain": "api.example.test" });
    await press("Connect");
    await said("The provider gave tokens; the connection is in force.");
  }
  // 2. A request by each that fails, or many where a few are no failure.
  const all = [...Object.keys(plan.causes), ...Object.keys(plan.refused)];
  const connections = all.filter((name) => name !== "ungranted");
  const token = async (name) => (await send("/keyferry/v1/tokens", { name, integration: "causes", scopes: ["proxy"], connections })).token.secret;
  const ask = (name, caller, more = {}) => fetch(`${plan.proxy}/~/${name}/repos`, { headers: { authorization: `Bearer ${caller}`, ...more } });
  const [patient, hasty] = [await token("of causes"), await token("in a hurry")];
  for (const name of all) {
    const more = name === "astray" ? { "x-zis-host": "elsewhere.example.test" } : {};
    let answer;
    for (let left = name === "hurried" ? Math.ceil(plan.rate * 1.3) : 1; left > 0; left--) {
      answer = await ask(name, name === "hurried" ? hasty : patient, more);
      await answer.text();
    }
    const entry = `${plan.url}/api/keyferry/v1/requests/${answer.headers.get("x-keyferry-request-id")}`;
    while (!(await fetch(entry, { headers })).ok) await new Promise((again) => setTimeout(again, 100));
  }
  // 3. The cause of each, and who must act, as somebody finds them who has just come in.
  const wanted = {
    rejected: ["the API refuses the key", "an operator of Keyferry"],
    miscertified: ["the API's certificate is not valid", "an operator of Keyferry"],
    hidden: ["allow_networks = [\"10.0.0.7/32\"]", "an operator of Keyferry"],
    astray: ["DomainNotAllowed", "the caller, or an operator of Keyferry"],
    ungranted: ["ConnectionForbidden", "an operator of Keyferry"],
    down: [": the token endpoint gave no answer that counts: it failed, with status 503", "nobody"],
    dead: ["the grant is dead", "a user with an account at the provider"],
    limited: ["the API limits the rate", "the caller, which is the program that sends the request"],
    hurried: ["the token's rate is used up", "the caller, or an operator of Keyferry"],
  };
  assert.deepEqual(Object.keys(wanted).sort(), all.sort());
  for (const [name, [words, actor]] of Object.entries(wanted)) {
    await page.goto(`${plan.url}/console`);
    if (name === "rejected") await look("home");
    const item = page.locator(".attention li", { hasText: `causes.${name} ` });
    await item.getByRole("link", { name: /^See the last request that (failed|was refused)/ }).click();
    await page.getByRole("heading", { name: /^Request [0-9a-f]{8}-\d+$/ }).waitFor();
    await said(words);
    await said(`Who must act: ${actor}`);
    if (["rejected", "hidden", "down", "dead", "hurried"].includes(name)) await look(`request-${name}`);
    await follow("Open the connection");
    await page.getByRole("heading", { name, exact: true }).waitFor();
    await said("Last failures");
    if (["rejected", "dead", "down"].includes(name)) await look(`connection-${name}`);
  }
  // 4. The list begins with them too.
  await page.goto(`${plan.url}/console/i/causes/connections`);
  await look("attention");
  for (const name of Object.keys(wanted)) {
    const item = page.locator(".attention li", { has: page.getByRole("link", { name, exact: true }) });
    await item.getByRole("link", { name: /^See the last request that (failed|was refused)/ }).waitFor();
  }
  await page.goto(`${plan.url}/console/go?integration=`);
  await page.locator("main").getByLabel("Integration").fill("00000000-1");
  await press("Open");
  await said("No such request");
  await look("request-unknown");
}

/** Filters, the reasons and the files of Activity, and keys. */
async function found() {
  await page.goto(`${plan.url}/console/i/causes/activity`);
  await page.locator("table.bars").getByRole("link", { name: "CertificateInvalid" }).click();
  await page.waitForURL(/code=CertificateInvalid/);
  assert.equal(await page.locator(".entries tbody tr").count(), 1);
  assert.equal(await page.getByLabel("Code", { exact: true }).inputValue(), "CertificateInvalid");
  await look("activity-filtered");
  await charts();
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "CSV" }).click();
  assert.equal((await download).suggestedFilename(), "requests.csv");
  await page.getByLabel("Status", { exact: true }).fill("many");
  await press("Filter");
  await said("must be a status such as 404");
  await look("activity-faulty");
  await page.locator("h1").click();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "connection");
  await page.locator("h1").click();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await look("keys");
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
}

/** The charts by what requests have in common, and the ways from their parts to the requests. */
async function charts() {
  const nav = page.getByRole("navigation", { name: "Charts" });
  await page.goto(`${plan.url}/console/i/causes/activity`);
  for (const word of ["code", "status", "method", "path"]) {
    await nav.getByRole("link", { name: `By ${word}` }).click();
    await page.getByRole("heading", { name: `Requests by ${word}` }).waitFor();
    await look(`activity-by-${word}`);
  }
  await nav.getByRole("link", { name: "By status" }).click();
  const bar = page.getByRole("link", { name: /^429: \d+ requests, of these / });
  assert.match(await bar.getAttribute("title"), /refused or failed/);
  await bar.click();
  await page.waitForURL(/status=429/);
  assert.equal(await page.getByLabel("Status", { exact: true }).inputValue(), "429");
  await nav.getByRole("link", { name: "Over time" }).click();
  await look("activity-over-time-filtered");
  // A bar leads to its part of the time. Tab reaches the last, and the arrow keys the others.
  await page.goto(`${plan.url}/console/i/causes/activity`);
  const last = page.locator("figure", { hasText: "answered well" }).locator("svg a").last();
  assert.match(await last.getAttribute("aria-label"), /UTC: \d+ /);
  await last.focus();
  const all = await page.locator(".entries tbody tr").count();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForURL(/since=.*until=/);
  assert.ok(await page.locator(".entries tbody tr").count() <= all);
  await look("activity-a-minute");
  await page.goto(`${plan.url}/console/i/causes/activity?code=CertificateInvalid`);
}

/** What operators have changed, and how it was before. */
async function events() {
  await go("/events");
  await page.getByLabel("Kind").selectOption("connection");
  await press("Filter");
  await page.locator("td", { hasText: "connection.create" }).first().waitFor();
  await page.locator("summary").first().click();
  await look("events");
  await page.getByLabel("Operator").fill("nobody");
  await press("Filter");
  await said("No event is like that.");
  await go("/events");
  await page.getByLabel("Until (UTC)").fill("2020-01-01T00:00");
  await press("Filter");
  await said("No event is like that.");
  await go("/events");
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "NDJSON" }).click();
  assert.equal((await download).suggestedFilename(), "events.ndjson");
  await follow("Check the chain");
  await said("nothing was removed, moved or edited");
  await look("events-check");
}

async function tokens() {
  await go("/tokens");
  await fill({ Name: "a <script> of ours" });
  await page.getByRole("button", { name: "Create" }).click();
  await said("it is not shown again");
  const made = await page.locator(".notice code").textContent();
  assert.match(made, /^kf_[\w-]{43}$/);
  secrets.push(secret(made));
  await go("/tokens");
  await look("tokens");
  const revoke = page.getByRole("button", { name: "Revoke a <script> of ours" });
  await revoke.click();
  await revoke.click();
  await said("The token is revoked.");
}

async function list() {
  await go("/connections");
  await look("connections");
  await page.locator("thead").getByRole("link", { name: "Last used" }).click();
  await page.waitForURL(/sort=-used/);
  assert.equal(await page.locator("th[aria-sort=descending]").innerText(), "Last used ↓");
  await look("connections-sorted");
  await page.getByLabel("Name or domain").fill("TICK");
  await press("Search");
  await said("1 of 4");
  await page.getByLabel("Type").selectOption("oauth");
  await press("Search");
  await said("No connection is like that.");
}

async function remove() {
  await go("/connections/bearer_token/tickets");
  await fill({ "Type the connection’s name": "other" });
  await press("Delete");
  await said("so that nothing goes by mistake");
  await fill({ "Type the connection’s name": "tickets" });
  await press("Delete");
  await said("The connection is deleted.");
  assert.match(await use("tickets"), /ConnectionNotFound/);
  await go("/clients");
  await follow("id_server");
  await fill({ "Type the client’s name": "id_server" });
  await press("Delete");
  await said("and its connections with it");
  await go("/connections");
  await said("2 in all");
}

/** Several connections are disabled, enabled and deleted at once, by the boxes before their names. */
async function bulk() {
  const headers = { authorization: `Bearer ${plan.token}`, "content-type": "application/json" };
  for (const name of ["spare-1", "spare-2", "spare-3"]) {
    const body = JSON.stringify({ name, allowed_domain: "api.example.test", token: secret(`secret-of-${name}`) });
    const answer = await fetch(`${plan.url}/api/services/zis/integrations/my_integration/connections/bearer_token`, { method: "POST", headers, body });
    assert.ok(answer.ok, await answer.text());
  }
  await go("/connections?q=spare");
  await page.getByRole("checkbox", { name: "Select all on this page" }).check();
  await page.getByRole("checkbox", { name: "Select spare-2" }).uncheck();
  await look("connections-selected");
  await press("Disable…");
  await said("Disable 2 connections?");
  await look("bulk-disable");
  await press("Disable 2 connections");
  await said("The selected connections are disabled.");
  assert.match(page.url(), /q=spare/);
  assert.equal(await page.locator("tbody .state", { hasText: "switched off" }).count(), 2);
  assert.match(await use("spare-1"), /ConnectionForbidden/);
  assert.match(await use("spare-2"), /secret-of-spare-2/);
  // Without the script the boxes and the buttons do the same.
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const other = await plain.newPage();
  await other.goto(within("/connections?q=spare"));
  for (const name of ["spare-1", "spare-3"]) await other.getByRole("checkbox", { name: `Select ${name}` }).check();
  await other.getByRole("button", { name: "Enable…" }).click();
  await other.getByRole("button", { name: "Enable 2 connections" }).click();
  await other.getByText("The selected connections are enabled.").waitFor();
  await plain.close();
  assert.match(await use("spare-1"), /secret-of-spare-1/);
  // One that somebody else deletes meanwhile is named.
  await page.getByRole("checkbox", { name: "Select all on this page" }).check();
  await press("Delete…");
  await press("Delete 3 connections");
  assert.equal(await page.getByLabel("Type the number of connections").evaluate((input) => input.validity.valueMissing), true);
  await fill({ "Type the number of connections": "4" });
  await press("Delete 3 connections");
  await said("Must be 3, so that nothing goes by mistake");
  await look("bulk-delete");
  const gone = await fetch(`${plan.url}/api/services/zis/integrations/my_integration/connections/bearer_token/spare-2`, { method: "DELETE", headers });
  assert.ok(gone.ok);
  await fill({ "Type the number of connections": "3" });
  await press("Delete 3 connections");
  await said("1 connection not deleted");
  assert.match(await page.locator(".fault-box").innerText(), /spare-2/);
  await look("bulk-partly");
  await follow("To the list");
  await said("No connection is like that.");
}

/** Five hundred connections in one list, some with names that are as long as may be. */
async function many() {
  const headers = { authorization: `Bearer ${plan.token}`, "content-type": "application/json" };
  for (let number = 0; number < 500; number++) {
    const name = number % 50 ? `service-${number}` : `${"a_very_long_name_".repeat(3)}${number}`;
    const allowed_domain = number % 7 ? "*.example.test" : "a-service-with-a-long-name.eu-central-1.example.test";
    const body = JSON.stringify({ name, allowed_domain, ...[{ token: "t" }, { username: "u", password: "p" }][number % 2] });
    const type = ["bearer_token", "basic_auth"][number % 2];
    const answer = await fetch(`${plan.url}/api/services/zis/integrations/many/connections/${type}`, { method: "POST", headers, body });
    assert.ok(answer.ok, await answer.text());
  }
  await use("many.service-1", { "x-zis-host": "nowhere.example.test" });
  await page.goto(`${plan.url}/console/i/many/connections?q=a`);
  await said("500 in all");
  await look("connections-many");
  await page.getByRole("link", { name: "Next" }).click();
  assert.equal(await page.locator(".connections tbody tr").count(), 100);
}

/** The pictures that the documentation shows: those of a shop, whose requests mostly work. */
async function pictures() {
  const headers = { authorization: `Bearer ${plan.token}`, "content-type": "application/json" };
  const send = async (path, body) => {
    const answer = await fetch(`${plan.url}/api${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, await answer.clone().text());
    return answer.json();
  };
  // 1. Connections, and programs that use them, one of which is not well.
  const connections = {
    billing: "basic_auth", calendar: "bearer_token", crm: "bearer_token", payments: "api_key",
    shipping: "bearer_token", support: "bearer_token", warehouse: "api_key",
  };
  for (const [name, type] of Object.entries(connections)) {
    const allowed_domain = name === "warehouse" ? plan.ailing : "api.example.test";
    const credential = {
      api_key: { header_name: "X-Api-Key", api_key: secret(`key-of-${name}`) },
      basic_auth: { username: "shop", password: secret(`password-of-${name}`) },
      bearer_token: { token: secret(`token-of-${name}`) },
    }[type];
    await send(`/services/zis/integrations/shop/connections/${type}`, { name, allowed_domain, ...credential });
  }
  const paths = { billing: "v1/invoices", calendar: "v3/events", payments: "v1/charges", shipping: "v2/labels", warehouse: "stock" };
  let last;
  for (const caller of ["order_flow", "nightly", "support_bot"]) {
    const { token } = await send("/keyferry/v1/tokens", { name: caller, integration: "shop", scopes: ["proxy"] });
    for (let number = 0; number < plan.rate * 0.8; number++) {
      const names = Object.keys(paths);
      const name = names[(number * 7 + caller.length) % (number % 4 ? names.length - 1 : names.length)];
      const method = ["GET", "GET", "POST"][number % 3];
      // Now and then a program asks for the wrong host.
      const host = name === "billing" && number % 15 === 0 ? { "x-zis-host": "elsewhere.example.test" } : {};
      last = await fetch(`${plan.proxy}/~/${name}/${paths[name]}/${number}`, { method, headers: { authorization: `Bearer ${token.secret}`, ...host } });
      await last.text();
    }
  }
  const entry = `${plan.url}/api/keyferry/v1/requests/${last.headers.get("x-keyferry-request-id")}`;
  while (!(await fetch(entry, { headers })).ok) await new Promise((again) => setTimeout(again, 100));
  // 2. As much of their pages as is seen at once.
  await page.emulateMedia({ colorScheme: "light" });
  for (const [name, path, height] of [["connections", "/connections", 620], ["activity", "/activity", 900]]) {
    await page.setViewportSize({ width: 1100, height });
    await page.goto(`${plan.url}/console/i/shop${path}`);
    await page.getByRole("cell", { name: "payments" }).or(page.getByRole("rowheader", { name: "payments" })).first().waitFor();
    await page.screenshot({ path: `${plan.shots}/console-${name}.png` });
  }
}

/** The API's description, which System leads to. */
async function described() {
  await go("/system");
  await follow("The API’s description");
  await page.locator("details").first().waitFor();
  await look("docs");
}

async function leave() {
  await go("/system");
  await said("ready");
  await look("system");
  await press("Sign out");
  await page.goto(within("/connections"));
  await said("Sign in to Keyferry");
  await fill({ "Access token": plan.token });
  await press("Sign in");
  assert.equal(new URL(page.url()).pathname, "/console/i/my_integration/connections");
}

try {
  await signIn();
  await statics();
  await aws();
  await authorized();
  await others();
  await presets();
  await mcp();
  await attempt();
  await list();
  await bulk();
  await activity();
  await causes();
  await found();
  await events();
  await tokens();
  await remove();
  await many();
  await pictures();
  await described();
  await leave();
  assert.deepEqual(complaints, []);
  console.log(JSON.stringify({ weights }));
} catch (error) {
  await page.screenshot({ path: `${plan.shots}/failed.png`, fullPage: true }).catch(() => {});
  console.error(`${error.stack}\n${page.url()}\n${complaints.join("\n")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
