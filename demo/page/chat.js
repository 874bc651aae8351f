// The chat page: a client of the gateway's WebSocket contract and of the demo chat service, in plain JavaScript.

const byId = (id) => document.getElementById(id);
const encode = JSON.stringify;

// Reconnecting waits between half and all of a time that doubles up to the longest, so that many pages do not come back
// at the same moment.
const SHORTEST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
// A request that got no answer within this time is taken for lost.
const ANSWER_LIMIT_MS = 5000;
const STILL_HERE_MS = 60_000;
// How many message lines and how many ids of shown messages the page keeps.
const KEEP = 500;

class RequestError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// Connection keeps one WebSocket to the gateway open, and opens it again whenever it is lost.
class Connection {
  constructor(url, { onOpen, onState, onMessage, onBus }) {
    Object.assign(this, { url, onOpen, onState, onMessage, onBus });
    this.requests = new Map(); // by id: those without an answer yet
    this.nextId = 1;
    this.attempts = 0;
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.onState("connecting");
    this.socket = new WebSocket(this.url, ["crossgate.v1.json"]);
    this.afterGoaway = null;
    const socket = this.socket;
    socket.onopen = () => this.onOpen();
    socket.onmessage = (event) => this.receive(socket, event.data);
    socket.onclose = () => this.lost();
  }

  // established says that the connection works; the next loss is the first again.
  established() {
    this.attempts = 0;
    this.onState("open");
  }

  lost() {
    for (const request of this.requests.values()) request.fail("unavailable", "the connection was lost");
    let wait = this.afterGoaway;
    if (wait === null) {
      const longest = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** this.attempts);
      wait = longest * (0.5 + Math.random() / 2);
      this.attempts += 1;
    }
    this.onState("closed");
    this.timer = setTimeout(() => this.connect(), wait);
  }

  // hurry connects now if the page waits to.
  hurry() {
    if (this.socket.readyState === WebSocket.CLOSED) this.connect();
  }

  receive(socket, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === "goaway") {
      // The gateway is about to go and says when to come back, spread over its clients.
      this.afterGoaway = Number(frame.reconnect_after_ms) || 0;
      socket.close(1000);
      return;
    }
    if (frame.type === "bus") {
      this.onBus(frame.state === "up");
      return;
    }
    const request = this.requests.get(frame.id);
    if (!request) {
      if (frame.type === "message") this.onMessage(frame);
    } else if (frame.type === "error") {
      request.fail(frame.code, frame.message);
    } else {
      request.done(frame);
    }
  }

  // request sends a frame and resolves to the answer to it.
  request(frame) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new RequestError("unavailable", "there is no connection"));
        return;
      }
      const id = this.nextId++;
      const settle = (settled) => {
        clearTimeout(timer);
        this.requests.delete(id);
        settled();
      };
      const fail = (code, message) => settle(() => reject(new RequestError(code, message)));
      const timer = setTimeout(() => fail("deadline_exceeded", "no answer came"), ANSWER_LIMIT_MS);
      this.requests.set(id, { done: (answer) => settle(() => resolve(answer)), fail });
      this.socket.send(encode({ id, ...frame }));
    });
  }
}

const state = byId("state");
const STATE_TEXT = { connecting: "Connecting", open: "Connected", closed: "Not connected; trying again" };

