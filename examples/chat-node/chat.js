// A chat service behind a Crossgate route with `websocket: {service: chat}`, in plain Node: a client sends chat.send
// with a room and a text, and every subscriber of the channel room:{room} gets it. All it needs is a Redis client and
// docs/websocket.md.
//
//   npm ci && REDIS_URL=redis://127.0.0.1:6379/0 npm start
import { createClient } from "redis";

const prefix = process.env.CROSSGATE_PREFIX ?? "cg:";
const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0" });
client.on("error", (error) => console.error("redis:", error.message)); // the client connects again by itself
const subscriber = client.duplicate();
subscriber.on("error", () => {}); // the other client tells the same
await Promise.all([client.connect(), subscriber.connect()]);

const routes = {
  async "chat.send"({ user, data }) {
    if (typeof data?.room !== "string" || !data.room || typeof data.text !== "string" || !data.text) {
      throw { code: "invalid_argument", message: "data: expected room and text" };
    }
    const message = { from: user ?? "anonymous", text: data.text };
    await client.publish(`${prefix}out:channel:room:${data.room}`, JSON.stringify(message));
    return { ok: true };
  },
};

async function answer(envelope) {
  const handle = Object.hasOwn(routes, envelope.route) ? routes[envelope.route] : undefined;
  const reply = { connection: envelope.connection, in_reply_to: envelope.id };
  try {
    if (!handle) throw { code: "not_found", message: "the service has no such route" };
    reply.data = await handle(envelope);
  } catch ({ code, message }) {
    reply.error = code ? { code, message } : { code: "internal", message: "the service failed" };
  }
  await client.publish(envelope.reply_to, JSON.stringify(reply));
}

await subscriber.subscribe(`${prefix}in:chat`, (text) => {
  const envelope = JSON.parse(text);
  if (envelope.v === 1 && envelope.type === "message") {
    answer(envelope).catch((error) => console.error("a reply was lost:", error.message));
  }
});
console.log("chat is ready");

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    subscriber.destroy();
    client.destroy();
  });
}
