// Checked, not run: each call of crossgate.d.ts as an application makes it, and what must not pass.
import { Connection, CrossgateError, connect, isFinal, type Position, type Subscription } from "../crossgate.js";

const connection: Connection = connect("/ws", {
  token: async ({ reason }) => (reason === "refresh" ? "new" : "old"),
  transports: ["websocket", "sse"],
  WebSocket,
  isFinal: (code, reason) => isFinal(code) || reason === "enough",
});
connection.addEventListener("state", ({ state, code, online }) => {
  const closed: boolean = state === "closed" && code === 4005 && online;
  void closed;
  // @ts-expect-error there is no such state
  if (state === "open") return;
});
connection.addEventListener("message", ({ data, channel }) => void [data, channel?.length]);
connection.addEventListener("bus", ({ up }) => void (up satisfies boolean));
connection.addEventListener("error", ({ error }) => void error.message);

const plain: Subscription = connection.subscribe("room:1", (data, { offset }) => void [data.text, offset?.toFixed()]);
const position: Position | undefined = plain.position;
connection.subscribe(
  "room:2",
  {
    message(data: { text: string }) {
      void data.text;
    },
    subscribed: ({ recovered }) => void (recovered satisfies boolean | undefined),
    gap: ({ channel }) => void channel,
    join: ({ user, connection }) => void [user?.length, connection.length],
    error: (error) => void (error instanceof CrossgateError && error.code === "permission_denied"),
  },
  { token: ({ channel }) => "for " + channel, ...(position && { from: position }) },
);
// @ts-expect-error a handler is a function or an object
connection.subscribe("room:3", "handler");
// @ts-expect-error a position has both
connection.subscribe("room:4", () => {}, { from: { offset: 1 } });

async function calls(signal: AbortSignal): Promise<void> {
  await connection.opened();
  await plain.ready;
  const reply: { ok: boolean } = await connection.request("chat.send", { text: "hi" }, { timeout: 1000, signal });
  const sent: boolean = connection.send("chat.typing");
  const { duplicate }: { duplicate: boolean } = await connection.deliver("order.place", new Uint8Array([1, 2]), { id: "m-17" });
  const { connections, members } = await connection.presence("room:1", { limit: 10 });
  await connection.refresh();
  void [duplicate, reply.ok, sent, connections.toFixed(), members?.[0]?.user];
  connection.close(3000, "enough");
}
void calls;
// @ts-expect-error a transport that there is not
connect("/ws", { transports: ["polling"] });