function showState(name) {
  state.dataset.state = name;
  state.textContent = STATE_TEXT[name];
  byId("send").disabled = name !== "open";
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

const shown = new Set();

// show adds one message of the chat service to the list, once however often it comes: a page that connects again is
// told what it missed together with what it saw.
function show(message) {
  if (shown.has(message.id)) return;
  shown.add(message.id);
  if (shown.size > KEEP) shown.delete(shown.values().next().value);

  const list = byId("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const line = document.createElement("li");
  if (message.kind === "said") {
    const from = document.createElement("b");
    from.textContent = message.from;
    line.append(from, message.text);
  } else {
    line.className = "notice";
    line.append(`${message.from} ${message.kind === "joined" ? "is here" : "is gone"}`);
  }
  const time = document.createElement("time");
  time.dateTime = message.time;
  time.textContent = new Date(message.time).toLocaleTimeString([], { timeStyle: "short" });
  line.append(time);
  list.append(line);
  while (list.childElementCount > KEEP) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function showMembers(names) {
  byId("members").replaceChildren(...names.map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  }));
}

let room = /^#[a-z0-9-]{1,32}$/.test(location.hash) ? location.hash.slice(1) : "lobby";
let name = sessionStorage.getItem("name") || `guest-${1000 + Math.floor(Math.random() * 9000)}`;
let position = {}; // where the room's channel was left: epoch and offset
let subscribed = null; // the socket on which that channel is subscribed to
let held = null; // what the channel tells while the room is being entered: it comes after the room's history
let visit = 0; // counts what enter does, so that a newer call ends an older one

const channel = (of) => `room:${of}`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// enter subscribes to the room's channel, then joins the room at the service. It tries until both answer: after a
// restart the gateway may be there before the service is.
async function enter() {
  const mine = ++visit;
  held = [];
  const socket = connection.socket;
  const current = () => mine === visit && socket === connection.socket && socket.readyState === WebSocket.OPEN;
  for (let wait = SHORTEST_WAIT_MS; current(); wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      if (subscribed !== socket) {
        const ok = await connection.request({ type: "subscribe", channel: channel(room), ...position });
        if (!current()) return;
        subscribed = socket;
        position = ok.epoch ? { epoch: ok.epoch, offset: ok.offset } : {};
      }
      const reply = await connection.request({ type: "message", route: "chat.join", data: { room, name } });
      if (!current()) return;
      showProblem("");
      showMembers(reply.data.members);
      [...reply.data.messages, ...held].forEach(show);
      held = null;
      connection.established();
      return;
    } catch (error) {
      if (!current()) return;
      showProblem(`The room cannot be entered: ${error.message}`);
      await pause(wait);
    }
  }
}

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const connection = new Connection(`${scheme}//${location.host}/ws`, {
  onOpen: enter,
  onState: showState,
  onMessage(frame) {
    if (frame.channel !== channel(room)) return;
    if (frame.offset !== undefined && position.epoch) position.offset = frame.offset;
    if (held) held.push(frame.data);
    else show(frame.data);
    if (frame.data.members) showMembers(frame.data.members);
  },
  onBus(up) {
    if (up) enter(); // which tells what was missed
    else showProblem("The gateway has lost its bus; messages wait until it is back");
  },
});

byId("room").value = room;
byId("name").value = name;

byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const left = room;
  room = byId("room").value;
  name = byId("name").value.trim() || name;
  sessionStorage.setItem("name", name);
  if (room !== left) {
    location.hash = room;
    position = {};
    subscribed = null;
    byId("messages").replaceChildren();
    shown.clear();
    // Whether they are answered matters to nobody: the room is left all the same.
    connection.request({ type: "unsubscribe", channel: channel(left) }).catch(() => {});
    connection.request({ type: "message", route: "chat.leave", data: { room: left } }).catch(() => {});
  }
  enter();
  byId("text").focus();
});

byId("compose").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = byId("text");
  const text = input.value.trim();
  if (!text) return;
  input.value = "";
  try {
    await connection.request({ type: "message", route: "chat.send", data: { room, text } });
    showProblem("");
  } catch (error) {
    showProblem(`Not sent: ${error.message}`);
    if (!input.value) input.value = text;
  }
});

// The service forgets a member that does not say from time to time that it is still there.
setInterval(() => {
  if (state.dataset.state === "open") {
    connection.request({ type: "message", route: "chat.join", data: { room, name } }).catch(() => {});
  }
}, STILL_HERE_MS);

addEventListener("online", () => connection.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connection.hurry();
});
