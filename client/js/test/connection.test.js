import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { CrossgateError, isFinal } from "../crossgate.js";
import { Link, open, startGateway, token, until } from "./rig.js";

let gateway;
const ends = [];
before(async () => {
  gateway = await startGateway({ after: (end) => ends.push(end) });
});
after(() => Promise.all(ends.map((end) => end())));

const link = (t) => Link.start(t, gateway.port);
const refusedWith = (code) => (error) => error instanceof CrossgateError && error.code === code;
const state = (name, connection) => until(`the connection is ${name}`, () => connection.state === name);
const publish = (channel, json) => gateway.call("/v1/connections:publish", { channel, json: JSON.stringify(json) });

// over has a test run over each transport.
function over(name, run) {
  for (const transport of ["websocket", "sse"]) test(`${name}, over ${transport}`, (t) => run(t, { transports: [transport] }));
}

over("a request gets its reply, and JSON and bytes come as they went", async (t, transport) => {
  const connection = open(t, (await link(t)).url + "/ws", transport);
  const echo = (data) => connection.request("echo", data); // before the connection is open
  const values = [{ text: "hé\u2028llo" }, "text", 0, null, [1, [2]], false];
  assert.deepEqual(await Promise.all(values.map(echo)), values);
  const bytes = new Uint8Array(40_000).map((_, i) => i % 251);
  assert.deepEqual(await echo(bytes), bytes);
  assert.deepEqual(await echo(bytes.buffer.slice(0, 3)), bytes.subarray(0, 3));
  assert.deepEqual(connection.states.map(({ state }) => state), ["connected"]);
});

test("a request is refused by the service, ends with its time, by its signal, and with the connection", async (t) => {
  const through = await link(t);
  const connection = open(t, through.url + "/ws");
  await assert.rejects(connection.request("refuse"), refusedWith("not_found"));
  await assert.rejects(connection.request("never", 1, { timeout: 50 }), refusedWith("deadline_exceeded"));
  const abort = new AbortController();
  const aborted = connection.request("never", 1, { signal: abort.signal });
  abort.abort(new RangeError("enough"));
  await assert.rejects(aborted, RangeError);
  await assert.rejects(connection.request("never", 1, { signal: abort.signal }), RangeError);
  const lost = assert.rejects(connection.request("never"), refusedWith("unavailable"));
  await connection.request("echo"); // and so the other one has been sent
  through.cut();
  await lost;
  const closed = assert.rejects(connection.request("never"), refusedWith("closed"));
  connection.close();
  await closed;
  await assert.rejects(connection.request("echo"), refusedWith("closed"));
});

test("what is asked while there is no connection is sent once there is one, and no more than fits", async (t) => {
  const through = await link(t);
  through.closed = true;
  const connection = open(t, through.url + "/ws", { maxWaiting: 2 });
  const answers = [connection.request("echo", 1), connection.request("echo", 2)];
  await assert.rejects(connection.request("echo", 3), refusedWith("resource_exhausted"));
  assert.equal(connection.send("note", "dropped"), false);
  through.closed = false;
  assert.deepEqual(await Promise.all(answers), [1, 2]);
});

over("each message comes once and in order while connections break", async (t, transport) => {
  const through = await link(t);
  const connection = open(t, through.url + "/ws", transport);
  const got = [];
  const gaps = [];
  const channel = `kept:${transport.transports}`;
  const subscription = connection.subscribe(channel, { message: (data) => got.push(data), gap: (event) => gaps.push(event) });
  await subscription.ready;
  const published = (async () => {
    for (let i = 0; i < 400; i++) await publish(channel, i);
  })();
  let cuts = 0;
  while (got.length < 400) {
    await sleep(40);
    if (connection.state !== "connected" || cuts >= 25) continue;
    through.cut();
    cuts += 1;
  }
  await published;
  assert.deepEqual(got, Array.from({ length: 400 }, (_, i) => i));
  assert.deepEqual(gaps, []);
  assert.ok(cuts >= 3, `only ${cuts} connections were cut`);
  assert.equal(subscription.position.offset, 400);
});

