// What the tests stand on: gateways in processes of their own, and an address in front of them that breaks on demand.
// integration/browser_client_test.go starts Redis and the service, and says by environment variables where they are.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { WebSocket } from "ws";

import { connect } from "../crossgate.js";

const { CROSSGATE, REDIS_URL } = process.env;
const SECRET = "a secret of the tests, of 32 bytes and more";

const CONFIG = `
log: {level: error, access: "off"}
redis: {url: "${REDIS_URL}"}
drain: {timeout: 10s, reconnect_spread: 500ms}
auth:
  - {name: main, jwt: {secret: "${SECRET}", clock_skew: 0s}, from: [{subprotocol: bearer.}, {header: Authorization}]}
routes:
  - name: client
    match: {path: /crossgate.js}
    client: {}
  - name: work
    match: {path: /ws}
    websocket:
      service: work
      max_message_size: 64KiB
      reply_timeout: 5s
      channels:
        - {pattern: "kept:*", subscribe: anyone, history: {size: 1000, ttl: 1m}}
        - {pattern: "short:*", subscribe: anyone, history: {size: 5, ttl: 1m}}
        - {pattern: "users:*"}
        - {pattern: "plain:*", subscribe: anyone}
  - name: orders
    match: {path: /orders}
    websocket: {service: orders, delivery: at_least_once}
  - name: users
    match: {path: /users}
    auth: {require: [main]}
    websocket: {service: work, channels: [{pattern: "user:{sub}"}, {pattern: "room:*", history: {}, presence: {events: users, claims: [sub]}}]}
  - name: given
    match: {path: /given}
    auth: {require: [main]}
    websocket: {service: work, subscribe: ["given:{sub}", news], channels: [{pattern: "given:*", history: {}}, {pattern: news, subscribe: nobody, history: {}}]}
`;

/** until waits for a condition, and returns what it returned. */
export async function until(what, condition, limit = 40_000) {
  for (const deadline = Date.now() + limit; ; await sleep(5)) {
    const got = await condition();
    if (got) return got;
    if (Date.now() > deadline) throw new Error(`still not after ${limit} ms: ${what}`);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** startGateway starts a gateway process that ends with the test. */
export async function startGateway(t) {
  const folder = await mkdtemp(join(tmpdir(), "crossgate-"));
  const [port, adminPort] = [await freePort(), await freePort()];
  const file = join(folder, "crossgate.yaml");
  await writeFile(file, `listeners: [{address: "127.0.0.1:${port}"}]\nadmin: {address: "127.0.0.1:${adminPort}"}\n${CONFIG}`);
  const child = spawn(CROSSGATE, ["serve", "-c", file], { stdio: "inherit" });
  const exited = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
    await rm(folder, { recursive: true });
  });
  const admin = `http://127.0.0.1:${adminPort}`;
  await until("the gateway is ready", () => fetch(`${admin}/readyz`).then(({ ok }) => ok, () => false));
  return {
    port,
    call: (path, body) => call(admin + path, body),
    terminate: () => child.kill("SIGTERM"),
  };
}

async function call(url, body) {
  const answer = await fetch(url, body && { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
}

/** Link is an address in front of a gateway that refuses connections while it is closed, and upgrades while those are off. */
export class Link {
  closed = false;
  upgrades = true;
  #pairs = new Set();

  static async start(t, port) {
    const link = new Link();
    link.port = port;
    const server = createServer((client) => link.#carry(client)).listen(0, "127.0.0.1");
    await once(server, "listening");
    link.url = `ws://127.0.0.1:${server.address().port}`;
    t.after(() => {
      link.cut();
      server.close();
    });
    return link;
  }

  #carry(client) {
    client.on("error", () => {});
    if (this.closed) {
      client.destroy();
      return;
    }
    const server = dial(this.port, "127.0.0.1");
    const pair = [client, server];
    this.#pairs.add(pair);
    const end = () => {
      this.#pairs.delete(pair);
      pair.forEach((s) => s.destroy());
    };
    client.once("data", (chunk) => this.upgrades || !/^upgrade:/im.test(chunk.toString("latin1")) || end());
    for (const [from, to] of [pair, [server, client]]) {
      from.on("data", (chunk) => pair.frozen || (pair.mute && from === server) || to.write(chunk));
      from.on("error", end);
      from.on("close", end);
    }
  }

  /** freeze has nothing more come through what is open. */
  freeze() {
    for (const pair of this.#pairs) pair.frozen = true;
  }

  /** freezeAnswers has nothing more come back through what is open. */
  freezeAnswers() {
    for (const pair of this.#pairs) pair.mute = true;
  }

  cut() {
    for (const [client, server] of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }
}

/** open opens a connection that ends with the test, and notes its states. */
export function open(t, url, options) {
  const connection = connect(url, { WebSocket, minDelay: 10, maxDelay: 200, ...options });
  connection.states = [];
  connection.addEventListener("state", (event) => connection.states.push(event));
  t.after(() => connection.close());
  return connection;
}

/** token makes a JWT of a user that lives for some seconds. */
export function token(user, seconds) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Date.now() / 1000;
  const body = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: user, iat: Math.floor(now), exp: Math.ceil(now) + seconds, jti: Math.random().toString() })}`;
  return `${body}.${createHmac("sha256", SECRET).update(body).digest("base64url")}`;
}
