"use strict";

// Draws /openapi.json. Everything that it says is set as text, never as markup.

const METHODS = ["get", "post", "patch", "delete"];
let description;

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

// A sentence, in which code stands between backticks.
function sentence(text) {
  const parts = (text || "").split("`");
  return element("p", "", ...parts.map((part, number) => (number % 2 ? element("code", part) : part)));
}

function resolve(thing) {
  while (thing && thing.$ref) {
    thing = thing.$ref.slice(2).split("/").reduce((at, key) => at[key], description);
  }
  return thing;
}

function table(heads, rows) {
  const head = element("tr", "", ...heads.map((text) => element("th", text)));
  const body = rows.map((row) => element("tr", "", ...row.map((cell) => element("td", "", cell))));
  return element("table", "", element("thead", "", head), element("tbody", "", ...body));
}

function typeOf(schema) {
  const one = resolve(schema) || {};
  if (one.oneOf || one.anyOf) return (one.oneOf || one.anyOf).map(typeOf).join(" or ");
  if (one.enum) return one.enum.map((value) => JSON.stringify(value)).join(" or ");
  const type = [].concat(one.type || "anything").join(" or ");
  return one.type === "array" ? `list of ${typeOf(one.items)}` : type;
}

// What a value of the schema looks like, out of the examples of its parts.
function sample(schema, depth = 0) {
  const one = resolve(schema) || {};
  if (one.example !== undefined) return one.example;
  if (depth > 6) return null;
  if (one.allOf) return Object.assign({}, ...one.allOf.map((part) => sample(part, depth + 1)));
  if (one.oneOf || one.anyOf) {
    const parts = one.oneOf || one.anyOf;
    return sample(parts.find((part) => part.type !== "null") || parts[0], depth + 1);
  }
  if (one.enum) return one.enum[0];
  const type = [].concat(one.type || "null")[0];
  if (type === "object") {
    const members = Object.entries(one.properties || {});
    return Object.fromEntries(members.map(([name, part]) => [name, sample(part, depth + 1)]));
  }
  if (type === "array") return one.items && one.items !== true ? [sample(one.items, depth + 1)] : [];
  return { string: "text", integer: 1, number: 1, boolean: true }[type] ?? null;
}

function shown(content) {
  const [kind, body] = Object.entries(content || {})[0] || [];
  if (!kind) return [];
  const value = body.example !== undefined ? body.example : sample(body.schema);
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return [element("p", kind), element("pre", text)];
}

function bodyOf(operation) {
  const body = resolve(operation.requestBody);
  if (!body) return [];
  const schema = resolve(Object.values(body.content)[0].schema);
  const needed = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([name, part]) => [
    element("code", name), typeOf(part), needed.has(name) ? "yes" : "no", resolve(part).description || part.description || "",
  ]);
  return [element("h3", "Body"), table(["member", "type", "needed", ""], rows), ...shown(body.content)];
}

function parametersOf(operation) {
  const parameters = (operation.parameters || []).map(resolve);
  if (!parameters.length) return [];
  const rows = parameters.map((one) => [
    element("code", one.name), one.in, typeOf(one.schema), one.description || "",
  ]);
  return [element("h3", "Parameters"), table(["name", "in", "type", ""], rows)];
}

function answersOf(operation) {
  const answers = Object.entries(operation.responses).map(([status, answer]) => {
    const one = resolve(answer);
    return element("details", "", element("summary", `${status} ${one.description}`), ...shown(one.content));
  });
  return [element("h3", "Answers"), ...answers];
}

function drawOperation(path, method, operation) {
  const title = element("summary", "", element("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary || ""}`);
  const drawn = element("details", "", title);
  drawn.id = operation.operationId;
  if (operation.description) drawn.append(sentence(operation.description));
  drawn.append(...parametersOf(operation), ...bodyOf(operation), ...answersOf(operation));
  return drawn;
}

function draw() {
  document.getElementById("title").textContent = `${description.info.title} API ${description.info.version}`;
  const main = document.getElementById("operations");
  const contents = document.getElementById("contents");
  main.replaceChildren(...description.info.description.split("\n\n").map(sentence));
  for (const tag of description.tags) {
    const list = element("ul");
    const drawn = [];
    for (const [path, item] of Object.entries(description.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (!operation || !operation.tags.includes(tag.name)) continue;
        drawn.push(drawOperation(path, method, operation));
        const link = element("a", operation.summary);
        link.href = `#${operation.operationId}`;
        list.append(element("li", "", link));
      }
    }
    contents.append(element("h2", tag.name), list);
    main.append(element("h2", tag.name), sentence(tag.description), ...drawn);
  }
  main.removeAttribute("aria-busy");
  open();
}

function open() {
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted && wanted.tagName === "DETAILS") {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

addEventListener("hashchange", open);
fetch("/openapi.json")
  .then((answer) => answer.json())
  .then((read) => {
    description = read;
    draw();
  })
  .catch(() => {
    document.getElementById("operations").textContent = "The description can't be read.";
  });