test("the handler is told when more was missed than is kept", async (t) => {
  const through = await link(t);
  const connection = open(t, through.url + "/ws");
  const told = [];
  const handler = { message: (data) => told.push(data), subscribed: ({ recovered }) => told.push({ recovered }), gap: () => told.push("gap") };
  await connection.subscribe("short:1", handler).ready;
  await publish("short:1", 0);
  await until("the first message", () => told.includes(0));
  through.closed = true;
  through.cut();
  for (let i = 1; i <= 10; i++) await publish("short:1", i);
  through.closed = false;
  await until("it is told", () => told.includes("gap"));
  await publish("short:1", 11);
  await until("the last message", () => told.includes(11));
  assert.deepEqual(told, [{ recovered: undefined }, 0, { recovered: false }, "gap", 11]);
});

test("of a channel without history each new connection is a gap", async (t) => {
  const through = await link(t);
  const connection = open(t, through.url + "/ws");
  const told = [];
  const subscription = connection.subscribe("plain:1", { subscribed: ({ recovered }) => told.push(recovered), gap: () => told.push("gap") });
  await subscription.ready;
  assert.equal(subscription.position, undefined);
  through.cut();
  await until("it is told", () => told.includes("gap"));
  assert.deepEqual(told, [undefined, false, "gap"]);
});

test("a subscription goes on where an earlier one was left, and one of two does not end the other", async (t) => {
  const { url } = await link(t);
  const first = open(t, url + "/ws");
  const position = await (async () => {
    const subscription = first.subscribe("kept:2", () => {});
    await subscription.ready;
    return subscription.position;
  })();
  first.close();
  for (let i = 0; i < 3; i++) await publish("kept:2", i);

  const second = open(t, url + "/ws");
  const [one, other] = [[], []];
  const subscription = second.subscribe("kept:2", (data) => one.push(data), { from: position });
  await until("what was missed", () => one.length === 3);
  second.subscribe("kept:2", (data, { offset }) => other.push([data, offset]));
  await publish("kept:2", 3);
  await until("both get it", () => one.length === 4 && other.length === 1);
  subscription.unsubscribe();
  await publish("kept:2", 4);
  await until("one of them gets it", () => other.length === 2);
  assert.deepEqual(one, [0, 1, 2, 3]);
  assert.deepEqual(other, [[3, 4], [4, 5]]);
});

test("a subscription that is refused ends", async (t) => {
  const connection = open(t, (await link(t)).url + "/ws");
  const errors = [];
  connection.addEventListener("error", ({ error }) => errors.push(error.code));
  await assert.rejects(connection.subscribe("users:1", () => {}).ready, refusedWith("permission_denied"));
  await assert.rejects(connection.subscribe("users:1", { error: () => {} }).ready, refusedWith("permission_denied"));
  assert.deepEqual(errors, ["permission_denied"]); // the second one has told its handler
});

over("a message is delivered again and again until it is acknowledged", async (t, transport) => {
  const through = await link(t);
  const connection = open(t, through.url + "/orders", transport);
  await connection.opened();
  through.freezeAnswers(); // the message arrives, and its acknowledgement does not
  const key = Math.random();
  const delivered = connection.deliver("order", { key });
  const asked = open(t, `ws://127.0.0.1:${gateway.port}/ws`);
  await until("the service has it", async () => (await asked.request("orders")).some((order) => order.key === key));
  through.cut();
  assert.deepEqual(await delivered, { duplicate: true, unattended: false });
  const orders = (await asked.request("orders")).filter((order) => order.key === key);
  assert.equal(orders.length, 1);
});

over("what is too large is not sent again", async (t, transport) => {
  const connection = open(t, (await link(t)).url + "/orders", transport);
  await connection.deliver("order", {});
  await assert.rejects(connection.deliver("order", "x".repeat(100_000)), refusedWith("invalid_argument"));
  await connection.deliver("order", {});
  assert.deepEqual(connection.states.map(({ state, code }) => [state, code]), [["connected", undefined], ["reconnecting", 1009], ["connected", undefined]]);
});

over("a gateway that does not answer any more is left", async (t, transport) => {
  const through = await link(t);
  const connection = open(t, through.url + "/ws", { ...transport, pingInterval: 100, pingTimeout: 400 });
  await connection.request("echo");
  await sleep(700); // pings are answered, and nothing happens
  assert.equal(connection.states.length, 1);
  through.freeze();
  await until("it notices", () => connection.states.some(({ code }) => code === 4009));
  await connection.request("echo");
});

