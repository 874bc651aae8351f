import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";

import { WebSocket } from "ws";

import { Link, startGateway, token } from "./rig.js";

test("what docs/client.md shows works", async (t) => {
  const gateway = await startGateway(t);
  const { url } = await Link.start(t, gateway.port);
  const manual = await readFile(new URL("../../../docs/client.md", import.meta.url), "utf8");
  const snippets = [...manual.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
  assert.ok(snippets.length >= 6, `only ${snippets.length} snippets`);
  const printed = [];
  const source = snippets.join("\n")
    .replace(`from "/crossgate.js"`, `from "../crossgate.js"`)
    .replaceAll(/connect\("\/(\w+)"/g, (_, path) => `connect("${url}/${path === "ws" ? "users" : path}"`)
    .replaceAll("console.log(", "print(");
  globalThis.WebSocket ??= WebSocket; // as in a browser
  globalThis.fetchToken = async () => token("ann", 60);
  globalThis.print = (...values) => printed.push(values.join(" "));
  // In a file beside this one, from where it can import what this one can.
  const file = new URL("docs.snippets.js", import.meta.url);
  await writeFile(file, `${source}\nawait new Promise((resolve) => setTimeout(resolve));`);
  t.after(() => rm(file));
  await import(file);
  for (const line of ["connected    true", "true", "1 1 ann", "false false", `closed 1000   true`]) assert.ok(printed.includes(line), `${line} is not in\n${printed.join("\n")}`);
});
