// What must be live. Every page works without it.

"use strict";

/** Times in the viewer's zone; how long ago where that says more. */
function localise(within) {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.getTime())) continue;
    element.title = time.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    element.textContent = "clock" in element.dataset
      ? time.toLocaleTimeString(undefined, element.dataset.clock ? { timeStyle: element.dataset.clock } : undefined)
      : told(time, (Date.now() - time.getTime()) / 1000);
  }
}

const relative = new Intl.RelativeTimeFormat("en-GB", { numeric: "auto" });

function told(time, seconds) {
  const [size, unit] = [[60, "second"], [3600, "minute"], [86400, "hour"]]
    .find(([limit]) => Math.abs(seconds) < limit) ?? [0, "day"];
  if (unit === "day" && Math.abs(seconds) > 6 * 86400) {
    return time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
  const one = { second: 1, minute: 60, hour: 3600, day: 86400 }[unit];
  return size === 0 || unit !== "second" ? relative.format(-Math.round(seconds / one), unit) : "just now";
}

/** A button that copies what stands beside it. */
function offerCopies(within) {
  if (!navigator.clipboard) return;
  for (const element of within.querySelectorAll(".copy, [data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet copier";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(element.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    if (element.matches("pre")) element.before(button); else element.append(" ", button);
  }
}

/** A fragment of a page, as the server makes it; nothing when the session is over. */
async function fragment(url) {
  const answer = await fetch(url, { headers: { "x-keyferry-fragment": "1" } });
  if (answer.status === 401) location.reload();
  return answer.ok ? { text: await answer.text(), until: answer.headers.get("x-keyferry-until"), more: answer.headers.get("x-keyferry-more") } : null;
}

/** Which hosts a domain covers, while it is typed. */
function preview(input) {
  const into = document.getElementById(input.dataset.into);
  let latest = 0, timer;
  const look = async () => {
    const number = ++latest;
    const url = `${input.dataset.preview}?value=${encodeURIComponent(input.value)}`;
    const part = await fragment(url);
    if (part && number === latest) into.innerHTML = part.text;
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 200); });
  if (input.value) look();
}

/** The items of a list in which every word occurs, while it is typed. */
function filter(input) {
  const items = [...document.getElementById(input.dataset.filter).children];
  const count = document.getElementById(`${input.dataset.filter}-count`);
  const all = count.textContent;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) item.hidden = !words.every((word) => item.dataset.words.includes(word));
    const shown = items.filter((item) => !item.hidden).length;
    count.textContent = shown === items.length ? all : `${shown} of ${items.length}`;
  });
}

/** What was wrong with a field is no longer known once it is changed. */
function forget(input) {
  input.addEventListener("input", () => {
    input.removeAttribute("aria-invalid");
    document.getElementById(`${input.id}-fault`)?.remove();
    const described = (input.getAttribute("aria-describedby") ?? "").replace(`${input.id}-fault`, "").trim();
    if (described) input.setAttribute("aria-describedby", described);
    else input.removeAttribute("aria-describedby");
  }, { once: true });
}

/** A button that asks once more. */
function askAgain(button) {
  button.addEventListener("click", (event) => {
    if (button.dataset.sure && button.dataset.asked === undefined) {
      event.preventDefault();
      button.dataset.asked = "";
      button.textContent = button.dataset.sure;
      setTimeout(() => { delete button.dataset.asked; button.textContent = "Revoke"; }, 4000);
    }
  });
}

/** A box that selects all rows, and says when some are selected. */
function selectAll(form) {
  const boxes = [...form.elements].filter(({ type }) => type === "checkbox");
  const head = document.querySelector("thead .pick");
  if (!head || boxes.length === 0) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all on this page");
  const look = () => {
    const chosen = boxes.filter(({ checked }) => checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; });
  for (const box of boxes) box.addEventListener("change", look);
  head.replaceChildren(all);
  look();
}

/** The bars of a chart, of which Tab reaches one, and the arrow keys the others. */
function walkBars(chart) {
  const bars = [...chart.querySelectorAll("a")];
  bars.slice(0, -1).forEach((bar) => bar.setAttribute("tabindex", "-1"));
  chart.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = bars[bars.indexOf(document.activeElement) + by];
    if (!by || !next) return;
    event.preventDefault();
    for (const bar of bars) bar.setAttribute("tabindex", bar === next ? "0" : "-1");
    next.focus();
  });
}

/** What happens while somebody looks; at most so many rows, and only while the page is seen. */
function watch(body) {
  const pause = document.getElementById("pause"), said = document.getElementById("arrived");
  const most = 300;
  let paused = false, arrived = 0, newest = body.dataset.newest ?? "", behind = false;
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Go on" : "Pause";
  });
  const look = async () => {
    const part = await fragment(`${body.dataset.live}&newer=${encodeURIComponent(newest)}`);
    if (!part || paused) return;
    newest = part.until ?? newest;
    behind = part.more === "true";
    const rows = document.createElement("tbody");
    rows.innerHTML = part.text;
    if (rows.children.length === 0) return;
    localise(rows);
    for (const row of rows.children) row.className = "fresh";
    arrived += rows.children.length;
    said.textContent = `${arrived} new since you look`;
    document.getElementById("nothing")?.remove();
    body.prepend(...rows.children);
    while (body.children.length > most) body.lastElementChild.remove();
  };
  const again = async () => {
    if (!paused && document.visibilityState === "visible") await look().catch(() => {});
    setTimeout(again, behind && !paused ? 200 : 2000);
  };
  setTimeout(again, 2000);
}

/** What keys do, where no field is filled in. */
const KEYS = {
  "/": ["look for something", () => document.querySelector("main [role=search] input:not([type=hidden])")?.focus()],
  j: ["the next row", () => step(1)],
  k: ["the row before", () => step(-1)],
  "?": ["these keys", showKeys],
};

/** To the first link of the next row, or of the one before. */
function step(by) {
  const links = [...document.querySelectorAll("main .rows tbody tr, main .attention li")].map((row) => row.querySelector("a")).filter(Boolean);
  const at = links.findIndex((link) => link.closest("tr, li").contains(document.activeElement));
  links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

function showKeys() {
  const dialog = document.createElement("dialog");
  dialog.className = "keys";
  dialog.setAttribute("aria-label", "Keys");
  const list = document.createElement("ul");
  list.className = "plain";
  for (const [key, [words]] of Object.entries(KEYS)) {
    const item = document.createElement("li"), shown = document.createElement("kbd");
    shown.textContent = key;
    item.append(shown, ` ${words}`);
    list.append(item);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.append(list, close);
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const known = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!known) return;
  event.preventDefault();
  known[1]();
});
localise(document);
// What is shown once came with a form, which a reload must not send again.
if (document.querySelector("[data-once]")) history.replaceState(null, "", location.pathname);
document.querySelectorAll("[data-live]").forEach(watch);
document.querySelectorAll(".chart > svg").forEach(walkBars);
document.querySelectorAll("form.bulk").forEach(selectAll);
offerCopies(document);
document.querySelectorAll("[data-preview]").forEach(preview);
document.querySelectorAll("[data-filter]").forEach(filter);
document.querySelectorAll("[data-sure]").forEach(askAgain);
document.querySelectorAll("[aria-invalid=true]").forEach(forget);
document.querySelector("[aria-invalid=true]")?.focus();