over("a drain moves the connection at its time, and nothing is missed", async (t, transport) => {
  const [old, next] = [await startGateway(t), await startGateway(t)];
  const through = await Link.start(t, old.port);
  const connection = open(t, through.url + "/ws", transport);
  const got = [];
  await connection.subscribe("kept:3", (data) => got.push(data)).ready;
  through.port = next.port;
  let sent = 0;
  const send = async () => gateway.call("/v1/connections:publish", { channel: "kept:3", json: `${sent++}` });
  await send();
  old.terminate();
  await until("it has moved", async () => {
    await send();
    return connection.states.length >= 3;
  });
  await send();
  await until("all has come", () => got.length === sent);
  assert.deepEqual(got, Array.from({ length: sent }, (_, i) => i));
  assert.deepEqual(connection.states.map(({ state, code, delay }) => [state, code, delay]),
    [["connected", undefined, undefined], ["reconnecting", 4010, 0], ["connected", undefined, undefined]]);
});

over("a token is replaced in the open session before it expires", async (t, transport) => {
  const reasons = [];
  const connection = open(t, (await link(t)).url + "/users", {
    ...transport,
    token: async ({ reason }) => {
      reasons.push(reason);
      return token("ann", 4);
    },
  });
  const got = [];
  await connection.subscribe("user:ann", (data) => got.push(data)).ready;
  await until("the first token has expired", () => reasons.length >= 3);
  await publish("user:ann", "still here");
  await until("the message", () => got.length === 1);
  assert.deepEqual(reasons.slice(0, 3), ["connect", "refresh", "refresh"]);
  assert.equal(connection.states.length, 1);
});

test("an expired or revoked token is asked for anew, and the same one is the end", async (t) => {
  const { url } = await link(t);
  const given = open(t, url + "/users", { token: token("bob", 1) });
  await state("closed", given);
  assert.equal(given.states.at(-1).code, 4001);

  const reasons = [];
  const same = token("cid", 60);
  let last = same;
  const asked = open(t, url + "/users", { token: ({ reason }) => (reasons.push(reason), last) });
  const stubborn = open(t, url + "/users", { token: () => same });
  await Promise.all([asked.opened(), stubborn.opened()]);
  last = token("dee", 60);
  await gateway.call("/v1/revocations", { user: "cid" });
  await state("closed", stubborn);
  assert.equal(stubborn.states.at(-1).code, 4003);
  await until("the other is back", () => asked.states.length === 3);
  assert.equal(asked.states[1].code, 4003);
  assert.deepEqual(reasons, ["connect", "revoked"]);
});

over("a code of the service is the end, unless the application thinks otherwise", async (t, transport) => {
  const { url } = await link(t);
  for (const code of [1000, 4005, 4400, 3000]) {
    const final = open(t, url + "/users", { ...transport, token: token("eve", 60) });
    const not = open(t, url + "/users", { ...transport, token: token("eve", 60), isFinal: () => false });
    await Promise.all([final.opened(), not.opened()]);
    await gateway.call("/v1/connections:disconnect", { user: "eve", code, reason: "enough" });
    await state("closed", final);
    assert.deepEqual([final.states.at(-1).code, final.states.at(-1).reason], [code, "enough"]);
    await until("the other is back", () => not.states.length === 3);
    not.close();
    final.connect(); // it may be opened again
    await final.opened();
    final.close();
  }
  for (const code of [1001, 1005, 1006, 1009, 1011, 1012, 1013, 4001, 4003, 4008, 4009, 4010]) assert.equal(isFinal(code), false, `${code}`);
  for (const code of [1002, 1003, 1007]) assert.equal(isFinal(code), true, `${code}`);
});

test("attempts are a random part of a time that doubles up to the longest", async (t) => {
  const through = await link(t);
  through.closed = true;
  const connection = open(t, through.url + "/ws", { minDelay: 8, maxDelay: 64, transports: ["websocket"] });
  const delays = await until("twenty attempts", () => connection.states.length >= 20 && connection.states.map(({ delay }) => delay));
  delays.forEach((delay, i) => assert.ok(delay >= 0 && delay <= Math.min(64, 8 * 2 ** i), `attempt ${i}: ${delay} ms`));
  assert.ok(Math.max(...delays) > 16, "they do not grow");
  assert.ok(new Set(delays).size > 15, "they are not random");
});

test("messages to the connection, the user and everyone are events", async (t) => {
  const connection = open(t, (await link(t)).url + "/users", { token: token("fay", 60) });
  const got = [];
  connection.addEventListener("message", ({ data, channel }) => got.push([data, channel]));
  await connection.request("note", "to myself");
  await gateway.call("/v1/connections:publish", { user: "fay", json: `"to fay"` });
  await gateway.call("/v1/connections:publish", { everyone: true, bytes: "AAEC" });
  await until("all three", () => got.length === 3);
  assert.deepEqual(got, [["to myself", undefined], ["to fay", undefined], [new Uint8Array([0, 1, 2]), undefined]]);
});

test("who is in a channel is told, and who comes and goes", async (t) => {
  const { url } = await link(t);
  const [ann, bob] = ["ann", "bob"].map((user) => open(t, url + "/users", { token: token(user, 60) }));
  const told = [];
  const note = (what) => ({ user, channel, info }) => told.push([what, user, channel, info?.sub]);
  await ann.subscribe("room:present", { join: note("join"), leave: note("leave") }).ready;
  await until("ann has joined", () => told.length === 1);
  const subscription = bob.subscribe("room:present", {});
  await until("bob has joined", () => told.length === 2);
  const { connections, users, members } = await ann.presence("room:present");
  assert.deepEqual([connections, users, members.map(({ user }) => user).sort()], [2, 2, ["ann", "bob"]]);
  assert.deepEqual(await ann.presence("room:present", { countOnly: true }), { connections: 2, users: 2, members: undefined, next: undefined });
  subscription.unsubscribe();
  await until("bob has left", () => told.length === 3);
  assert.deepEqual(told, [["join", "ann"], ["join", "bob"], ["leave", "bob"]].map(([what, user]) => [what, user, "room:present", user]));
  await assert.rejects(ann.presence("user:ann"), refusedWith("permission_denied"));
});

test("channels that come by themselves go on where they were", async (t) => {
  const through = await link(t);
  const connection = open(t, through.url + "/given", { token: token("gil", 60) });
  const [announced, got] = [[], []];
  connection.addEventListener("subscribed", ({ channel }) => announced.push(channel));
  connection.addEventListener("message", ({ channel, data }) => got.push([channel, data]));
  await until("it is announced", () => announced.includes("given:gil"));
  await publish("given:gil", 0);
  await until("the first", () => got.length === 1);
  through.closed = true;
  through.cut();
  await publish("given:gil", 1);
  await publish("given:gil", 2);
  through.closed = false;
  await until("what was missed", () => got.length === 3);
  const handled = [];
  await connection.subscribe("given:gil", (data) => handled.push(data)).ready;
  await publish("given:gil", 3);
  await until("the handler has it", () => handled.length === 1);
  assert.deepEqual(got, [0, 1, 2].map((data) => ["given:gil", data]));
  assert.deepEqual(handled, [3]);

  // One that it may not ask for: from the latest message on, and the handler is told that there may have been others.
  const news = [];
  await connection.subscribe("news", { message: (data) => news.push(data), gap: () => news.push("gap") }).ready;
  await publish("news", 0);
  await until("the first news", () => news.length === 1);
  through.cut();
  await until("it is told", () => news.length === 2);
  await publish("news", 1);
  await until("the other news", () => news.length === 3);
  assert.deepEqual(news, [0, "gap", 1]);
});

test("where WebSocket does not get through, the session goes over server-sent events", async (t) => {
  const through = await link(t);
  through.upgrades = false;
  const connection = open(t, through.url + "/ws");
  assert.deepEqual(await connection.request("echo", { text: "hi" }), { text: "hi" });
  assert.equal(connection.transport, "sse");
  assert.deepEqual(connection.states.map(({ state }) => state), ["connecting", "connecting", "connected"]);
  through.cut();
  await until("it has noticed", () => connection.states.length > 3);
  assert.equal(await connection.request("echo", 2), 2);
  assert.equal(connection.transport, "sse");
});
